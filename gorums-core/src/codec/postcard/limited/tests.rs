use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU8;

use proptest::prelude::*;
use serde::Serialize;

use super::*;

fn decoded<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, String> {
    decode(&mut postcard::Deserializer::from_bytes(bytes), bytes.len())
}

/// Contains itself in every way in which a value can be in another one.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
enum Tree {
    Leaf,
    Boxed(Box<Tree>),
    Pair(Box<Tree>, u8),
    Named { below: Box<Tree> },
    List(Vec<Tree>),
    Map(BTreeMap<u8, Tree>),
    Maybe(Option<Box<Tree>>),
    Tuple((Box<Tree>,)),
    Wrapped(Wrapped),
}

#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
struct Wrapped(Box<Tree>);

#[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
struct Link(Option<Box<Link>>);

#[test]
fn what_is_nested_too_deeply_is_refused_before_the_stack_ends() {
    // A million levels, each of one of the kinds; the last one is missing.
    for level in [&[1_u8][..], &[2], &[3], &[4, 1], &[5, 1, 0], &[6, 1], &[7], &[8]] {
        let bytes = level.repeat(1_000_000);
        assert_eq!(decoded::<Tree>(&bytes), Err("it is nested more than 128 levels deep".to_owned()));
    }
    let bytes = vec![1; 1_000_000];
    assert_eq!(decoded::<Link>(&bytes), Err("it is nested more than 128 levels deep".to_owned()));
    let ignored = decoded::<Vec<Vec<Vec<u8>>>>(&[1, 1, 1, 5]);
    assert_eq!(ignored, Ok(vec![vec![vec![5]]]));
}

#[test]
fn as_many_levels_as_are_allowed() {
    let link = |levels| (0..levels).fold(Link(None), |link, _| Link(Some(Box::new(link))));
    // Each of them is two: the struct, and what may be there.
    let bytes = postcard::to_allocvec(&link(63)).unwrap();
    assert_eq!(decoded::<Link>(&bytes), Ok(link(63)));
    let bytes = postcard::to_allocvec(&link(64)).unwrap();
    assert!(decoded::<Link>(&bytes).is_err());
}

/// Tuples, arrays and structs have as many elements as their type says, however few bytes they take.
#[test]
fn small_values_in_any_number_are_taken() {
    #[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
    struct Flags {
        flag: bool,
        nothing: (),
    }
    let flags = vec![Flags { flag: true, nothing: () }; 10_000];
    assert_eq!(decoded(&postcard::to_allocvec(&flags).unwrap()), Ok(flags));
    let pairs = vec![(1_u8, 2_u8); 10_000];
    assert_eq!(decoded(&postcard::to_allocvec(&pairs).unwrap()), Ok(pairs));
    let hashes = vec![[7_u8; 32]; 10_000];
    assert_eq!(decoded(&postcard::to_allocvec(&hashes).unwrap()), Ok(hashes));
    let map: BTreeMap<u16, (u8, ())> = (0..10_000).map(|key| (key, (1, ()))).collect();
    assert_eq!(decoded(&postcard::to_allocvec(&map).unwrap()), Ok(map));
}

#[test]
fn a_sequence_of_nothing_has_an_end() {
    let most = postcard::to_allocvec(&u64::MAX).unwrap();
    assert_eq!(decoded::<Vec<()>>(&most), Err("it has more elements than bytes".to_owned()));
    assert!(decoded::<BTreeSet<()>>(&most).is_err());
    let some = postcard::to_allocvec(&vec![(); 1000]).unwrap();
    assert_eq!(decoded::<Vec<()>>(&some).map(|units| units.len()), Ok(1000));
}

#[test]
fn reasons_are_kept() {
    assert_eq!(
        decoded::<NonZeroU8>(&[0]),
        Err("invalid value: integer `0`, expected a nonzero u8".to_owned())
    );
    let within = decoded::<Vec<(u8, Option<NonZeroU8>)>>(&[1, 7, 1, 0]);
    assert_eq!(within, Err("invalid value: integer `0`, expected a nonzero u8".to_owned()));
    let unknown = decoded::<Tree>(&[9]).unwrap_err();
    assert!(unknown.starts_with("invalid value: integer `9`, expected variant index"), "{unknown}");
    assert_eq!(decoded::<(u8, u8)>(&[1]), Err("Hit the end of buffer, expected more data".to_owned()));
    assert_eq!(decoded::<bool>(&[2]), Err("Found a bool that wasn't 0 or 1".to_owned()));
}

fn trees() -> impl Strategy<Value = Tree> {
    Just(Tree::Leaf).prop_recursive(6, 64, 4, |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        prop_oneof![
            boxed().prop_map(Tree::Boxed),
            (boxed(), any::<u8>()).prop_map(|(below, number)| Tree::Pair(below, number)),
            boxed().prop_map(|below| Tree::Named { below }),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Tree::List),
            prop::collection::btree_map(any::<u8>(), inner.clone(), 0..4).prop_map(Tree::Map),
            prop::option::of(boxed()).prop_map(Tree::Maybe),
            boxed().prop_map(|below| Tree::Tuple((below,))),
            boxed().prop_map(|below| Tree::Wrapped(Wrapped(below))),
        ]
    })
}

type Scalars =
    (bool, (i8, i16, i32, i64, i128), (u8, u16, u32, u64, u128), (char, String, Vec<u8>), Option<u8>);

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(tree in trees(), scalars in any::<Scalars>(), float in any::<f64>()) {
        let bytes = postcard::to_allocvec(&tree).unwrap();
        prop_assert_eq!(decoded::<Tree>(&bytes), Ok(tree));
        let bytes = postcard::to_allocvec(&scalars).unwrap();
        prop_assert_eq!(decoded::<Scalars>(&bytes), Ok(scalars));
        let bytes = postcard::to_allocvec(&float).unwrap();
        prop_assert_eq!(decoded::<f64>(&bytes).map(f64::to_bits), Ok(float.to_bits()));
    }

    /// With the same outcome as without the limits, as long as they are not reached.
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(0..12_u8, 0..64)) {
        prop_assert_eq!(decoded::<Tree>(&bytes).ok(), postcard::from_bytes::<Tree>(&bytes).ok());
        prop_assert_eq!(decoded::<Scalars>(&bytes).ok(), postcard::from_bytes::<Scalars>(&bytes).ok());
    }
}

//! The baseline of the instruction count: what is written is read back, and who is too far from it is told.

#[path = "../benches/instructions/baseline.rs"]
#[allow(dead_code, clippy::cast_precision_loss)]
mod baseline;

use baseline::{Baseline, Verdict};

fn figures(counted: &[(&str, u64)]) -> Baseline {
    let counted = counted.iter().map(|&(operation, count)| (operation.to_owned(), count)).collect();
    Baseline { tools: vec!["a compiler".to_owned(), "a counter".to_owned()], counted }
}

#[test]
fn what_is_checked_in_can_be_read_and_is_written_alike() {
    let baseline = Baseline::read().unwrap();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/baseline.txt");
    assert_eq!(baseline.to_string(), std::fs::read_to_string(file).unwrap());
    assert!(!baseline.tools.is_empty() && !baseline.counted.is_empty());
}

#[test]
fn five_percent_are_let_pass_and_no_more() {
    let baseline = figures(&[("parse", 1_000), ("encode", 1_000), ("push", 1_000), ("take", 1_000)]);
    let now = figures(&[("parse", 1_050), ("encode", 1_051), ("push", 950), ("take", 949), ("new", 7)]);
    let verdicts = now.against(&baseline);
    assert_eq!(verdicts.iter().map(Verdict::is_good).collect::<Vec<_>>(), [true, false, true, false, false]);
    let said = [1, 3, 4].map(|index: usize| verdicts[index].to_string());
    assert!(
        said[0].starts_with("encode ")
            && said[0].ends_with(" 1051    +5.1 % of 1000  TAKES MORE THAN IT DID"),
        "{said:?}"
    );
    assert!(
        said[1].ends_with(" 949    -5.1 % of 1000  takes less than it did: the baseline is to keep that"),
        "{said:?}"
    );
    assert!(said[2].ends_with(" 7  IS NOT IN THE BASELINE"), "{said:?}");
}

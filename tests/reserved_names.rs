//! The generators refuse methods whose names would hide, or be hidden by, a method of the types that they are
//! called on. Their lists are compared here with the runtime's sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use gorums_gen::validate::reserved::{CONFIGURATION, NODE};
use syn::{ImplItem, Item, TraitItem, Type, Visibility};

/// The public methods of inherent implementations of `types` and the methods of traits with those names.
fn methods(types: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("gorums-core/src");
    for file in [
        "configuration.rs",
        "configuration/algebra.rs",
        "configuration/scope.rs",
        "node.rs",
        "observe/report.rs",
    ] {
        let source = fs::read_to_string(sources.join(file)).expect("a source of gorums-core");
        for item in syn::parse_file(&source).expect("valid Rust").items {
            collect(&item, types, &mut found);
        }
    }
    found
}

fn collect(item: &Item, types: &[&str], found: &mut BTreeSet<String>) {
    let is_one_of = |name: &syn::Ident| types.iter().any(|known| name == known);
    match item {
        Item::Impl(block) if block.trait_.is_none() => {
            let Type::Path(path) = &*block.self_ty else { return };
            if !path.path.segments.last().is_some_and(|segment| is_one_of(&segment.ident)) {
                return;
            }
            for item in &block.items {
                if let ImplItem::Fn(method) = item
                    && matches!(method.vis, Visibility::Public(_))
                    && method.sig.receiver().is_some()
                {
                    found.insert(method.sig.ident.to_string());
                }
            }
        }
        Item::Trait(block) if is_one_of(&block.ident) => {
            for item in &block.items {
                if let TraitItem::Fn(method) = item
                    && method.sig.receiver().is_some()
                {
                    found.insert(method.sig.ident.to_string());
                }
            }
        }
        _ => {}
    }
}

fn listed(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn of_configurations() {
    assert_eq!(methods(&["Configuration", "QuorumConfiguration", "QuorumTarget"]), listed(CONFIGURATION));
}

#[test]
fn of_nodes() {
    assert_eq!(methods(&["Node", "NodeTarget"]), listed(NODE));
}

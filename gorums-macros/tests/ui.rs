//! What compiles, and what the compiler says where it does not.
//!
//! `TRYBUILD=overwrite cargo test -p gorums-macros --test ui` writes the `.stderr` files anew.

#[test]
fn pass() {
    trybuild::TestCases::new().pass("tests/ui/pass/*.rs");
}

/// The compiler's own words change with its version: those of the pinned one are compared.
#[test]
fn fail() {
    trybuild::TestCases::new().compile_fail("tests/ui/fail/*.rs");
}

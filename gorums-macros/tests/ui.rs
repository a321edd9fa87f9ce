//! What the compiler says where a service does not compile.
//!
//! `TRYBUILD=overwrite cargo test -p gorums-macros --test ui` writes the `.stderr` files anew.

/// The compiler's own words change with its version: those of the pinned one are compared.
#[test]
fn mistakes_are_told() {
    trybuild::TestCases::new().compile_fail("tests/ui/fail/*.rs");
}

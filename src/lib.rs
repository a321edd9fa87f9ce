#![doc = include_str!("../docs/crate.md")]

pub use gorums_core::*;
pub use gorums_macros::service;

#[doc(hidden)]
pub use gorums_core::codegen;

/// Includes what `gorums-gen` generated from a `.proto` in `build.rs`: the
/// messages and services of one protobuf package.
///
/// `mod storage { gorums::include_proto!("storage.v1"); }` includes the package `storage.v1`; `"_"` stands for
/// files without a package.
#[macro_export]
macro_rules! include_proto {
    ($package:tt) => {
        include!(concat!(env!("OUT_DIR"), "/", $package, ".rs"));
    };
}

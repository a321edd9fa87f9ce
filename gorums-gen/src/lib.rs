//! The code generator of `gorums`.
//!
//! A service is described in a `.proto` file, by the options of [`gorums.proto`](PROTO), or by
//! `#[gorums::service]` on a trait. Either way the same model comes of it, the same checks are
//! made, and the same emitter writes the code:
//!
//! ```text
//! .proto  -> protox or protoc -> descriptor --+
//!                                             +-> model -> validate -> emit
//! trait   -> gorums-macros::parse ------------+
//! ```
//!
//! # In a build script
//!
//! No `protoc` is needed:
//!
//! ```no_run
//! // build.rs
//! # #[cfg(feature = "protobuf")]
//! fn main() -> Result<(), gorums_gen::Error> {
//!     gorums_gen::compile_protos("proto/storage.proto")
//! }
//! # #[cfg(not(feature = "protobuf"))]
//! # fn main() {}
//! ```
//!
//! and in the crate, next to a dependency on `prost` (and `prost-types`, for well-known types):
//!
//! ```text
//! #[allow(missing_docs)] // messages have the docs that the .proto gives them
//! pub mod storage {
//!     gorums::include_proto!("storage");
//! }
//! ```
//!
#![cfg_attr(
    feature = "protobuf",
    doc = "[`configure`] has the options, [`plugin`] is the other way in: `protoc-gen-gorums`."
)]
//!
//! # Files
//!
//! Messages and services of a protobuf package are generated into one file, named as prost names
//! it: the package in snake case and `.rs`, so `acme.storage.v1.rs`; or `_.rs` without a package.
//!
//! # Features
//!
//! - `protobuf` (default): everything that reads protobuf. Without it the crate is the model, its
//!   checks and the emitter, which is what `gorums-macros` uses.

pub mod emit;
pub mod model;
pub mod validate;

#[cfg(feature = "protobuf")]
mod builder;
#[cfg(feature = "protobuf")]
mod descriptor;
#[cfg(feature = "protobuf")]
mod editions;
#[cfg(feature = "protobuf")]
mod error;
#[cfg(feature = "protobuf")]
mod generate;
#[cfg(feature = "protobuf")]
pub mod plugin;
#[cfg(feature = "protobuf")]
mod resolver;

#[cfg(feature = "protobuf")]
pub use builder::{Builder, compile_protos, configure};
#[cfg(feature = "protobuf")]
pub use error::{Error, ErrorKind};

/// The text of `gorums.proto`, the file with the method options.
///
/// Protobuf files get it by `import "gorums.proto";`, and by that name only: under two names its
/// options would be defined twice. `Builder::compile_protos` brings the file
/// along, and takes this copy even if another one is in the include path. For a real `protoc`,
/// write it to a folder in the include path: `protoc-gen-gorums --print-proto > gorums.proto`.
pub const PROTO: &str = include_str!("../proto/gorums.proto");

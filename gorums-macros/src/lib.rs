//! The attribute macro of `gorums`, which re-exports it as `gorums::service`.
//!
//! A trait is parsed to the model of `gorums-gen`, and from there on all goes as for a `.proto`
//! file: the same checks, the same emitter, the same code.

mod arguments;
mod attributes;
mod errors;
mod parse;
mod signature;
mod type_check;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use gorums_gen::emit::{self, Options};
use gorums_gen::validate;
use proc_macro2::TokenStream;

use self::errors::Errors;
use self::parse::Parsed;

/// Makes a service of a trait: what its servers implement, and what makes its calls.
///
/// ```
/// use gorums::{ServerContext, Status, Updates};
/// # #[derive(Clone, PartialEq, prost::Message)]
/// # pub struct ReadRequest {}
/// # #[derive(Clone, PartialEq, prost::Message)]
/// # pub struct ReadResponse {}
/// # #[derive(Clone, PartialEq, prost::Message)]
/// # pub struct WriteRequest {}
///
/// #[gorums::service(package = "storage")]
/// pub trait Storage {
///     /// Reads a value from one node.
///     async fn read_rpc(&self, ctx: &ServerContext, req: ReadRequest) -> Result<ReadResponse, Status>;
///
///     #[unicast]
///     async fn write_unicast(&self, ctx: &ServerContext, req: WriteRequest);
///
///     #[multicast]
///     async fn write_multicast(&self, ctx: &ServerContext, req: WriteRequest);
///
///     #[quorumcall(idempotent)]
///     async fn read_qc(&self, ctx: &ServerContext, req: ReadRequest) -> Result<ReadResponse, Status>;
///
///     #[quorumcall(stream)]
///     async fn watch(
///         &self,
///         ctx: &ServerContext,
///         req: ReadRequest,
///         updates: Updates<ReadResponse>,
///     ) -> Result<(), Status>;
/// }
/// ```
///
/// This generates, with the visibility of the trait:
///
/// - the trait `Storage`, to be implemented with `async fn`s of these signatures,
/// - `StorageServer`, which hands an implementation to `Server::builder().add_service(..)`,
/// - `StorageClient`, whose methods appear on a `Configuration`: quorum calls and multicasts,
/// - `StorageNodeClient`, whose methods appear on a `Node`: rpcs and unicasts,
/// - `StorageMethods`, the constants that describe the methods.
///
/// Requests and replies are messages of prost: derived, or generated from a `.proto` file; `()`; or scalars such as
/// `String`, `u64`, `bool` and `Vec<u8>`, which prost encodes as Google's wrapper types. With another codec they are plain
/// Rust types.
///
/// # Arguments
///
/// - `package = "storage"`: the protobuf package, so that a method is `storage.Storage.ReadRpc` on
///   the wire. Without it there is no package.
/// - `crate = "::some::path"`: where the crate `gorums` is, if not at `::gorums`.
/// - `codec = "postcard"`: requests and replies are types that implement `serde::Serialize`, `DeserializeOwned`, `Clone`,
///   `Send` and `Sync`, tuples and arrays among them, and are encoded with [postcard](https://docs.rs/postcard). Needs
///   the feature `postcard` of `gorums`. Without it, or with `"prost"`, they are messages of prost.
/// - `mock`: also generates `StorageMock`, a fake node for unit tests, under `#[cfg(test)]`. Needs the feature `testing`
///   of `gorums` there, which can be one of the dev-dependencies. `mock(any(test, feature = "mocks"))` is under
///   another condition.
///
/// # Attributes of methods
///
/// - `#[rpc]`: one node, one reply. The default.
/// - `#[unicast]`: one node, one way. The method returns nothing.
/// - `#[multicast]`: every node, one way. The method returns nothing.
/// - `#[quorumcall]`: every node; the replies of a quorum decide.
/// - `#[quorumcall(stream)]`: every node, each of which may reply many times, through `Updates`.
///
/// They take two more arguments:
///
/// - `idempotent`: a node may safely get the same request twice, so that it is sent again after a
///   reconnect. It matters for rpcs and for quorum calls with one reply of each node: others are never sent again;
/// - `name = "ReadRPC"`: the name on the wire. Without it, it is that of the method in upper camel
///   case: `ReadRpc` for `read_rpc`.
///
/// Doc comments and `#[deprecated]` go on to the generated code.
#[proc_macro_attribute]
pub fn service(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// All errors that there are, or the code.
fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let Parsed { service, type_checks } = parse::service(arguments, item)?;
    let options = Options::default();
    let types = message_names(&service);
    let mistakes = validate::package(std::slice::from_ref(&service), &types, options);
    let mut errors = Errors::default();
    for mistake in mistakes {
        errors.push(syn::Error::new(mistake.span, mistake.message()));
    }
    let mut code = emit::service(&service, options);
    code.extend(type_checks);
    errors.or(code)
}

/// The messages that are named without a path: they share the module with the generated items.
fn message_names(service: &gorums_gen::model::Service) -> BTreeMap<String, String> {
    let types = service.methods.iter().flat_map(|method| [&method.request, &method.response]);
    let names = types.map(ToString::to_string);
    let described = names.map(|name| (name.clone(), format!("the message type `{name}`")));
    described.collect()
}

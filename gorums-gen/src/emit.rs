//! Writes the code of a checked service.
//!
//! The output names everything by an absolute path and has no `use`, so that the code of many
//! services and messages can share a module. It holds no behaviour: that is the runtime's.

mod client;
mod methods;
mod mock;
mod server;

use proc_macro2::{Ident, TokenStream};
use quote::quote;

use crate::model::{Service, Target};

/// Which sides of a service are generated.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Options {
    /// Whether to generate what makes calls.
    pub client: bool,
    /// Whether to generate what serves them.
    pub server: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { client: true, server: true }
    }
}

/// The code of a service, which [`validate`](crate::validate) found nothing wrong with.
pub fn service(service: &Service, options: Options) -> TokenStream {
    let server = options.server.then(|| server::items(service));
    let methods = methods::items(service);
    let clients = options.client.then(|| client::items(service));
    let mock = service.mock.as_ref().map(|condition| mock::items(service, options, condition));
    quote!(#server #methods #clients #mock)
}

/// The names that the code of a service takes in its module.
pub fn item_names(service: &Service, options: Options) -> Vec<Ident> {
    let mut names = Vec::new();
    if options.server {
        names.extend([service.ident.clone(), service.server_ident()]);
    }
    names.push(service.methods_ident());
    if options.client {
        let targets = [Target::Configuration, Target::Node];
        let called = targets.into_iter().filter(|target| has_client(service, *target));
        names.extend(called.map(|target| service.client_ident(target)));
    }
    if service.mock.is_some() {
        names.push(service.mock_ident());
    }
    names
}

/// Only a target that has methods gets a client trait.
fn has_client(service: &Service, target: Target) -> bool {
    service.methods_on(target).next().is_some()
}

/// Documentation lines as attributes.
fn docs<L: AsRef<str>>(lines: &[L]) -> TokenStream {
    let lines = lines.iter().map(AsRef::as_ref);
    quote!(#(#[doc = #lines])*)
}

/// The lines that the user wrote, then a generated one in a paragraph of its own.
fn docs_and(written: &[String], generated: &str) -> TokenStream {
    let written_docs = docs(written);
    let gap = (!written.is_empty()).then(|| quote!(#[doc = ""]));
    quote!(#written_docs #gap #[doc = #generated])
}

/// The lines that the user wrote, or else a generated one.
fn docs_or(written: &[String], generated: &str) -> TokenStream {
    if written.is_empty() { docs(&[generated]) } else { docs(written) }
}

/// For items: lints that are no business of those who include generated code, about what they do
/// not call or export, and the style of names and comments that come from elsewhere.
fn allow_lints(service: &Service) -> TokenStream {
    let deprecated = service.has_deprecated().then(|| quote!(deprecated,));
    quote!(#[allow(#deprecated dead_code, unreachable_pub, clippy::all, clippy::pedantic)])
}

/// For the rest: generated code may name what is deprecated.
fn allow_deprecated(service: &Service) -> Option<TokenStream> {
    service.has_deprecated().then(|| quote!(#[allow(deprecated)]))
}

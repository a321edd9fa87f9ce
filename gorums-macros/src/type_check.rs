//! Code that checks the types that the user wrote in the trait.
//!
//! The generated trait has the runtime's own types in place of them. So this says where a
//! `ServerContext` is another one, and keeps the imports of the user's types in use.
//!
//! ```compile_fail,E0308
//! use gorums::Status;
//!
//! pub struct ServerContext; // not that of gorums
//!
//! #[gorums::service]
//! pub trait Storage {
//!     async fn read(&self, ctx: &ServerContext, req: ()) -> Result<(), Status>;
//! }
//! ```

use std::collections::HashSet;

use gorums_gen::model::CallType;
use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned;

use crate::signature::Signature;

/// One check for each type that occurs.
pub(crate) fn all(runtime: &TokenStream, signatures: &[Signature]) -> TokenStream {
    let mut seen = HashSet::new();
    let checks = signatures.iter().flat_map(|signature| of_signature(runtime, signature));
    let checks: Vec<_> = checks.filter(|check| seen.insert(check.to_string())).collect();
    if checks.is_empty() {
        return TokenStream::new();
    }
    quote! {
        #[allow(clippy::all, clippy::pedantic)]
        const _: () = {
            #(#checks)*
        };
    }
}

fn of_signature(runtime: &TokenStream, signature: &Signature) -> Vec<TokenStream> {
    let Signature { call_type, context, request: _, response, updates, output } = signature;
    let mut checks = vec![is(context, &quote!(&#runtime::codegen::ServerContext))];
    if let Some(updates) = updates {
        checks.push(is(updates, &quote!(#runtime::codegen::Updates<#response>)));
    }
    let streaming = *call_type == CallType::StreamingQuorumCall;
    let reply = if streaming { quote!(()) } else { quote!(#response) };
    if let (false, Some(output)) = (call_type.is_one_way(), output) {
        let expected = quote!(::core::result::Result<#reply, #runtime::codegen::Status>);
        checks.push(is(output, &expected));
    }
    checks
}

/// Compiles only if both are the same type; the error points at the one that the user wrote.
fn is(written: &Type, expected: &TokenStream) -> TokenStream {
    let span = written.span().resolved_at(Span::mixed_site());
    quote_spanned!(span=> let _: fn(#written) -> #expected = |value| value;)
}

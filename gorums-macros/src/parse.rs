//! Reads a trait into the model.

use gorums_gen::model::{Codec, Method, Service};
use heck::ToUpperCamelCase;
use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{ItemTrait, TraitItem, TraitItemFn};

use crate::arguments::{Arguments, is_proto_name};
use crate::attributes;
use crate::errors::Errors;
use crate::signature::Signature;
use crate::type_check;

/// A service, and code that checks the types that the user wrote.
pub(crate) struct Parsed {
    pub(crate) service: Service,
    pub(crate) type_checks: TokenStream,
}

pub(crate) fn service(arguments: TokenStream, item: TokenStream) -> syn::Result<Parsed> {
    let mut errors = Errors::default();
    let arguments = Arguments::parse(arguments, &mut errors);
    let item: ItemTrait = match syn::parse2(item) {
        Ok(item) => item,
        Err(error) => return errors.and(error),
    };
    plain_trait(&item, &mut errors);
    let common = attributes::of_service(&item.attrs, &mut errors);
    let mut methods = Vec::new();
    let mut signatures = Vec::new();
    for item in &item.items {
        match item {
            TraitItem::Fn(function) => {
                if let Some((method, signature)) = method(function, arguments.codec, &mut errors) {
                    methods.push(method);
                    signatures.push(signature);
                }
            }
            other => errors.at(other, "a service has only methods; move this out of the trait"),
        }
    }
    let name = wire_name(&item.ident, &mut errors);
    let type_checks = type_check::all(&arguments.runtime, &signatures);
    let service = Service {
        proto_name: name.clone(),
        package: arguments.package,
        docs: common.docs,
        deprecated: common.deprecated,
        visibility: item.vis.to_token_stream(),
        runtime: arguments.runtime,
        codec: arguments.codec,
        mock: arguments.mock,
        place: name,
        methods,
        ident: item.ident,
    };
    errors.or(Parsed { service, type_checks })
}

/// Rejects what a trait may have and a service may not.
fn plain_trait(item: &ItemTrait, errors: &mut Errors) {
    if let Some(token) = &item.unsafety {
        errors.at(token, "a service is not unsafe; remove this");
    }
    if let Some(token) = &item.auto_token {
        errors.at(token, "a service is no auto trait; remove this");
    }
    if !item.generics.params.is_empty() {
        errors.at(&item.generics, "a service is not generic; name the types of its messages");
    }
    if let Some(clause) = &item.generics.where_clause {
        errors.at(clause, "a service is not generic; remove this");
    }
    if !item.supertraits.is_empty() {
        let help = "a service has no supertraits, and is `Send + Sync + 'static` anyway; remove them";
        errors.at(&item.supertraits, help);
    }
}

fn method(function: &TraitItemFn, codec: Codec, errors: &mut Errors) -> Option<(Method, Signature)> {
    let attributes = attributes::of_method(&function.attrs, errors);
    if let Some(body) = &function.default {
        errors.at(body, "a method of a service has no body; the implementation has it");
    }
    let signature = Signature::parse(&function.sig, attributes.call_type, codec, errors)?;
    let ident = function.sig.ident.clone();
    let written_name = ident.to_string();
    let proto_name = attributes.name.unwrap_or_else(|| {
        let name = ident.unraw().to_string();
        let camel = name.to_upper_camel_case();
        // `_1` has no letters to put in upper case.
        if is_proto_name(&camel) || !is_proto_name(&name) { camel } else { name }
    });
    if !is_proto_name(&proto_name) {
        errors.at(&ident, "protobuf does not allow this name; give another: `name = \"..\"`");
    }
    let method = Method {
        place: written_name.clone(),
        rename_help: format!("rename it; it keeps its name on the wire by `name = \"{proto_name}\"`"),
        written_name,
        proto_name,
        call_type: attributes.call_type,
        idempotent: attributes.idempotent,
        docs: attributes.common.docs,
        deprecated: attributes.common.deprecated,
        request: signature.request.to_token_stream(),
        response: signature.response.to_token_stream(),
        ident,
    };
    Some((method, signature))
}

/// The name of the service on the wire.
fn wire_name(ident: &syn::Ident, errors: &mut Errors) -> String {
    let name = ident.unraw().to_string();
    if !is_proto_name(&name) {
        errors.at(ident, "protobuf does not allow this name for a service; rename it");
    }
    name
}

//! The constants: each method's name on the wire, its types and its call type.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};

use super::{allow_lints, docs};
use crate::model::{CallType, Codec, Method, Service};

pub(super) fn items(service: &Service) -> TokenStream {
    let Service { visibility, deprecated, .. } = service;
    let docs = docs(&[format!(
        " The methods of `{}`: their names on the wire and call types.",
        service.full_name()
    )]);
    let allow = allow_lints(service);
    let ident = service.methods_ident();
    let constants = service.methods.iter().map(|method| constant(service, method));
    quote! {
        #docs
        #deprecated
        #allow
        #[derive(Debug, Clone, Copy)]
        #visibility struct #ident;

        #allow
        impl #ident {
            #(#constants)*
        }
    }
}

fn constant(service: &Service, method: &Method) -> TokenStream {
    let Service { runtime, .. } = service;
    let Method { request, response, deprecated, .. } = method;
    let wire_name = service.wire_name(method);
    let docs = docs(&[format!(" `{wire_name}`, {}.", method.call_type.with_article())]);
    let ident = method.const_ident();
    let reply = if method.call_type.is_one_way() { quote!(()) } else { quote!(#response) };
    let call_type = call_type(method.call_type);
    let facts = quote!(#wire_name, #runtime::codegen::CallType::#call_type);
    let new = match service.codec {
        Codec::Prost => quote!(prost(#facts)),
        Codec::Postcard => {
            let codecs = [request, &reply].map(|message| postcard(runtime, message));
            quote!(with_codecs(#facts, #(#codecs),*))
        }
    };
    let idempotent = method.idempotent.then(|| quote!(.idempotent()));
    quote! {
        #docs
        #deprecated
        pub const #ident: #runtime::codegen::Method<#request, #reply> =
            #runtime::codegen::Method::#new
                #idempotent;
    }
}

/// The codec of a message, at the place of its type, where the compiler then says what is missing of it.
fn postcard(runtime: &TokenStream, message: &TokenStream) -> TokenStream {
    let place = message.clone().into_iter().next().map_or_else(Span::call_site, |first| first.span());
    let place = place.resolved_at(Span::mixed_site());
    quote_spanned!(place=> #runtime::codegen::postcard::<#message>())
}

fn call_type(call_type: CallType) -> TokenStream {
    match call_type {
        CallType::Rpc => quote!(Rpc),
        CallType::Unicast => quote!(Unicast),
        CallType::Multicast => quote!(Multicast),
        CallType::QuorumCall => quote!(QuorumCall),
        CallType::StreamingQuorumCall => quote!(StreamingQuorumCall),
    }
}

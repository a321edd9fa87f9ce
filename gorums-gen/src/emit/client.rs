//! The client side: two traits whose methods appear on configurations and on nodes.

use proc_macro2::TokenStream;
use quote::quote;

use super::{allow_deprecated, allow_lints, docs, docs_and, has_client};
use crate::model::{CallType, Method, Service, Target};

pub(super) fn items(service: &Service) -> TokenStream {
    let targets = [Target::Configuration, Target::Node];
    let called = targets.into_iter().filter(|target| has_client(service, *target));
    called.map(|target| client_trait(service, target)).collect()
}

fn client_trait(service: &Service, target: Target) -> TokenStream {
    let Service { visibility, deprecated, .. } = service;
    let docs = docs(&[format!(
        " Calls of `{}` on {}.",
        service.full_name(),
        match target {
            Target::Configuration => "a configuration",
            Target::Node => "one node",
        }
    )]);
    let allow = allow_lints(service);
    let allow_deprecated = allow_deprecated(service);
    let ident = service.client_ident(target);
    let target_trait = target_trait(service, target);
    let methods = service.methods_on(target).map(|method| client_method(service, method));
    quote! {
        #docs
        #deprecated
        #allow
        #visibility trait #ident: #target_trait {
            #(#methods)*
        }

        #allow_deprecated
        impl<T: #target_trait + ?Sized> #ident for T {}
    }
}

/// Describes a call; the runtime's type makes it.
fn client_method(service: &Service, method: &Method) -> TokenStream {
    let Service { runtime, .. } = service;
    let Method { ident, request, response, deprecated, .. } = method;
    let docs = docs_and(&method.docs, &what_it_does(service, method));
    let target_trait = target_trait(service, method.call_type.target());
    let methods = service.methods_ident();
    let constant = method.const_ident();
    let (function, call) = match method.call_type {
        CallType::Rpc => (quote!(rpc), quote!(Rpc<#request, #response>)),
        CallType::Unicast => (quote!(unicast), quote!(Unicast<#request>)),
        CallType::Multicast => (quote!(multicast), quote!(Multicast<#request>)),
        CallType::QuorumCall => {
            (quote!(quorum_call), quote!(QuorumCall<#request, #response, <Self as #target_trait>::Quorum>))
        }
        CallType::StreamingQuorumCall => (quote!(streaming_call), quote!(StreamingCall<#request, #response>)),
    };
    quote! {
        #docs
        #deprecated
        fn #ident(&self, request: #request) -> #runtime::codegen::#call {
            #target_trait::#function(self, &#methods::#constant, request)
        }
    }
}

fn target_trait(service: &Service, target: Target) -> TokenStream {
    let Service { runtime, .. } = service;
    match target {
        Target::Configuration => quote!(#runtime::codegen::QuorumTarget),
        Target::Node => quote!(#runtime::codegen::NodeTarget),
    }
}

fn what_it_does(service: &Service, method: &Method) -> String {
    let name = service.wire_name(method);
    match method.call_type {
        CallType::Rpc => format!(" An rpc: calls `{name}` on this node."),
        CallType::Unicast => format!(" A unicast: sends `{name}` to this node, one way."),
        CallType::Multicast => format!(" A multicast: sends `{name}` to every node, one way."),
        CallType::QuorumCall => format!(" A quorum call: calls `{name}` on every node."),
        CallType::StreamingQuorumCall => format!(
            " A streaming quorum call: calls `{name}` on every node, each of which may reply many times."
        ),
    }
}

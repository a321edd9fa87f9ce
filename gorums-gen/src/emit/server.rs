//! The server side: the trait that a server implements, and what hands it to the runtime.

use proc_macro2::TokenStream;
use quote::quote;

use super::{allow_deprecated, allow_lints, docs, docs_or};
use crate::model::{CallType, Method, Service};

pub(super) fn items(service: &Service) -> TokenStream {
    let service_trait = service_trait(service);
    let server = server(service);
    let registration = registration(service);
    quote!(#service_trait #server #registration)
}

fn service_trait(service: &Service) -> TokenStream {
    let Service { ident, visibility, deprecated, .. } = service;
    let docs = docs_or(
        &service.docs,
        &format!(" The service `{}`, which its servers implement.", service.full_name()),
    );
    let allow = allow_lints(service);
    let methods = service.methods.iter().map(|method| handler(service, method));
    quote! {
        #docs
        #deprecated
        #allow
        #visibility trait #ident: ::core::marker::Send + ::core::marker::Sync + 'static {
            #(#methods)*
        }
    }
}

/// A method of the trait. An implementation writes it as an `async fn`.
fn handler(service: &Service, method: &Method) -> TokenStream {
    let Service { runtime, .. } = service;
    let Method { ident, request, response, deprecated, .. } = method;
    let docs = docs_or(
        &method.docs,
        &format!(" Handles `{}`, {}.", service.wire_name(method), method.call_type.with_article()),
    );
    let streaming = method.call_type == CallType::StreamingQuorumCall;
    let updates = streaming.then(|| quote!(, updates: #runtime::codegen::Updates<#response>));
    let output = match method.call_type {
        CallType::Unicast | CallType::Multicast => quote!(()),
        CallType::StreamingQuorumCall => {
            quote!(::core::result::Result<(), #runtime::codegen::Status>)
        }
        CallType::Rpc | CallType::QuorumCall => {
            quote!(::core::result::Result<#response, #runtime::codegen::Status>)
        }
    };
    quote! {
        #docs
        #deprecated
        fn #ident(
            &self,
            ctx: &#runtime::codegen::ServerContext,
            request: #request
            #updates
        ) -> impl ::core::future::Future<Output = #output> + ::core::marker::Send;
    }
}

fn server(service: &Service) -> TokenStream {
    let Service { ident, visibility, deprecated, .. } = service;
    let docs = docs(&[format!(" Serves a [`{ident}`]: hand it to `Server::builder().add_service(..)`.")]);
    let allow = allow_lints(service);
    let allow_deprecated = allow_deprecated(service);
    let server = service.server_ident();
    let name = server.to_string();
    quote! {
        #docs
        #deprecated
        #allow
        #visibility struct #server<T> {
            inner: ::std::sync::Arc<T>,
        }

        #allow
        impl<T: #ident> #server<T> {
            /// Serves this implementation.
            #[must_use]
            pub fn new(service: T) -> Self {
                Self::from_arc(::std::sync::Arc::new(service))
            }

            /// Serves an implementation that others hold as well.
            #[must_use]
            pub fn from_arc(inner: ::std::sync::Arc<T>) -> Self {
                Self { inner }
            }
        }

        #allow_deprecated
        impl<T> ::core::clone::Clone for #server<T> {
            fn clone(&self) -> Self {
                Self { inner: ::std::sync::Arc::clone(&self.inner) }
            }
        }

        #allow_deprecated
        impl<T> ::core::fmt::Debug for #server<T> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(#name).finish_non_exhaustive()
            }
        }
    }
}

fn registration(service: &Service) -> TokenStream {
    let Service { ident, runtime, .. } = service;
    let allow = allow_lints(service);
    let server = service.server_ident();
    let name = service.full_name();
    let parameter = if service.methods.is_empty() { quote!(_methods) } else { quote!(methods) };
    let methods = service.methods.iter().map(|method| register(service, method));
    quote! {
        #allow
        impl<T: #ident> #runtime::codegen::Service for #server<T> {
            const NAME: &'static str = #name;

            fn register(self, #parameter: &mut #runtime::codegen::Methods) {
                #(#methods)*
            }
        }
    }
}

/// Calls the method by its path, as `inner.clone(..)` would find another one in front of it.
fn register(service: &Service, method: &Method) -> TokenStream {
    let Method { ident, .. } = method;
    let methods = service.methods_ident();
    let constant = method.const_ident();
    let (function, updates) = match method.call_type {
        CallType::Unicast | CallType::Multicast => (quote!(one_way), None),
        CallType::StreamingQuorumCall => (quote!(streaming), Some(quote!(, updates))),
        CallType::Rpc | CallType::QuorumCall => (quote!(two_way), None),
    };
    quote! {
        methods.#function(
            &#methods::#constant,
            &self.inner,
            |inner, ctx, request #updates| async move {
                T::#ident(&inner, &ctx, request #updates).await
            },
        );
    }
}

//! A fake node, for unit tests of protocols: a field for each method, which is told what to answer.

use proc_macro2::TokenStream;
use quote::quote;

use super::{Options, allow_deprecated, allow_lints, docs};
use crate::model::{CallType, Method, Service};

/// All of it is compiled only if this condition holds.
pub(super) fn items(service: &Service, options: Options, condition: &TokenStream) -> TokenStream {
    let structure = structure(service, condition);
    let served = served(service, condition);
    let implementation = options.server.then(|| implementation(service, condition));
    quote!(#structure #served #implementation)
}

fn structure(service: &Service, condition: &TokenStream) -> TokenStream {
    let Service { visibility, deprecated, runtime, .. } = service;
    let ident = service.mock_ident();
    let docs = docs(&[
        format!(" A fake node of `{}`, for tests: each method answers as it is told.", service.full_name()),
        String::new(),
        format!(" `{ident}::nodes(3)` are three of them, on a network in memory."),
    ]);
    let (allow, allow_deprecated) = (allow_lints(service), allow_deprecated(service));
    let fields = service.methods.iter().map(|method| field(service, method));
    let methods = service.methods_ident();
    let new = service.methods.iter().map(|method| {
        let (ident, fake, constant) = (&method.ident, fake(method.call_type), method.const_ident());
        quote!(#ident: #runtime::codegen::#fake::new(&#methods::#constant))
    });
    quote! {
        #[cfg(#condition)]
        #docs
        #deprecated
        #allow
        #[derive(Clone, Debug)]
        #visibility struct #ident {
            #(#fields,)*
        }

        #[cfg(#condition)]
        #allow
        impl #ident {
            /// Starts fake nodes with ids from 1 up, which are yet to be told what to answer.
            ///
            /// # Panics
            ///
            /// If there is no Tokio runtime, or there would be no nodes.
            pub fn nodes(size: u32) -> #runtime::codegen::MockNodes<Self> {
                #runtime::codegen::MockNodes::new(size)
            }
        }

        #[cfg(#condition)]
        #allow_deprecated
        impl ::core::default::Default for #ident {
            fn default() -> Self {
                Self { #(#new,)* }
            }
        }
    }
}

fn field(service: &Service, method: &Method) -> TokenStream {
    let Service { runtime, .. } = service;
    let Method { ident, request, response, deprecated, .. } = method;
    let docs =
        docs(&[format!(" Fakes `{}`, {}.", service.wire_name(method), method.call_type.with_article())]);
    let fake = fake(method.call_type);
    let reply = (!method.call_type.is_one_way()).then(|| quote!(, #response));
    quote! {
        #docs
        #deprecated
        pub #ident: #runtime::codegen::#fake<#request #reply>
    }
}

/// What fakes methods of a call type.
fn fake(call_type: CallType) -> TokenStream {
    match call_type {
        CallType::Rpc | CallType::QuorumCall => quote!(MockMethod),
        CallType::Unicast | CallType::Multicast => quote!(MockOneWay),
        CallType::StreamingQuorumCall => quote!(MockStream),
    }
}

fn served(service: &Service, condition: &TokenStream) -> TokenStream {
    let Service { runtime, .. } = service;
    let ident = service.mock_ident();
    let allow = allow_lints(service);
    let name = service.full_name();
    let parameter = if service.methods.is_empty() { quote!(_methods) } else { quote!(methods) };
    let methods = service.methods.iter().map(|method| &method.ident);
    quote! {
        #[cfg(#condition)]
        #allow
        impl #runtime::codegen::Service for #ident {
            const NAME: &'static str = #name;

            fn register(self, #parameter: &mut #runtime::codegen::Methods) {
                #(self.#methods.register(methods);)*
            }
        }
    }
}

/// The mock as what a server implements, for code that takes that.
fn implementation(service: &Service, condition: &TokenStream) -> TokenStream {
    let Service { ident, runtime, .. } = service;
    let mock = service.mock_ident();
    let allow = allow_lints(service);
    let methods = service.methods.iter().map(|method| {
        let Method { ident, request, response, .. } = method;
        let streaming = method.call_type == CallType::StreamingQuorumCall;
        let updates = streaming.then(|| quote!(, updates: #runtime::codegen::Updates<#response>));
        let passed = streaming.then(|| quote!(, updates));
        let output = match method.call_type {
            CallType::Unicast | CallType::Multicast => None,
            CallType::StreamingQuorumCall => Some(quote!(())),
            CallType::Rpc | CallType::QuorumCall => Some(quote!(#response)),
        };
        let output =
            output.map(|output| quote!(-> ::core::result::Result<#output, #runtime::codegen::Status>));
        quote! {
            async fn #ident(
                &self,
                ctx: &#runtime::codegen::ServerContext,
                request: #request
                #updates
            ) #output {
                self.#ident.handle(ctx, request #passed).await
            }
        }
    });
    quote! {
        #[cfg(#condition)]
        #allow
        impl #ident for #mock {
            #(#methods)*
        }
    }
}

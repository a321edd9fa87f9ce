//! The macro without a compiler around it.

use std::fs;
use std::path::Path;

use gorums_gen::emit::{self, Options};
use proc_macro2::TokenStream;
use quote::quote;

use crate::{arguments, expand, parse};

/// What is wrong with the service, one text for each mistake.
fn errors(arguments: TokenStream, item: TokenStream) -> Vec<String> {
    let error = expand(arguments, item).expect_err("there is a mistake");
    error.into_iter().map(|error| error.to_string()).collect()
}

fn formatted(code: TokenStream) -> String {
    prettyplease::unparse(&syn::parse2(code).unwrap())
}

/// The service of `gorums-gen/tests/golden/storage.proto`.
fn storage() -> (TokenStream, TokenStream) {
    let item = quote! {
        /// Storage keeps values by key.
        ///
        /// A value has the time of its write; the newest one wins.
        pub trait Storage {
            /// ReadRPC reads the value of a key from one node.
            #[rpc(name = "ReadRPC")]
            async fn read_rpc(&self, ctx: &ServerContext, req: ReadRequest) -> Result<ReadResponse, Status>;
            /// WriteUnicast writes a value to one node.
            #[unicast]
            async fn write_unicast(&self, ctx: &ServerContext, req: WriteRequest);
            /// WriteMulticast writes a value to every node.
            #[multicast]
            async fn write_multicast(&self, ctx: &ServerContext, req: WriteRequest) -> ();
            /// ReadQC reads the newest value, see [the paper](<https://example.org>).
            #[quorumcall(idempotent, name = "ReadQC")]
            async fn read_qc(&self, _: &gorums::ServerContext, _: ReadRequest) -> Result<ReadResponse, Status>;
            #[quorumcall(name = "WriteQC")]
            async fn write_qc(
                &self,
                ctx: &ServerContext,
                req: WriteRequest,
            ) -> ::core::result::Result<WriteResponse, gorums::Status>;
            /// Watch reads a value, and again whenever it changes.
            #[quorumcall(stream)]
            async fn watch(
                &self,
                ctx: &ServerContext,
                req: ReadRequest,
                out: Updates<ReadResponse>,
            ) -> Result<(), Status>;
        }
    };
    (quote!(package = "storage"), item)
}

#[test]
fn a_trait_gives_the_tokens_of_the_proto() {
    let folder = tempfile::tempdir().unwrap();
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gorums-gen/tests/golden");
    gorums_gen::configure()
        .out_dir(folder.path())
        .emit_rerun_if_changed(false)
        .compile_protos(&[protos.join("storage.proto")], &[&protos])
        .unwrap();
    let of_proto = fs::read_to_string(folder.path().join("storage.rs")).unwrap();

    let (arguments, item) = storage();
    let parsed = parse::service(arguments, item).unwrap();
    let of_trait = formatted(emit::service(&parsed.service, Options::default()));

    // Behind the messages, which a trait does not have.
    let (_, services) = of_proto.split_once("/// Storage keeps values by key.").unwrap();
    assert_eq!(of_trait, format!("/// Storage keeps values by key.{services}"));
}

#[test]
fn the_types_that_were_written_are_checked_once_each() {
    let (arguments, item) = storage();
    let code = expand(arguments, item).unwrap().to_string();
    let checks = code.split("const _ : () =").nth(1).unwrap();
    // Two spellings of the context, three of the replies, the updates, and their result.
    assert_eq!(checks.matches("| value | value").count(), 6, "{checks}");
}

#[test]
fn names_on_the_wire_are_in_camel_case() {
    let item = quote! {
        trait Names {
            async fn read_it_2(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;
            async fn r#type(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;
            async fn _1(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;
        }
    };
    let code = expand(quote!(), item).unwrap().to_string();
    for name in ["\"Names.ReadIt2\"", "\"Names.Type\"", "\"Names._1\""] {
        assert!(code.contains(name), "{name} in {code}");
    }
}

#[test]
fn visibility_and_path_are_passed_on() {
    let item = quote! {
        pub(in super::above) trait Storage {
            async fn read(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;
        }
    };
    let code = expand(quote!(crate = "crate::runtime"), item).unwrap().to_string();
    assert!(code.contains("pub (in super :: above) struct StorageServer"), "{code}");
    assert!(code.contains("crate :: runtime :: codegen :: Service"), "{code}");
    assert!(!code.contains(":: gorums"), "{code}");
}

#[test]
fn an_empty_trait_is_a_service() {
    let code = expand(
        quote!(),
        quote!(
            trait Nothing {}
        ),
    )
    .unwrap()
    .to_string();
    assert!(code.contains("struct NothingServer") && !code.contains("NothingClient"));
}

#[test]
fn mistakes_of_all_kinds_are_told_at_once() {
    let item = quote! {
        #[serde]
        trait T<X> {
            const A: u8;
            async fn latency(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;
            fn b(ctx: &ServerContext);
        }
    };
    assert_eq!(
        errors(quote!(package = "", color = "red"), item),
        [
            "a package is names with dots between them, such as \"acme.storage.v1\"",
            "there is no argument `color`; there are `package`, `crate`, `codec` and `mock`",
            "a service is not generic; name the types of its messages",
            "a service has no such attribute; there are doc comments and `#[deprecated]`",
            "a service has only methods; move this out of the trait",
            "a method of a service is `async`; write `async fn`",
            "a method takes `&self`, as many calls may run at once",
            "the request is missing; add a parameter such as `request: ReadRequest`",
            "an rpc replies; return a `Result<ReadResponse, Status>`",
        ]
    );
}

#[test]
fn what_the_model_finds_is_told_at_once() {
    let item = quote! {
        trait Storage {
            async fn latency(&self, ctx: &ServerContext, req: StorageNodeClient) -> Result<M, Status>;
            async fn read_it(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;
            #[quorumcall(name = "Other")]
            async fn readIt(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;
            #[multicast(name = "ReadIt")]
            async fn all(&self, ctx: &ServerContext, req: M);
        }
    };
    assert_eq!(
        errors(quote!(), item),
        [
            "`latency` would clash with the method `Node::latency`; rename it; it keeps its name on \
         the wire by `name = \"Latency\"`",
            "`all` would clash with the method `Configuration::all`; rename it; it keeps its name \
         on the wire by `name = \"ReadIt\"`",
            "`read_it` and `readIt` would both become `READ_IT` in Rust; rename it; it keeps its name on the \
         wire by `name = \"Other\"`",
            "`ReadIt` is also the name of `read_it` on the wire; give one of them another name",
            "the generated item `StorageNodeClient` would clash with the message type \
         `StorageNodeClient`; rename one of the two",
        ]
    );
}

#[test]
fn a_codec_whose_feature_is_off_says_so() {
    let value = syn::parse_quote!("postcard");
    let error = arguments::codec(&value, false).expect_err("the feature is off");
    assert_eq!(
        error.to_string(),
        "messages that are plain serde types need the feature `postcard` of the crate `gorums`: add \
         `features = [\"postcard\"]` to it in Cargo.toml"
    );
    assert_eq!(arguments::codec(&value, true).unwrap(), gorums_gen::model::Codec::Postcard);
    assert_eq!(
        arguments::codec(&syn::parse_quote!("prost"), false).unwrap(),
        gorums_gen::model::Codec::Prost
    );
}

#[test]
fn a_mock_is_under_its_condition() {
    let item = quote! {
        trait Storage {
            async fn read(&self, ctx: &ServerContext, req: M) -> Result<M, Status>;
        }
    };
    let code = |arguments| expand(arguments, item.clone()).unwrap().to_string();
    assert!(!code(quote!()).contains("StorageMock"));
    for (arguments, condition) in [
        (quote!(mock), "# [cfg (test)]"),
        (quote!(mock(any(test, feature = "mocks"))), "# [cfg (any (test , feature = \"mocks\"))]"),
    ] {
        let code = code(arguments);
        // The struct, its constructor, its default, the service, and the trait.
        assert_eq!(code.matches(condition).count(), 5, "{code}");
        assert_eq!(code.matches("StorageMock").count(), 5 + 1, "{code}");
    }
}

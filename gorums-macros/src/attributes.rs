//! The attributes of the trait and of its methods.

use gorums_gen::model::CallType;
use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitStr, Meta, Token};

use crate::arguments::{is_proto_name, set_once, value};
use crate::errors::Errors;

/// The attributes that go on to the generated code.
#[derive(Default)]
pub(crate) struct Common {
    pub(crate) docs: Vec<String>,
    pub(crate) deprecated: Option<TokenStream>,
}

/// What the attributes of a method say.
pub(crate) struct OfMethod {
    pub(crate) common: Common,
    pub(crate) call_type: CallType,
    pub(crate) idempotent: bool,
    pub(crate) name: Option<String>,
}

/// Reads the attributes of the trait.
pub(crate) fn of_service(attributes: &[Attribute], errors: &mut Errors) -> Common {
    let mut common = Common::default();
    for attribute in attributes {
        if is_async_trait(attribute) {
            errors.at(attribute, NO_ASYNC_TRAIT);
        } else if !common.takes(attribute) {
            let help = "a service has no such attribute; there are doc comments and `#[deprecated]`";
            errors.at(attribute, help);
        }
    }
    common
}

/// A habit from before traits could have an `async fn`.
fn is_async_trait(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|segment| segment.ident == "async_trait")
}

const NO_ASYNC_TRAIT: &str =
    "remove `#[async_trait]`, here and from implementations; a service has `async fn`s anyway";

/// Reads the attributes of a method.
pub(crate) fn of_method(attributes: &[Attribute], errors: &mut Errors) -> OfMethod {
    let mut common = Common::default();
    let mut chosen: Option<CallAttribute> = None;
    for attribute in attributes {
        if common.takes(attribute) {
            continue;
        }
        let Some(call) = CallAttribute::parse(attribute, errors) else { continue };
        match &chosen {
            Some(first) => errors.at(
                attribute,
                format!("a method has one call type, and this is `#[{}]` already; remove one", first.key),
            ),
            None => chosen = Some(call),
        }
    }
    let (call_type, arguments) = match chosen {
        Some(call) => (call.call_type, call.arguments),
        None => (CallType::Rpc, Arguments::default()),
    };
    OfMethod { common, call_type, idempotent: arguments.idempotent.is_some(), name: arguments.name }
}

impl Common {
    /// Whether the attribute is one of these.
    fn takes(&mut self, attribute: &Attribute) -> bool {
        if attribute.path().is_ident("deprecated") {
            self.deprecated = Some(attribute.to_token_stream());
            return true;
        }
        let Meta::NameValue(meta) = &attribute.meta else { return false };
        let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &meta.value else { return false };
        let is_doc = meta.path.is_ident("doc");
        if is_doc {
            // A block comment is one attribute of many lines.
            self.docs.extend(text.value().split('\n').map(str::to_owned));
        }
        is_doc
    }
}

/// `#[quorumcall(stream)]`
struct CallAttribute {
    key: Ident,
    call_type: CallType,
    arguments: Arguments,
}

impl CallAttribute {
    fn parse(attribute: &Attribute, errors: &mut Errors) -> Option<Self> {
        let call_type = attribute.path().get_ident().and_then(|key| {
            let call_type = match key.to_string().as_str() {
                "rpc" => CallType::Rpc,
                "unicast" => CallType::Unicast,
                "multicast" => CallType::Multicast,
                "quorumcall" => CallType::QuorumCall,
                _ => return None,
            };
            Some((key.clone(), call_type))
        });
        let Some((key, mut call_type)) = call_type else {
            errors.at(
                attribute,
                "a method has no such attribute; there are `#[rpc]`, `#[unicast]`, `#[multicast]`, \
                 `#[quorumcall]`, doc comments and `#[deprecated]`",
            );
            return None;
        };
        let arguments = match &attribute.meta {
            Meta::Path(_) => Arguments::default(),
            Meta::List(list) => Arguments::parse(list.tokens.clone(), call_type, errors),
            Meta::NameValue(_) => {
                errors.at(attribute, format!("write `#[{key}]` or `#[{key}(..)]`"));
                Arguments::default()
            }
        };
        if arguments.stream.is_some() {
            call_type = CallType::StreamingQuorumCall;
        }
        Some(Self { key, call_type, arguments })
    }
}

/// `(stream, idempotent, name = "..")`
#[derive(Default)]
struct Arguments {
    stream: Option<()>,
    idempotent: Option<()>,
    name: Option<String>,
}

impl Arguments {
    fn parse(tokens: TokenStream, call_type: CallType, errors: &mut Errors) -> Self {
        let mut arguments = Self::default();
        let list = Punctuated::<Argument, Token![,]>::parse_terminated.parse2(tokens);
        for Argument { key, value } in errors.keep(list).unwrap_or_default() {
            let result = match (key.to_string().as_str(), value) {
                ("stream", None) if call_type == CallType::QuorumCall => {
                    set_once(&mut arguments.stream, &key, || Ok(()))
                }
                ("stream", None) => {
                    let help = "only a quorum call has a stream of replies: `#[quorumcall(stream)]`";
                    Err(syn::Error::new_spanned(&key, help))
                }
                ("idempotent", None) => set_once(&mut arguments.idempotent, &key, || Ok(())),
                ("name", Some(name)) => set_once(&mut arguments.name, &key, || wire_name(&name)),
                _ => {
                    let help = "there are `stream`, `idempotent` and `name = \"..\"`";
                    Err(syn::Error::new_spanned(&key, format!("there is no such `{key}`; {help}")))
                }
            };
            errors.keep(result);
        }
        arguments
    }
}

/// `key` or `key = "value"`
struct Argument {
    key: Ident,
    value: Option<LitStr>,
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = Ident::parse_any(input)?;
        let value = value(&key, input)?;
        Ok(Self { key, value })
    }
}

fn wire_name(value: &LitStr) -> syn::Result<String> {
    let name = value.value();
    let help = "the name on the wire is one that protobuf allows, such as \"ReadQC\"";
    if is_proto_name(&name) { Ok(name) } else { Err(syn::Error::new_spanned(value, help)) }
}

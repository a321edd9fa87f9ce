//! The arguments of the macro: `#[service(package = "..", crate = "..")]`.

use gorums_gen::model::Codec;
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::token::Paren;
use syn::{Ident, LitStr, Path, Token, parenthesized};

use crate::errors::Errors;

/// What the macro was told.
pub(crate) struct Arguments {
    pub(crate) package: String,
    /// The path of the runtime.
    pub(crate) runtime: TokenStream,
    pub(crate) codec: Codec,
    /// When there is a mock, as in `#[cfg(..)]`.
    pub(crate) mock: Option<TokenStream>,
}

impl Arguments {
    /// Takes the default for what is wrong.
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let (mut package, mut runtime, mut chosen, mut mock) = (None, None, None, None);
        let list = Punctuated::<Argument, Token![,]>::parse_terminated.parse2(tokens);
        for Argument { key, value } in errors.keep(list).unwrap_or_default() {
            let name = key.to_string();
            let result = match (name.as_str(), value) {
                ("package", Value::Text(value)) => set_once(&mut package, &key, || package_name(&value)),
                ("crate", Value::Text(value)) => set_once(&mut runtime, &key, || crate_path(&value)),
                ("codec", Value::Text(value)) => {
                    set_once(&mut chosen, &key, || codec(&value, cfg!(feature = "postcard")))
                }
                ("mock", Value::None) => set_once(&mut mock, &key, || Ok(quote!(test))),
                ("mock", Value::List(condition)) if !condition.is_empty() => {
                    set_once(&mut mock, &key, || Ok(condition))
                }
                ("mock", _) => {
                    let help = "write `mock`, for tests of this crate, or `mock(..)` with a condition as in `#[cfg(..)]`";
                    Err(syn::Error::new_spanned(&key, help))
                }
                ("package" | "crate" | "codec", _) => Err(no_value(&key)),
                _ => {
                    let help = "there are `package`, `crate`, `codec` and `mock`";
                    Err(syn::Error::new_spanned(&key, format!("there is no argument `{key}`; {help}")))
                }
            };
            errors.keep(result);
        }
        Self {
            package: package.unwrap_or_default(),
            runtime: runtime.unwrap_or_else(|| quote!(::gorums)),
            codec: chosen.unwrap_or_default(),
            mock,
        }
    }
}

/// Sets what may be given once.
pub(crate) fn set_once<T>(
    slot: &mut Option<T>,
    key: &Ident,
    value: impl FnOnce() -> syn::Result<T>,
) -> syn::Result<()> {
    if slot.is_some() {
        return Err(syn::Error::new_spanned(key, format!("`{key}` is given twice; remove one")));
    }
    *slot = Some(value()?);
    Ok(())
}

/// Whether protobuf would take it for the name of something.
pub(crate) fn is_proto_name(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `key`, `key = "value"` or `key(..)`
struct Argument {
    key: Ident,
    value: Value,
}

enum Value {
    None,
    Text(LitStr),
    List(TokenStream),
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = Ident::parse_any(input)?;
        if input.peek(Paren) {
            let list;
            parenthesized!(list in input);
            return Ok(Self { key, value: Value::List(list.parse()?) });
        }
        let value = value(&key, input)?.map_or(Value::None, Value::Text);
        Ok(Self { key, value })
    }
}

/// `= "value"`, if there is anything.
pub(crate) fn value(key: &Ident, input: ParseStream<'_>) -> syn::Result<Option<LitStr>> {
    if input.parse::<Option<Token![=]>>()?.is_none() {
        return Ok(None);
    }
    if input.is_empty() { Err(no_value(key)) } else { input.parse().map(Some) }
}

fn no_value(key: &Ident) -> syn::Error {
    syn::Error::new_spanned(key, format!("`{key}` needs a value: `{key} = \"..\"`"))
}

fn package_name(value: &LitStr) -> syn::Result<String> {
    let name = value.value();
    let help = "a package is names with dots between them, such as \"acme.storage.v1\"";
    let valid = name.split('.').all(is_proto_name);
    if valid { Ok(name) } else { Err(syn::Error::new_spanned(value, help)) }
}

fn crate_path(value: &LitStr) -> syn::Result<TokenStream> {
    let help = "this is not a path, such as \"::some::path\"";
    let path = value.parse_with(Path::parse_mod_style);
    path.map(Path::into_token_stream).map_err(|_| syn::Error::new_spanned(value, help))
}

/// The codec of this name, where the runtime may have been built without the feature for it.
pub(crate) fn codec(value: &LitStr, postcard: bool) -> syn::Result<Codec> {
    let error = |message: String| Err(syn::Error::new_spanned(value, message));
    match value.value().as_str() {
        "prost" => Ok(Codec::Prost),
        "postcard" if postcard => Ok(Codec::Postcard),
        "postcard" => error(
            "messages that are plain serde types need the feature `postcard` of the crate `gorums`: add \
             `features = [\"postcard\"]` to it in Cargo.toml"
                .to_owned(),
        ),
        other => error(format!("there is no codec `{other}`; there are `prost` and `postcard`")),
    }
}

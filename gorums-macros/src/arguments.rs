//! The arguments of the macro: `#[service(package = "..", crate = "..")]`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Ident, LitStr, Path, Token};

use crate::errors::Errors;

/// What the macro was told.
pub(crate) struct Arguments {
    pub(crate) package: String,
    /// The path of the runtime.
    pub(crate) runtime: TokenStream,
}

impl Arguments {
    /// Takes the default for what is wrong.
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let (mut package, mut runtime) = (None, None);
        let list = Punctuated::<Argument, Token![,]>::parse_terminated.parse2(tokens);
        for Argument { key, value } in errors.keep(list).unwrap_or_default() {
            let result = match key.to_string().as_str() {
                "package" => set_once(&mut package, &key, || package_name(&value)),
                "crate" => set_once(&mut runtime, &key, || crate_path(&value)),
                _ => {
                    let help = "there are `package` and `crate`";
                    Err(syn::Error::new_spanned(&key, format!("there is no argument `{key}`; {help}")))
                }
            };
            errors.keep(result);
        }
        Self { package: package.unwrap_or_default(), runtime: runtime.unwrap_or_else(|| quote!(::gorums)) }
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

/// `key = "value"`
struct Argument {
    key: Ident,
    value: LitStr,
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = Ident::parse_any(input)?;
        match value(&key, input)? {
            Some(value) => Ok(Self { key, value }),
            None => Err(no_value(&key)),
        }
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

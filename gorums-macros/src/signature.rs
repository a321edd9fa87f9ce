//! The signature of a method: what it must look like, and the types in it.

use gorums_gen::model::{CallType, Codec};
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    FnArg, GenericArgument, Pat, PathArguments, PathSegment, ReturnType, Signature as Syntax, Type,
    parse_quote,
};

use crate::errors::Errors;

/// The types of a method, as the user wrote them.
pub(crate) struct Signature {
    pub(crate) call_type: CallType,
    /// `&ServerContext`
    pub(crate) context: Type,
    pub(crate) request: Type,
    pub(crate) response: Type,
    /// `Updates<Response>`
    pub(crate) updates: Option<Type>,
    /// What is written behind the arrow.
    pub(crate) output: Option<Type>,
}

impl Signature {
    /// `None`, and at least one error, if it is not that of a method of this call type.
    pub(crate) fn parse(
        syntax: &Syntax,
        call_type: CallType,
        codec: Codec,
        errors: &mut Errors,
    ) -> Option<Self> {
        if is_rewritten(syntax) {
            let help =
                "`#[async_trait]` has rewritten this method; remove it, a service has `async fn`s anyway";
            errors.at(&syntax.ident, help);
            return None;
        }
        qualifiers(syntax, errors);
        let streaming = call_type == CallType::StreamingQuorumCall;
        let mut inputs = syntax.inputs.iter().peekable();
        let receiver = inputs.next_if(|input| matches!(input, FnArg::Receiver(_)));
        check_receiver(syntax, receiver, errors);
        let context = match inputs.next() {
            Some(FnArg::Typed(input)) => context(input, errors),
            _ => missing(syntax, "the context", "ctx: &ServerContext", errors),
        };
        let request = match inputs.next() {
            Some(FnArg::Typed(input)) => request(input, codec, errors),
            _ => missing(syntax, "the request", "request: ReadRequest", errors),
        };
        let updates = match inputs.next() {
            Some(FnArg::Typed(input)) if streaming => updates(input, codec, errors),
            None if streaming => {
                missing(syntax, "what its replies are sent with", "updates: Updates<ReadResponse>", errors)
            }
            Some(other) => {
                let help = "a method has one request; put what else it needs into the message, or use \
                            `#[quorumcall(stream)]` for updates";
                errors.at(other, help);
                None
            }
            None => None,
        };
        for other in inputs {
            errors.at(other, "a method has no more parameters; put this into the request");
        }
        let response = response(syntax, call_type, codec, errors);
        let (response, updates) = match updates {
            Some((response, updates)) => (response, Some(updates)),
            None => (response?, None),
        };
        let output = match &syntax.output {
            ReturnType::Default => None,
            ReturnType::Type(_, output) => Some((**output).clone()),
        };
        Some(Self { call_type, context: context?, request: request?, response, updates, output })
    }
}

/// Rejects what a function may have and a method of a service may not.
fn qualifiers(syntax: &Syntax, errors: &mut Errors) {
    if syntax.asyncness.is_none() {
        errors.at(syntax.fn_token, "a method of a service is `async`; write `async fn`");
    }
    if let Some(token) = &syntax.constness {
        errors.at(token, "a method of a service is not `const`; remove this");
    }
    if let Some(token) = &syntax.unsafety {
        errors.at(token, "a method of a service is not `unsafe`; remove this");
    }
    if let Some(abi) = &syntax.abi {
        errors.at(abi, "a method of a service is not `extern`; remove this");
    }
    if !syntax.generics.params.is_empty() {
        let help = "a method of a service is not generic; name the types of its messages";
        errors.at(&syntax.generics, help);
    }
    if let Some(clause) = &syntax.generics.where_clause {
        errors.at(clause, "a method of a service is not generic; remove this");
    }
    if let Some(variadic) = &syntax.variadic {
        errors.at(variadic, "a method of a service has one request; remove this");
    }
}

fn check_receiver(syntax: &Syntax, receiver: Option<&FnArg>, errors: &mut Errors) {
    let help = "a method takes `&self`, as many calls may run at once";
    match receiver {
        None => errors.at(&syntax.ident, help),
        Some(FnArg::Receiver(receiver)) => {
            let plain = matches!(&receiver.reference, Some((_, None))) && receiver.mutability.is_none();
            if !plain || receiver.colon_token.is_some() {
                errors.at(receiver, help);
            }
        }
        Some(FnArg::Typed(_)) => {}
    }
}

fn missing<T>(syntax: &Syntax, what: &str, example: &str, errors: &mut Errors) -> Option<T> {
    errors.at(&syntax.ident, format!("{what} is missing; add a parameter such as `{example}`"));
    None
}

/// `ctx: &ServerContext`
fn context(input: &syn::PatType, errors: &mut Errors) -> Option<Type> {
    check_pattern(input, errors);
    let is_context = match &*input.ty {
        Type::Reference(reference) if reference.mutability.is_none() && reference.lifetime.is_none() => {
            last_segment(&reference.elem).is_some_and(|segment| segment.ident == "ServerContext")
        }
        _ => false,
    };
    if !is_context {
        errors.at(&input.ty, "the first parameter is the context; write `ctx: &ServerContext`");
        return None;
    }
    Some((*input.ty).clone())
}

fn request(input: &syn::PatType, codec: Codec, errors: &mut Errors) -> Option<Type> {
    check_pattern(input, errors);
    check_message(&input.ty, "request", codec, errors)
}

/// `updates: Updates<Response>`: the type of the replies, and the whole.
fn updates(input: &syn::PatType, codec: Codec, errors: &mut Errors) -> Option<(Type, Type)> {
    check_pattern(input, errors);
    let segment = last_segment(&input.ty).filter(|segment| segment.ident == "Updates");
    let arguments = segment.map(type_arguments).unwrap_or_default();
    let [response] = arguments.as_slice() else {
        let help = "the third parameter sends the replies; write `updates: Updates<ReadResponse>`";
        errors.at(&input.ty, help);
        return None;
    };
    Some((check_message(response, "reply", codec, errors)?, (*input.ty).clone()))
}

/// The type of the reply. That of a streaming method is elsewhere; here, it is `()`.
fn response(syntax: &Syntax, call_type: CallType, codec: Codec, errors: &mut Errors) -> Option<Type> {
    let streaming = call_type == CallType::StreamingQuorumCall;
    let output = match &syntax.output {
        ReturnType::Default => None,
        ReturnType::Type(_, output) if is_unit(output) && !streaming => None,
        ReturnType::Type(_, output) => Some(&**output),
    };
    if call_type.is_one_way() {
        if let Some(output) = output {
            let name = call_type.with_article();
            errors.at(output, format!("{name} has no reply, so its method returns nothing; remove this"));
            return None;
        }
        return Some(parse_quote!(()));
    }
    let wanted = if streaming { "Result<(), Status>" } else { "Result<ReadResponse, Status>" };
    let Some(output) = output else {
        let name = call_type.with_article();
        errors.at(&syntax.ident, format!("{name} replies; return a `{wanted}`"));
        return None;
    };
    let segment = last_segment(output).filter(|segment| segment.ident == "Result");
    let response = match segment.map(type_arguments).as_deref() {
        Some([response, status]) if last_segment(status).is_some_and(|s| s.ident == "Status") => {
            response.clone()
        }
        _ => {
            let name = call_type.with_article();
            errors.at(output, format!("the method of {name} returns a `{wanted}`"));
            return None;
        }
    };
    if !streaming {
        return check_message(&response, "reply", codec, errors);
    }
    if !is_unit(&response) {
        let help = "the replies go through `Updates`; return a `Result<(), Status>`";
        errors.at(&response, help);
        return None;
    }
    Some(response)
}

/// Messages are owned, and have a name, or are made of what has, if serde encodes them.
fn check_message(ty: &Type, what: &str, codec: Codec, errors: &mut Errors) -> Option<Type> {
    let serde = codec == Codec::Postcard;
    match ty {
        Type::Reference(_) => {
            errors.at(ty, format!("a {what} is owned, as it comes from the network; remove the `&`"));
        }
        Type::Path(_) | Type::Tuple(_) | Type::Array(_)
            if serde || matches!(ty, Type::Path(_)) || is_unit(ty) =>
        {
            match unnamed(ty.to_token_stream()) {
                None => return Some(ty.clone()),
                Some(Unnamed::SelfType) => errors.at(ty, format!("a {what} has no `Self`; name the type")),
                Some(Unnamed::Lifetime) => {
                    let help = "is owned, as it comes from the network; name a type without lifetimes";
                    errors.at(ty, format!("a {what} {help}"));
                }
                Some(Unnamed::Opaque) => {
                    errors.at(ty, format!("a {what} is a message; name its type in full"));
                }
            }
        }
        _ => errors.at(ty, format!("a {what} is a message; name its type")),
    }
    None
}

/// What the type of a message cannot have in it.
enum Unnamed {
    SelfType,
    Lifetime,
    /// `impl`, `_` or `dyn`.
    Opaque,
}

fn unnamed(tokens: TokenStream) -> Option<Unnamed> {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let found = match &token {
            TokenTree::Group(group) => unnamed(group.stream()),
            TokenTree::Ident(ident) if ident == "Self" => Some(Unnamed::SelfType),
            TokenTree::Ident(ident) if ident == "impl" || ident == "dyn" || ident == "_" => {
                Some(Unnamed::Opaque)
            }
            TokenTree::Punct(punct) if punct.as_char() == '&' => Some(Unnamed::Lifetime),
            TokenTree::Punct(punct) if punct.as_char() == '\'' => {
                let name = tokens.peek().map(ToString::to_string);
                (name.as_deref() != Some("static")).then_some(Unnamed::Lifetime)
            }
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Whether `#[async_trait]`, written above the service's attribute, has been here before.
fn is_rewritten(syntax: &Syntax) -> bool {
    syntax.generics.lifetimes().any(|parameter| parameter.lifetime.ident == "async_trait")
}

/// Parameters are only names; what the message is taken apart to is up to the implementation.
fn check_pattern(input: &syn::PatType, errors: &mut Errors) {
    let plain = match &*input.pat {
        Pat::Ident(pattern) => pattern.by_ref.is_none() && pattern.mutability.is_none(),
        Pat::Wild(_) => true,
        _ => false,
    };
    if !plain {
        errors.at(&input.pat, "a parameter of a service's method is a name; write one here");
    }
    if let Some(attribute) = input.attrs.first() {
        errors.at(attribute, "a parameter of a service's method has no attributes; remove this");
    }
}

fn is_unit(ty: &Type) -> bool {
    matches!(ty, Type::Tuple(tuple) if tuple.elems.is_empty())
}

fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) if path.qself.is_none() => path.path.segments.last(),
        _ => None,
    }
}

/// The types in `<..>`; none if there is anything else in it.
fn type_arguments(segment: &PathSegment) -> Vec<Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return Vec::new() };
    let types = arguments.args.iter().map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    });
    types.collect::<Option<_>>().unwrap_or_default()
}

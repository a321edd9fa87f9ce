//! Reads services from protobuf descriptors into the model.
//!
//! prost-types drops the options that it does not know, and with them the call types; so the
//! descriptors are read by prost-reflect, which keeps them.

use std::collections::BTreeMap;

use heck::ToUpperCamelCase;
use proc_macro2::{Ident, Span, TokenStream};
use prost_build::Comments;
use prost_reflect::{DescriptorPool, FileDescriptor, MethodDescriptor, Value};
use quote::quote;

use crate::generate::Settings;
use crate::model::{CallType, Codec, Method, Service};
use crate::validate::{Mistake, Streaming, call_type};

/// Services as far as they could be read, and what is wrong with them.
#[derive(Debug, Default)]
pub(crate) struct Services {
    pub(crate) read: Vec<Service>,
    pub(crate) mistakes: Vec<Mistake>,
    pub(crate) warnings: Vec<Mistake>,
}

/// What the descriptors alone do not tell.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) pool: &'a DescriptorPool,
    pub(crate) runtime: TokenStream,
    pub(crate) mock: Option<TokenStream>,
    pub(crate) settings: &'a Settings,
}

impl Services {
    /// Adds a service, for which prost has chosen the Rust names and types.
    pub(crate) fn add(&mut self, context: &Context<'_>, prost: &prost_build::Service) {
        let full_name = match prost.package.as_str() {
            "" => prost.proto_name.clone(),
            package => format!("{package}.{}", prost.proto_name),
        };
        // prost read the same descriptors, so the service is there.
        let Some(descriptor) = context.pool.get_service_by_name(&full_name) else { return };
        let (ident, problem) = ident(&prost.name);
        let mut service = Service {
            ident,
            proto_name: prost.proto_name.clone(),
            package: prost.package.clone(),
            docs: context.docs(&full_name, &prost.comments),
            deprecated: deprecated(prost.options.deprecated()),
            visibility: quote!(pub),
            runtime: context.runtime.clone(),
            codec: Codec::Prost,
            mock: context.mock.clone(),
            place: place(&descriptor.parent_file(), descriptor.path(), &full_name),
            methods: Vec::new(),
        };
        for (method, descriptor) in prost.methods.iter().zip(descriptor.methods()) {
            service.methods.extend(self.method(context, method, &descriptor));
        }
        match problem {
            None => self.read.push(service),
            Some(problem) => self.mistakes.push(Mistake::of_service(&service, problem, RENAME)),
        }
    }

    /// `None`: it has no name, so there is nothing to go on checking.
    fn method(
        &mut self,
        context: &Context<'_>,
        prost: &prost_build::Method,
        descriptor: &MethodDescriptor,
    ) -> Option<Method> {
        let streaming = Streaming::new(prost.client_streaming, prost.server_streaming);
        let (call_type, problems) = call_type(&chosen(descriptor), streaming);
        let full_name = descriptor.full_name();
        let chosen_name = context.settings.method_names.get(full_name);
        let (ident, problem) = ident(chosen_name.unwrap_or(&prost.name));
        let mut method = Method {
            ident,
            proto_name: prost.proto_name.clone(),
            written_name: prost.proto_name.clone(),
            rename_help: format!(
                "rename it, or set `method_name` of `{full_name}` to give it another name in Rust only"
            ),
            call_type,
            idempotent: is_idempotent(&prost.options),
            docs: context.docs(full_name, &prost.comments),
            deprecated: deprecated(prost.options.deprecated()),
            request: TokenStream::new(),
            response: TokenStream::new(),
            place: place(&descriptor.parent_file(), descriptor.path(), full_name),
        };
        for (problem, help) in problems {
            self.mistakes.push(Mistake::of_method(&method, problem, help));
        }
        if let Some(problem) = problem {
            self.mistakes.push(Mistake::of_method(&method, problem, RENAME));
            return None;
        }
        method.request = self.type_of(&method, &prost.input_type);
        method.response = self.type_of(&method, &prost.output_type);
        let reply = descriptor.output();
        let name = reply.full_name();
        if call_type.is_one_way() && name != EMPTY {
            self.warnings.push(Mistake::of_method(
                &method,
                format!("{} has no reply, so `{name}` is never sent", call_type.with_article()),
                format!("return `{EMPTY}`"),
            ));
        }
        Some(method)
    }

    fn type_of(&mut self, method: &Method, rust_type: &str) -> TokenStream {
        if let Ok(parsed) = syn::parse_str::<syn::Type>(rust_type) {
            return quote!(#parsed);
        }
        self.mistakes.push(Mistake::of_method(
            method,
            format!("`{rust_type}` is not a type of Rust"),
            "check the extern paths",
        ));
        TokenStream::new()
    }
}

impl Context<'_> {
    /// The comments of an item as documentation, treated as prost treats those of messages.
    fn docs(&self, full_name: &str, comments: &Comments) -> Vec<String> {
        if self.settings.disable_comments.iter().any(|path| path_matches(path, full_name)) {
            return Vec::new();
        }
        let mut written = String::new();
        comments.append_with_indent(0, &mut written);
        let lines = written.lines().filter_map(|line| line.strip_prefix("///"));
        lines.map(str::to_owned).collect()
    }
}

/// The Rust names of the messages and enums at the top of a package, each with what messages of
/// the generator call it.
pub(crate) fn types(pool: &DescriptorPool, package: &str) -> BTreeMap<String, String> {
    let mut types = BTreeMap::new();
    for file in pool.files().filter(|file| file.package_name() == package) {
        for message in file.messages() {
            let name = message.name().to_upper_camel_case();
            types.insert(name, format!("the message `{}`", message.full_name()));
        }
        for item in file.enums() {
            let name = item.name().to_upper_camel_case();
            types.insert(name, format!("the enum `{}`", item.full_name()));
        }
    }
    types
}

const RENAME: &str = "rename it";

/// The reply that one-way methods declare.
const EMPTY: &str = "google.protobuf.Empty";

/// The call types that the options of `gorums.proto` choose.
fn chosen(method: &MethodDescriptor) -> Vec<CallType> {
    const OPTIONS: [(&str, u32, CallType); 4] = [
        ("gorums.rpc", 50001, CallType::Rpc),
        ("gorums.unicast", 50002, CallType::Unicast),
        ("gorums.multicast", 50003, CallType::Multicast),
        ("gorums.quorumcall", 50004, CallType::QuorumCall),
    ];
    let options = method.options();
    let is_set = |name: &str, number: u32| {
        options.extensions().any(|(extension, value)| {
            extension.full_name() == name && extension.number() == number && *value == Value::Bool(true)
        })
    };
    let chosen = OPTIONS.into_iter().filter(|(name, number, _)| is_set(name, *number));
    chosen.map(|(_, _, call_type)| call_type).collect()
}

fn is_idempotent(options: &prost_types::MethodOptions) -> bool {
    use prost_types::method_options::IdempotencyLevel;
    match options.idempotency_level() {
        IdempotencyLevel::Idempotent | IdempotencyLevel::NoSideEffects => true,
        IdempotencyLevel::IdempotencyUnknown => false,
    }
}

fn deprecated(is_deprecated: bool) -> Option<TokenStream> {
    is_deprecated.then(|| quote!(#[deprecated]))
}

/// An identifier in prost's spelling, which has the keywords escaped; else what is wrong, and a
/// stand-in.
fn ident(name: &str) -> (Ident, Option<String>) {
    match syn::parse_str::<Ident>(name) {
        Ok(ident) => (ident, None),
        Err(_) => (
            Ident::new("_unnamed", Span::call_site()),
            Some(format!("its name in Rust would be `{name}`, which is not a name")),
        ),
    }
}

/// `storage.proto:7:3: proto.Storage.ReadQC`
fn place(file: &FileDescriptor, path: &[i32], full_name: &str) -> String {
    let name = file.name();
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|l| l.path == path));
    match location.map(|location| location.span.as_slice()) {
        Some([line, column, ..]) => {
            format!("{name}:{}:{}: {full_name}", i64::from(*line) + 1, i64::from(*column) + 1)
        }
        _ => format!("{name}: {full_name}"),
    }
}

/// Whether prost would match the path of a setting with a full name: `.` matches everything,
/// `.a.b` what is in it, `b.c` what ends with it.
fn path_matches(path: &str, full_name: &str) -> bool {
    let Some(prefix) = path.strip_prefix('.') else {
        let suffix = full_name.strip_suffix(path);
        return suffix.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    };
    let rest = full_name.strip_prefix(prefix);
    prefix.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::path_matches;

    #[test]
    fn paths_match_as_in_prost() {
        let matching = [".", ".a", ".a.B", ".a.B.C", "C", "B.C", "a.B.C"];
        assert_eq!(matching.map(|path| path_matches(path, "a.B.C")), [true; 7]);
        let other = [".B", ".a.B.Cc", "B", "a.B", "bC", ".a.B.C.D"];
        assert_eq!(other.map(|path| path_matches(path, "a.B.C")), [false; 6]);
    }
}

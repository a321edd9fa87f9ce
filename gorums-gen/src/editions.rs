//! Turns files of editions 2023 and 2024 into proto2 or proto3, which is all that prost knows.
//!
//! A file whose fields have no presence (`features.field_presence = IMPLICIT`) becomes proto3,
//! any other one proto2; what single messages and fields say differently is written out.

use prost_reflect::{DynamicMessage, ReflectMessage, Value};

use crate::error::{Error, ErrorKind};

/// Rewrites a `FileDescriptorProto`; one that is not of an edition stays as it is.
pub(crate) fn lower(file: &mut DynamicMessage) -> Result<(), Error> {
    if text(file, "syntax") != "editions" {
        return Ok(());
    }
    let features = Features::DEFAULT.refined_by(file)?;
    let lowering = Lowering { file: text(file, "name"), proto3: features.presence == Presence::Implicit };
    let syntax = if lowering.proto3 { "proto3" } else { "proto2" };
    file.set_field_by_name("syntax", Value::String(syntax.to_owned()));
    file.clear_field_by_name("edition");
    for message in messages(file, "message_type") {
        lowering.message(message, features)?;
    }
    for extension in messages(file, "extension") {
        lowering.field(extension, features, None)?;
    }
    // Only their options matter now: those that `refined_by` takes out are of no use to others.
    for (list, members) in [("enum_type", "value"), ("service", "method")] {
        for item in messages(file, list) {
            features.refined_by(item)?;
            for member in messages(item, members) {
                features.refined_by(member)?;
            }
        }
    }
    Ok(())
}

/// The features that change what prost generates.
#[derive(Debug, Clone, Copy)]
struct Features {
    presence: Presence,
    packed: bool,
    delimited: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Explicit,
    Implicit,
    Required,
}

impl Features {
    /// The defaults of the editions 2023 and 2024.
    const DEFAULT: Self = Self { presence: Presence::Explicit, packed: true, delimited: false };

    /// These features, changed by the options of an item.
    fn refined_by(mut self, item: &mut DynamicMessage) -> Result<Self, Error> {
        if !item.has_field_by_name("options") {
            return Ok(self);
        }
        let name = text(item, "name");
        let Some(Value::Message(options)) = item.get_field_by_name_mut("options") else {
            return Ok(self);
        };
        for (feature, value) in compiled(options).into_iter().chain(uninterpreted(options)) {
            self.set(&feature, &value).ok_or_else(|| {
                Error::new(
                    ErrorKind::Proto,
                    format!("{name}: the feature `{feature} = {value}` is not supported"),
                )
            })?;
        }
        Ok(self)
    }

    /// `None`: a value that is not known. Features that make no difference here are passed over.
    fn set(&mut self, feature: &str, value: &str) -> Option<()> {
        match (feature, value) {
            ("field_presence", "EXPLICIT") => self.presence = Presence::Explicit,
            ("field_presence", "IMPLICIT") => self.presence = Presence::Implicit,
            ("field_presence", "LEGACY_REQUIRED") => self.presence = Presence::Required,
            ("repeated_field_encoding", "PACKED") => self.packed = true,
            ("repeated_field_encoding", "EXPANDED") => self.packed = false,
            ("message_encoding", "LENGTH_PREFIXED") => self.delimited = false,
            ("message_encoding", "DELIMITED") => self.delimited = true,
            ("field_presence" | "repeated_field_encoding" | "message_encoding", _) => return None,
            _ => {}
        }
        Some(())
    }
}

/// The features that a compiler has understood: `protoc`'s descriptors.
fn compiled(options: &mut DynamicMessage) -> Vec<(String, String)> {
    let Some(features) = options.get_field_by_name("features") else { return Vec::new() };
    let Value::Message(features) = features.as_ref() else { return Vec::new() };
    let named = features.fields().filter_map(|(field, value)| {
        let kind = field.kind();
        let value = kind.as_enum()?.get_value(value.as_enum_number()?)?;
        Some((field.name().to_owned(), value.name().to_owned()))
    });
    named.collect()
}

/// The features as a parser leaves them, which are taken out: `option features.x = Y`.
fn uninterpreted(options: &mut DynamicMessage) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if let Some(Value::List(list)) = options.get_field_by_name_mut("uninterpreted_option") {
        list.retain_mut(|option| {
            let Value::Message(option) = option else { return true };
            let parts = messages(option, "name").map(|part| text(part, "name_part"));
            let parts: Vec<_> = parts.collect();
            if parts.first().is_none_or(|first| first != "features") {
                return true;
            }
            found.push((parts[1..].join("."), text(option, "identifier_value")));
            false
        });
    }
    found
}

struct Lowering {
    file: String,
    proto3: bool,
}

impl Lowering {
    fn message(&self, message: &mut DynamicMessage, features: Features) -> Result<(), Error> {
        let features = features.refined_by(message)?;
        let mut oneofs = Vec::new();
        for oneof in messages(message, "oneof_decl") {
            oneofs.push(features.refined_by(oneof)?);
        }
        for nested in messages(message, "nested_type") {
            self.message(nested, features)?;
        }
        let real_oneofs = oneofs.len();
        let mut synthetic = Vec::new();
        for field in messages(message, "field") {
            let oneof = number(field, "oneof_index").and_then(|n| usize::try_from(n).ok());
            let features = oneof.and_then(|n| oneofs.get(n)).copied().unwrap_or(features);
            let next = real_oneofs + synthetic.len();
            if self.field(field, features, Some(next))? {
                synthetic.push(format!("_{}", text(field, "name")));
            }
        }
        for name in synthetic {
            add_oneof(message, name);
        }
        Ok(())
    }

    /// Whether the field became `optional` of proto3, in a oneof of its own at index `oneof`.
    fn field(
        &self,
        field: &mut DynamicMessage,
        features: Features,
        oneof: Option<usize>,
    ) -> Result<bool, Error> {
        let features = features.refined_by(field)?;
        let is_message = matches!(number(field, "type"), Some(TYPE_MESSAGE));
        if is_message && features.delimited {
            field.set_field_by_name("type", Value::EnumNumber(TYPE_GROUP));
        } else if features.delimited && number(field, "type").is_none() {
            // A parser does not know yet whether it is a message or an enum.
            return Err(self.error(
                field,
                "message_encoding = DELIMITED",
                "is only read from descriptors that protoc wrote; use `compile_fds` or the plugin",
            ));
        }
        if number(field, "label") == Some(LABEL_REPEATED) {
            if number(field, "type").is_some_and(is_packable) {
                set_packed(field, features.packed);
            }
            return Ok(false);
        }
        if field.has_field_by_name("oneof_index") {
            return Ok(false);
        }
        match (features.presence, self.proto3) {
            (Presence::Explicit, true) if !is_message => {
                let Some(oneof) = oneof.and_then(|n| i32::try_from(n).ok()) else {
                    return Ok(false);
                };
                field.set_field_by_name("proto3_optional", Value::Bool(true));
                field.set_field_by_name("oneof_index", Value::I32(oneof));
                return Ok(true);
            }
            (Presence::Required, false) => {
                field.set_field_by_name("label", Value::EnumNumber(LABEL_REQUIRED));
            }
            (Presence::Required, true) => return Err(self.unmixable(field, "LEGACY_REQUIRED")),
            (Presence::Implicit, false) if !is_message => {
                return Err(self.unmixable(field, "IMPLICIT"));
            }
            _ => {}
        }
        Ok(false)
    }

    fn unmixable(&self, field: &DynamicMessage, presence: &str) -> Error {
        let others = if self.proto3 { "IMPLICIT" } else { "EXPLICIT" };
        self.error(
            field,
            &format!("field_presence = {presence}"),
            &format!("cannot be mixed with the file's `{others}`; move the message to a file of its own"),
        )
    }

    fn error(&self, field: &DynamicMessage, feature: &str, problem: &str) -> Error {
        let (file, name) = (&self.file, text(field, "name"));
        Error::new(ErrorKind::Proto, format!("{file}: the feature `{feature}` of field `{name}` {problem}"))
    }
}

const LABEL_REQUIRED: i32 = 2;
const LABEL_REPEATED: i32 = 3;
const TYPE_STRING: i32 = 9;
const TYPE_GROUP: i32 = 10;
const TYPE_MESSAGE: i32 = 11;
const TYPE_BYTES: i32 = 12;

fn is_packable(kind: i32) -> bool {
    !matches!(kind, TYPE_STRING | TYPE_GROUP | TYPE_MESSAGE | TYPE_BYTES)
}

fn set_packed(field: &mut DynamicMessage, packed: bool) {
    let Some(slot) = field.descriptor().get_field_by_name("options") else { return };
    if let Value::Message(options) = field.get_field_mut(&slot) {
        options.set_field_by_name("packed", Value::Bool(packed));
    }
}

fn add_oneof(message: &mut DynamicMessage, name: String) {
    let Some(slot) = message.descriptor().get_field_by_name("oneof_decl") else { return };
    let Some(kind) = slot.kind().as_message().cloned() else { return };
    let mut oneof = DynamicMessage::new(kind);
    oneof.set_field_by_name("name", Value::String(name));
    if let Value::List(list) = message.get_field_mut(&slot) {
        list.push(Value::Message(oneof));
    }
}

/// The messages of a repeated field.
fn messages<'a>(parent: &'a mut DynamicMessage, field: &str) -> impl Iterator<Item = &'a mut DynamicMessage> {
    let list = match parent.get_field_by_name_mut(field) {
        Some(Value::List(list)) => list.as_mut_slice(),
        _ => &mut [],
    };
    list.iter_mut().filter_map(Value::as_message_mut)
}

fn text(message: &DynamicMessage, field: &str) -> String {
    let value = message.get_field_by_name(field);
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A number or enum, if it is set.
fn number(message: &DynamicMessage, field: &str) -> Option<i32> {
    if !message.has_field_by_name(field) {
        return None;
    }
    let value = message.get_field_by_name(field)?;
    value.as_i32().or_else(|| value.as_enum_number())
}

//! The parameters of the plugin: `key=value`, separated by commas.

use std::mem;

use crate::builder::{Builder, configure};
use crate::error::{Error, ErrorKind};

/// What the user asked for.
#[derive(Debug)]
pub(super) struct Parameters {
    pub(super) builder: Builder,
    pub(super) messages: bool,
    /// Empty, or with a slash at the end.
    pub(super) out_dir: String,
    pub(super) include_file: Option<String>,
}

impl Parameters {
    /// Tells about every parameter that is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let mut parameters =
            Self { builder: configure(), messages: true, out_dir: String::new(), include_file: None };
        let mut problems = Vec::new();
        for parameter in split(text) {
            // As other plugins have it, a key alone switches something on.
            let (key, value) = parameter.split_once('=').unwrap_or((&parameter, "true"));
            if let Err(problem) = parameters.read(key.trim(), value.trim()) {
                problems.push(format!("parameter `{parameter}`: {problem}"));
            }
        }
        if problems.is_empty() { Ok(parameters) } else { Err(Error::all(ErrorKind::Setting, problems)) }
    }

    fn read(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "messages" => self.messages = flag(value)?,
            "out_dir" => self.out_dir = format!("{}/", relative(value)?),
            "include_file" => self.include_file = Some(relative(value)?.to_owned()),
            _ => {
                let setter = setter(key, value)?;
                self.builder = setter(mem::replace(&mut self.builder, configure()));
            }
        }
        Ok(())
    }
}

type Setter<'a> = Box<dyn FnOnce(Builder) -> Builder + 'a>;

/// The parameters that are setters of the builder.
fn setter<'a>(key: &str, value: &'a str) -> Result<Setter<'a>, String> {
    Ok(match key {
        "client" => with(flag(value)?, Builder::build_client),
        "server" => with(flag(value)?, Builder::build_server),
        "mocks" => with(flag(value)?, Builder::mocks),
        "mocks_if" => with(value, Builder::mocks_if),
        "compile_well_known_types" => with(flag(value)?, Builder::compile_well_known_types),
        "bytes" => with(value, Builder::bytes),
        "btree_map" => with(value, Builder::btree_map),
        "boxed" => with(value, Builder::boxed),
        "disable_comments" => with(value, Builder::disable_comments),
        "gorums_path" => with(value, Builder::gorums_path),
        "prost_path" => with(value, Builder::prost_path),
        "prost_types_path" => with(value, Builder::prost_types_path),
        "method_name" => with_pair(pair(value)?, Builder::method_name),
        "extern_path" => with_pair(pair(value)?, Builder::extern_path),
        "type_attribute" => with_pair(pair(value)?, Builder::type_attribute),
        "message_attribute" => with_pair(pair(value)?, Builder::message_attribute),
        "enum_attribute" => with_pair(pair(value)?, Builder::enum_attribute),
        "field_attribute" => with_pair(pair(value)?, Builder::field_attribute),
        _ => return Err(format!("there is no `{key}`; there are {}", KEYS.join(", "))),
    })
}

fn with<'a, V: 'a>(value: V, set: impl FnOnce(Builder, V) -> Builder + 'a) -> Setter<'a> {
    Box::new(move |builder| set(builder, value))
}

fn with_pair<'a>(
    (path, value): (&'a str, &'a str),
    set: impl FnOnce(Builder, &'a str, &'a str) -> Builder + 'a,
) -> Setter<'a> {
    Box::new(move |builder| set(builder, path, value))
}

fn flag(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("the value is `true` or `false`".to_owned()),
    }
}

/// `PATH=VALUE`
fn pair(value: &str) -> Result<(&str, &str), String> {
    let pair = value.split_once('=').filter(|(path, value)| !path.is_empty() && !value.is_empty());
    pair.ok_or_else(|| "the value is `PATH=VALUE`".to_owned())
}

/// A path that stays in the output folder, which `protoc` demands.
fn relative(value: &str) -> Result<&str, String> {
    let value = value.trim_end_matches('/');
    let stays = value.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let plain = !value.contains('\\') && !value.contains(':');
    if stays && plain {
        Ok(value)
    } else {
        Err("the value is a path in the output folder, without `.` and `..`".to_owned())
    }
}

/// Splits at commas; `\,` is a comma in a value.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = text.chars().peekable();
    while let Some(char) = rest.next() {
        let end = parts.len() - 1;
        match char {
            '\\' if rest.peek() == Some(&',') => parts[end].extend(rest.next()),
            ',' => parts.push(String::new()),
            _ => parts[end].push(char),
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

const KEYS: &[&str] = &[
    "messages",
    "client",
    "server",
    "mocks",
    "mocks_if",
    "out_dir",
    "include_file",
    "method_name",
    "extern_path",
    "bytes",
    "btree_map",
    "boxed",
    "type_attribute",
    "message_attribute",
    "enum_attribute",
    "field_attribute",
    "compile_well_known_types",
    "disable_comments",
    "gorums_path",
    "prost_path",
    "prost_types_path",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        Parameters::parse(text).expect_err("a parameter is wrong").to_string()
    }

    #[test]
    fn commas_can_be_escaped() {
        assert_eq!(
            split(r"a=b,type_attribute=.=#[derive(Eq\, Hash)],, c"),
            ["a=b", "type_attribute=.=#[derive(Eq, Hash)]", " c"]
        );
        assert_eq!(split(r"a=\b\\,c"), [r"a=\b\,c"]);
        assert_eq!(split(""), [""; 0]);
    }

    #[test]
    fn every_key_is_known() {
        for key in KEYS {
            let value = match *key {
                "messages" | "client" | "server" | "mocks" | "compile_well_known_types" => "false",
                "out_dir" | "include_file" => "a/b.rs",
                _ => ".a=b",
            };
            Parameters::parse(&format!("{key}={value}")).expect(key);
        }
    }

    #[test]
    fn a_key_alone_switches_on() {
        assert!(Parameters::parse("messages").expect("valid").messages);
        assert!(!Parameters::parse(" messages = false ").expect("valid").messages);
    }

    #[test]
    fn all_problems_are_told() {
        let told = problems("client=maybe,extern_path=.a,colour=red,out_dir=../up");
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines[0], "parameter `client=maybe`: the value is `true` or `false`");
        assert_eq!(lines[1], "parameter `extern_path=.a`: the value is `PATH=VALUE`");
        let unknown = "parameter `colour=red`: there is no `colour`; there are messages, client, ";
        assert!(lines[2].starts_with(unknown), "{}", lines[2]);
        assert_eq!(
            lines[3],
            "parameter `out_dir=../up`: the value is a path in the output folder, without `.` and `..`"
        );
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn paths_stay_in_the_output_folder() {
        for path in ["", "/", "/a", "a/../b", ".", "a//b", "c:\\a", "a\\b"] {
            assert!(relative(path).is_err(), "{path}");
        }
        assert_eq!(relative("a/b/"), Ok("a/b"));
    }
}

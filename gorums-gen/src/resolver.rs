//! Finds and reads the `.proto` files that protox asks for.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use prost::Message;
use prost_reflect::ReflectMessage;
use prost_types::FileDescriptorProto;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};

use crate::PROTO;
use crate::editions;
use crate::error::{Error, ErrorKind};

/// The include path, with `gorums.proto` in front of it and the well-known files behind.
pub(crate) fn resolver(includes: &[PathBuf]) -> impl FileResolver + 'static {
    let mut chain = ChainFileResolver::new();
    chain.add(Gorums);
    for include in includes {
        chain.add(Include { folder: include.clone(), resolver: IncludeFileResolver::new(include.clone()) });
    }
    chain.add(GoogleFileResolver::new());
    chain
}

/// The embedded copy of `gorums.proto`. It comes first as the one of Gorums for Go, which may be
/// in the include path, has the same content in an edition.
struct Gorums;

impl FileResolver for Gorums {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "gorums.proto" => File::from_source(name, PROTO),
            "gorums/gorums.proto" => Err(protox::Error::new(Error::new(
                ErrorKind::Proto,
                "the options of gorums are imported by the name \"gorums.proto\"",
            ))),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// A folder of the include path, whose files may be of an edition.
struct Include {
    folder: PathBuf,
    resolver: IncludeFileResolver,
}

impl FileResolver for Include {
    fn resolve_path(&self, path: &Path) -> Option<String> {
        self.resolver.resolve_path(path)
    }

    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match fs::read_to_string(self.folder.join(name)) {
            Ok(source) => match as_proto3(&source) {
                Some(source) => edition_file(name, &source),
                None => self.resolver.open_file(name),
            },
            // The error is better told by whoever opens the file in earnest.
            Err(_) => self.resolver.open_file(name),
        }
    }
}

/// The source of a file of an edition with `syntax = "proto3"` in place of it: protox does not
/// know editions, but their grammar is that of proto3.
fn as_proto3(source: &str) -> Option<String> {
    let start = first_statement(source);
    let (statement, rest) = source.get(start..)?.split_once(';')?;
    let (keyword, value) = statement.split_once('=')?;
    let edition = value.trim().trim_matches(['"', '\'']);
    let known = keyword.trim() == "edition" && matches!(edition, "2023" | "2024");
    known.then(|| {
        // A statement over many lines keeps them, so that messages name the right ones.
        let lines = "\n".repeat(statement.matches('\n').count());
        format!("{}syntax = \"proto3\"{lines};{rest}", &source[..start])
    })
}

/// Where white space and comments end.
fn first_statement(source: &str) -> usize {
    let mut rest = source;
    loop {
        rest = rest.trim_start_matches('\u{feff}').trim_start();
        let comment_end = if rest.starts_with("//") {
            rest.find('\n').map(|end| end + 1)
        } else if rest.starts_with("/*") {
            rest.find("*/").map(|end| end + 2)
        } else {
            None
        };
        match comment_end {
            Some(end) => rest = &rest[end..],
            None => return source.len() - rest.len(),
        }
    }
}

fn edition_file(name: &str, source: &str) -> Result<File, protox::Error> {
    let parsed = FileDescriptorProto::from(File::from_source(name, source)?);
    let mut file = parsed.transcode_to_dynamic();
    file.set_field_by_name("syntax", prost_reflect::Value::String("editions".to_owned()));
    editions::lower(&mut file).map_err(protox::Error::new)?;
    let lowered = FileDescriptorProto::decode(file.encode_to_vec().as_slice())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(File::from_file_descriptor_proto(lowered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edition_is_found_behind_comments() {
        let source = "// edition = \"1\";\n/* a\n */\nedition = \"2023\";\nmessage M {}\n";
        let proto3 = "// edition = \"1\";\n/* a\n */\nsyntax = \"proto3\";\nmessage M {}\n";
        assert_eq!(as_proto3(source).as_deref(), Some(proto3));
    }

    #[test]
    fn lines_stay_where_they_are() {
        let source = as_proto3("edition\n=\n'2024';\nmessage M {}\n");
        assert_eq!(source.as_deref(), Some("syntax = \"proto3\"\n\n;\nmessage M {}\n"));
    }

    #[test]
    fn other_files_are_left_alone() {
        for source in ["", "syntax = \"proto3\";", "edition = \"2099\";", "/* open", "édition=';"] {
            assert_eq!(as_proto3(source), None, "{source}");
        }
    }
}

//! What can go wrong between a `.proto` file and its code.

use std::error::Error as StdError;
use std::fmt;

/// Why no code was generated.
///
/// `Debug` prints the same text as `Display`, as that is what a build script shows that returns
/// the error from `main`.
pub struct Error {
    kind: ErrorKind,
    messages: Vec<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What an [`Error`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The protobuf files, or their descriptors, cannot be read or are not valid.
    Proto,
    /// A service says something that cannot be generated.
    Service,
    /// A setting of the generator, or a parameter of the plugin.
    Setting,
    /// Messages cannot be generated: prost gave up, or the result is not Rust.
    Messages,
    /// The output cannot be written.
    Output,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::all(kind, vec![message.into()])
    }

    pub(crate) fn all(kind: ErrorKind, messages: Vec<String>) -> Self {
        Self { kind, messages, source: None }
    }

    pub(crate) fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// What it is about.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Everything that is wrong, one text for each mistake.
    pub fn messages(&self) -> &[String] {
        &self.messages
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.messages.join("\n"))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

//! Why words are no command, told so that the next try succeeds.

use std::fmt;

/// Why words are no command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParseError {
    message: String,
    hint: Option<String>,
    usage: Option<String>,
}

impl ParseError {
    pub(crate) fn new(message: String) -> Self {
        Self { message, hint: None, usage: None }
    }

    /// There is no such thing among those that are known.
    pub(crate) fn unknown(what: &str, name: &str, known: impl Iterator<Item = &'static str>) -> Self {
        let message = format!("there is no {what} `{}`", name.escape_debug());
        let hint = closest(name, known).map(|known| format!("did you mean `{known}`?"));
        Self { message, hint, usage: None }
    }

    /// Says this if there is nothing better to say.
    pub(crate) fn with_hint(mut self, hint: &str) -> Self {
        self.hint.get_or_insert_with(|| hint.to_owned());
        self
    }

    pub(crate) fn with_usage(mut self, usage: String) -> Self {
        self.usage = Some(usage);
        self
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        match &self.usage {
            Some(usage) => write!(f, "\nusage: {usage}"),
            None => Ok(()),
        }
    }
}

/// The known name that `name` was probably meant to be.
fn closest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let limit = if name.chars().count() <= 3 { 1 } else { 2 };
    // Enough of a very long word to see that it is none of them.
    let name: String = name.chars().take(32).collect();
    let distances = known.map(|known| (strsim::osa_distance(&name, known), known));
    distances.filter(|&(distance, _)| distance <= limit).min().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_close_enough() {
        let known = || ["read", "write", "qc", "rpc"].into_iter();
        for (name, expected) in [
            ("raed", Some("read")),
            ("wirte", Some("write")),
            ("writes", Some("write")),
            ("rpx", Some("rpc")),
            ("q", Some("qc")),
            ("delete", None),
            ("", None),
        ] {
            assert_eq!(closest(name, known()), expected, "{name}");
        }
    }
}

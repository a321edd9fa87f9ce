//! From a line to words: quotes, backslashes, `;`, and choices of nodes.

use std::fmt;

/// A line, cut into commands, cut into words.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// At least one; a command without words is an empty one.
    pub(crate) commands: Vec<Vec<Word>>,
    /// What the line ends in the middle of.
    pub(crate) open: Option<Open>,
}

/// A word, without its quotes and backslashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    /// Where it begins in the line, in bytes.
    pub(crate) start: usize,
}

/// How a line can end too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Open {
    Quote(char),
    Escape,
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quote(quote) => write!(f, "the closing {quote} is missing"),
            Self::Escape => f.write_str("nothing follows the \\ at the end; write \\\\ for a backslash"),
        }
    }
}

impl Line {
    /// Cuts a line at blanks and semicolons, unless they are in single or double quotes or follow a
    /// backslash, which takes the next character as it is, also within quotes.
    pub(crate) fn cut(line: &str) -> Self {
        let mut cutter = Cutter::default();
        for (at, c) in line.char_indices() {
            cutter.take(at, c);
        }
        cutter.end()
    }
}

#[derive(Default)]
struct Cutter {
    commands: Vec<Vec<Word>>,
    command: Vec<Word>,
    word: Option<Word>,
    quote: Option<char>,
    escaped: bool,
}

impl Cutter {
    fn take(&mut self, at: usize, c: char) {
        if self.escaped {
            self.escaped = false;
            self.word(at).push(c);
            return;
        }
        match (self.quote, c) {
            (_, '\\') => {
                self.escaped = true;
                self.word(at);
            }
            (Some(quote), _) if c == quote => self.quote = None,
            (None, '\'' | '"') => {
                self.quote = Some(c);
                self.word(at);
            }
            (None, ';') => self.end_command(),
            (None, _) if c.is_whitespace() => self.end_word(),
            _ => self.word(at).push(c),
        }
    }

    /// The text of the word that goes on, or begins, here.
    fn word(&mut self, at: usize) -> &mut String {
        &mut self.word.get_or_insert_with(|| Word { text: String::new(), start: at }).text
    }

    fn end_word(&mut self) {
        self.command.extend(self.word.take());
    }

    fn end_command(&mut self) {
        self.end_word();
        self.commands.push(std::mem::take(&mut self.command));
    }

    fn end(mut self) -> Line {
        self.end_command();
        let open = if self.escaped { Some(Open::Escape) } else { self.quote.map(Open::Quote) };
        Line { commands: self.commands, open }
    }
}

/// Picks from `count` nodes: `a:b` are those from a up to, but not including, b, either of which may be left
/// out; `a,b,c` are those. Gives their indices in ascending order.
pub(crate) fn choice_of_nodes(text: &str, count: usize) -> Result<Vec<usize>, String> {
    if let Some((start, end)) = text.split_once(':') {
        let bound = |text: &str, default| if text.is_empty() { Ok(default) } else { number(text) };
        let (start, end) = (bound(start, 0)?, bound(end, count)?);
        if end > count {
            return Err(format!("the nodes `{text}` end after the last one, `{start}:{count}`"));
        }
        if start >= end {
            return Err(format!("there are no nodes in `{text}`: write it as first:last+1"));
        }
        return Ok((start..end).collect());
    }
    let mut indices = text.split(',').map(|text| index(text, count)).collect::<Result<Vec<_>, _>>()?;
    indices.sort_unstable();
    match indices.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("node {} is in `{text}` twice", pair[0])),
        None => Ok(indices),
    }
}

/// The index of one of `count` nodes.
pub(crate) fn index(text: &str, count: usize) -> Result<usize, String> {
    match number(text)? {
        index if index < count => Ok(index),
        index => Err(match count {
            1 => format!("there is no node {index}, only node 0"),
            _ => format!("there is no node {index}, only nodes 0 to {}", count.saturating_sub(1)),
        }),
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("`{text}` is not the index of a node"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &str) -> Vec<Vec<String>> {
        let line = Line::cut(line);
        assert_eq!(line.open, None);
        line.commands.into_iter().map(|words| words.into_iter().map(|word| word.text).collect()).collect()
    }

    #[test]
    fn words_and_quotes() {
        for (line, expected) in [
            ("qc read foo", &["qc", "read", "foo"][..]),
            ("  qc\tread   foo ", &["qc", "read", "foo"]),
            ("cfg 0,2 write foo 'bar baz'", &["cfg", "0,2", "write", "foo", "bar baz"]),
            (r#"write k """#, &["write", "k", ""]),
            ("write '' k", &["write", "", "k"]),
            (r#"'it'"'"'s' one"#, &["it's", "one"]),
            (r"it\'s one\ word", &["it's", "one word"]),
            (r#""a \"quote\"" '\'' "'" '"' \\"#, &["a \"quote\"", "'", "'", "\"", "\\"]),
            (r"a\;b ';' c", &["a;b", ";", "c"]),
            ("", &[]),
            (" \t ", &[]),
        ] {
            assert_eq!(words(line), [expected], "{line}");
        }
    }

    #[test]
    fn semicolons_separate_commands() {
        assert_eq!(words("nodes; qc read a;exit"), [&["nodes"][..], &["qc", "read", "a"], &["exit"]]);
        let empty: [&str; 0] = [];
        assert_eq!(words(";a;"), [&empty[..], &["a"], &empty]);
    }

    #[test]
    fn words_know_where_they_begin() {
        let line = Line::cut("é 'b c'; d");
        let starts: Vec<_> = line.commands.iter().flatten().map(|word| word.start).collect();
        assert_eq!(starts, [0, 3, 10]);
    }

    #[test]
    fn lines_that_end_too_early() {
        for (line, open) in [
            ("a 'b", Open::Quote('\'')),
            ("a \"b'", Open::Quote('"')),
            ("a\\", Open::Escape),
            ("'a\\", Open::Escape),
            ("'a\\'", Open::Quote('\'')),
        ] {
            assert_eq!(Line::cut(line).open, Some(open), "{line}");
        }
    }

    #[test]
    fn choices_of_nodes() {
        for (text, expected) in [
            ("1:3", &[1, 2][..]),
            (":2", &[0, 1]),
            ("2:", &[2, 3]),
            (":", &[0, 1, 2, 3]),
            ("0", &[0]),
            ("2,0", &[0, 2]),
        ] {
            assert_eq!(choice_of_nodes(text, 4).as_deref(), Ok(expected), "{text}");
        }
        for text in ["", ",", "4", "0,0", "3:1", "2:2", "0:5", "4:", "-1", "a", "1:b", "1:2:3", "0,", "1 ,2"]
        {
            assert!(choice_of_nodes(text, 4).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(line in ".*", count in 0..9_usize) {
            let cut = Line::cut(&line);
            prop_assert!(!cut.commands.is_empty());
            for word in cut.commands.iter().flatten() {
                prop_assert!(line.is_char_boundary(word.start));
            }
            let _ = choice_of_nodes(&line, count);
        }

        #[test]
        fn what_is_quoted_stays_one_word(texts in proptest::collection::vec(".*", 1..5)) {
            let quote = |text: &String| format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"));
            let line: Vec<_> = texts.iter().map(quote).collect();
            prop_assert_eq!(words(&line.join(" ")), [texts]);
        }

        #[test]
        fn a_choice_is_ascending_and_of_nodes_there_are(text in "[0-9:,]{0,8}", count in 1..9_usize) {
            if let Ok(indices) = choice_of_nodes(&text, count) {
                prop_assert!(!indices.is_empty());
                prop_assert!(indices.is_sorted_by(|a, b| a < b));
                prop_assert!(indices.iter().all(|&index| index < count));
            }
        }
    }
}

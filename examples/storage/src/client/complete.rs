//! What the Tab key offers.

use crate::client::grammar::{COMMANDS, Grammar, Operation, Slot};
use crate::client::parser::{Line, Open, Word};

/// What can stand where the line ends, for a cluster of `count` nodes: where the word that they complete
/// begins, and the words.
pub(crate) fn complete(line: &str, count: usize) -> (usize, Vec<String>) {
    let cut = Line::cut(line);
    let mut words = cut.commands.into_iter().next_back().unwrap_or_default();
    let goes_on = !words.is_empty() && (cut.open.is_some() || !line.ends_with(char::is_whitespace));
    let last = if goes_on { words.pop() } else { None };
    let Word { text, start } = last.unwrap_or(Word { text: String::new(), start: line.len() });
    // What is in quotes is meant to be new.
    if matches!(cut.open, Some(Open::Quote(_) | Open::Escape)) {
        return (start, Vec::new());
    }
    let mut candidates = candidates(&words, count);
    candidates.retain(|candidate| candidate.starts_with(&text));
    (start, candidates)
}

/// What can follow these words.
fn candidates(words: &[Word], count: usize) -> Vec<String> {
    let names = || COMMANDS.iter().map(|command| command.name.to_owned()).collect();
    let Some((command, mut words)) = words.split_first() else { return names() };
    let mut slots = Grammar::find(&command.text).map_or(&[][..], |grammar| grammar.slots);
    loop {
        let Some((&slot, other_slots)) = slots.split_first() else { return Vec::new() };
        let Some((word, other_words)) = words.split_first() else {
            return match slot {
                Slot::Node | Slot::Nodes => (0..count).map(|index| index.to_string()).collect(),
                Slot::Operation(operations) => {
                    operations.iter().map(|operation| operation.name.to_owned()).collect()
                }
                Slot::OnOff => vec!["on".to_owned(), "off".to_owned()],
                Slot::Topic => names(),
                Slot::Key | Slot::Value => Vec::new(),
            };
        };
        slots = match slot {
            Slot::Operation(operations) => behind(operations, &word.text),
            _ => other_slots,
        };
        words = other_words;
    }
}

fn behind(operations: &'static [Operation], name: &str) -> &'static [Slot] {
    operations.iter().find(|operation| operation.name == name).map_or(&[], |operation| operation.slots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn offers_what_can_stand_there() {
        for (line, start, expected) in [
            ("n", 0, &["nodes"][..]),
            ("q", 0, &["qc"]),
            ("qc ", 3, &["read", "write", "cread", "nread", "nwrite"]),
            ("qc n", 3, &["nread", "nwrite"]),
            ("qc read ", 8, &[]),
            ("rpc ", 4, &["0", "1", "2"]),
            ("rpc 1 ", 6, &["read", "write"]),
            ("rpc 1 w", 6, &["write"]),
            ("cfg 0,2 cr", 8, &["cread"]),
            ("log o", 4, &["on", "off"]),
            ("help mc", 5, &["mcast"]),
            ("nodes; qc wr", 10, &["write"]),
            ("nodes;", 6, COMMAND_NAMES),
            ("", 0, COMMAND_NAMES),
            ("nodes ", 6, &[]),
            ("foo ", 4, &[]),
            ("qc write 'r", 9, &[]),
        ] {
            let (found_start, found) = complete(line, 3);
            assert_eq!(
                (found_start, found.iter().map(String::as_str).collect::<Vec<_>>()),
                (start, expected.to_vec())
            );
        }
    }

    const COMMAND_NAMES: &[&str] = &["rpc", "qc", "cfg", "ucast", "mcast", "nodes", "log", "help", "exit"];

    proptest! {
        #[test]
        fn nothing_panics(line in "(qc|rpc|cfg|help|;|'| |0|read|é|.){0,8}", count in 0..5_usize) {
            let (start, _) = complete(&line, count);
            prop_assert!(line.is_char_boundary(start));
        }
    }
}

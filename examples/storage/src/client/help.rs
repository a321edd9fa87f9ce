//! What `help` prints.

use std::fmt::Write;

use crate::client::grammar::{COMMANDS, Grammar, Operation, QUORUM_OPERATIONS, Slot};
use crate::client::render::{NAME, TITLE};

/// About one command, or about all.
pub(crate) fn help(topic: Option<&str>) -> String {
    match topic.and_then(Grammar::find) {
        Some(grammar) => about(grammar),
        None => overview(),
    }
}

fn overview() -> String {
    let mut text = format!("{TITLE}Commands{TITLE:#}\n");
    for command in COMMANDS {
        entry(&mut text, &command.usage(), command.about);
    }
    let _ = write!(text, "\n{TITLE}Operations{TITLE:#} (rpc has only the first two)\n");
    operations(&mut text, QUORUM_OPERATIONS);
    text.push_str(NOTES);
    text
}

fn about(grammar: &Grammar) -> String {
    let mut text = String::new();
    entry(&mut text, &grammar.usage(), grammar.about);
    if let Some(alias) = grammar.alias {
        let _ = writeln!(text, "  Also: {NAME}{alias}{NAME:#}");
    }
    for slot in grammar.slots {
        if let Slot::Operation(list) = slot {
            let _ = write!(text, "\n{TITLE}Operations{TITLE:#}\n");
            operations(&mut text, list);
        }
    }
    text.truncate(text.trim_end().len());
    text
}

fn operations(text: &mut String, operations: &[Operation]) {
    for operation in operations {
        entry(text, &operation.usage(), operation.about);
    }
}

fn entry(text: &mut String, usage: &str, about: &str) {
    let _ = writeln!(text, "  {NAME}{usage:<26}{NAME:#}  {about}");
}

const NOTES: &str = "
Nodes are given by their index, from 0. Words with blanks go in quotes, 'single' or \"double\";
a backslash takes the next character as it is; `;` separates commands.

Examples
  rpc 0 write foo bar             sets foo on node 0, and nowhere else
  qc read foo                     finds it, if node 0 is in the majority that answers first
  cfg 1:3 write foo 'bar baz'     writes to nodes 1 and 2
  cfg 0,2 write foo bar           writes to nodes 0 and 2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_command_and_operation() {
        let all = help(None);
        for command in COMMANDS {
            assert!(all.contains(&command.usage()));
            assert!(help(Some(command.name)).contains(command.about));
        }
        for operation in QUORUM_OPERATIONS {
            assert!(all.contains(operation.about));
        }
    }
}

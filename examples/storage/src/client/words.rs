//! Takes the words of a command one by one, and tells what is missing, wrong, or too much.

use crate::client::commands::{Nodes, QuorumOperation, RpcOperation, Write, unknown_command};
use crate::client::grammar::{Grammar, Operation, Slot};
use crate::client::parse_error::ParseError;
use crate::client::parser::{choice_of_nodes, index};

/// The words that are left of a command.
pub(crate) struct Words<'a> {
    grammar: &'static Grammar,
    operation: Option<&'static Operation>,
    rest: std::slice::Iter<'a, String>,
    count: usize,
}

impl<'a> Words<'a> {
    /// What follows the name of a command, for a cluster of `count` nodes.
    pub(crate) fn new(grammar: &'static Grammar, rest: &'a [String], count: usize) -> Self {
        Self { grammar, operation: None, rest: rest.iter(), count }
    }

    pub(crate) fn node(&mut self) -> Result<usize, ParseError> {
        let text = self.next(Slot::Node)?;
        index(text, self.count).map_err(|message| self.error(message))
    }

    pub(crate) fn nodes(&mut self) -> Result<Nodes, ParseError> {
        let text = self.next(Slot::Nodes)?;
        choice_of_nodes(text, self.count).map(Nodes::Some).map_err(|message| self.error(message))
    }

    pub(crate) fn rpc_operation(&mut self) -> Result<RpcOperation, ParseError> {
        Ok(match self.operation()? {
            "write" => RpcOperation::Write(self.write()?),
            _ => RpcOperation::Read(self.key()?),
        })
    }

    pub(crate) fn quorum_operation(&mut self) -> Result<QuorumOperation, ParseError> {
        Ok(match self.operation()? {
            "write" => QuorumOperation::Write(self.write()?),
            "cread" => QuorumOperation::CorrectableRead(self.key()?),
            "nread" => QuorumOperation::NestedRead(self.key()?),
            "nwrite" => QuorumOperation::NestedWrite(self.write()?),
            _ => QuorumOperation::Read(self.key()?),
        })
    }

    /// The name of one of the operations of this command.
    fn operation(&mut self) -> Result<&'static str, ParseError> {
        let operations = self.grammar.slots.iter().find_map(|slot| match slot {
            Slot::Operation(operations) => Some(*operations),
            _ => None,
        });
        let operations = operations.unwrap_or_default();
        let text = self.next(Slot::Operation(operations))?;
        let Some(found) = operations.iter().find(|operation| operation.name == text) else {
            let names = operations.iter().map(|operation| operation.name);
            let error = ParseError::unknown("operation", text, names);
            return Err(error.with_hint(&format!("there are {}", list(operations))).with_usage(self.usage()));
        };
        self.operation = Some(found);
        Ok(found.name)
    }

    pub(crate) fn write(&mut self) -> Result<Write, ParseError> {
        let key = self.key()?;
        let value = self.next(Slot::Value)?.clone();
        Ok(Write { key, value })
    }

    fn key(&mut self) -> Result<String, ParseError> {
        self.next(Slot::Key).cloned()
    }

    pub(crate) fn on_or_off(&mut self) -> Result<bool, ParseError> {
        match self.next(Slot::OnOff)?.as_str() {
            "on" => Ok(true),
            "off" => Ok(false),
            other => Err(self.error(format!("`{other}` is neither `on` nor `off`"))),
        }
    }

    pub(crate) fn topic(&mut self) -> Result<Option<&'static str>, ParseError> {
        let Some(name) = self.rest.next() else { return Ok(None) };
        match Grammar::find(name) {
            Some(grammar) => Ok(Some(grammar.name)),
            None => Err(unknown_command(name)),
        }
    }

    fn next(&mut self, slot: Slot) -> Result<&'a String, ParseError> {
        self.rest.next().ok_or_else(|| {
            let missing = match slot {
                Slot::Operation(operations) => format!("an operation, one of {}", list(operations)),
                Slot::Node => "the index of a node".to_owned(),
                Slot::Nodes => "a choice of nodes, as `1:3` or `0,2`".to_owned(),
                Slot::Key => "a key".to_owned(),
                Slot::Value => "a value".to_owned(),
                Slot::OnOff => "`on` or `off`".to_owned(),
                Slot::Topic => "a command".to_owned(),
            };
            self.error(format!("`{}` needs {missing}", self.so_far()))
        })
    }

    /// Nothing may be left over.
    pub(crate) fn end(mut self) -> Result<(), ParseError> {
        match self.rest.next() {
            None => Ok(()),
            Some(word) => {
                let word = word.escape_debug();
                Err(self.error(format!(
                    "`{word}` is one word too many; put quotes around words that belong together"
                )))
            }
        }
    }

    fn so_far(&self) -> &'static str {
        self.operation.map_or(self.grammar.name, |operation| operation.name)
    }

    fn error(&self, message: String) -> ParseError {
        ParseError::new(message).with_usage(self.usage())
    }

    fn usage(&self) -> String {
        match self.operation {
            None => self.grammar.usage(),
            Some(operation) => self.grammar.usage().replace("<operation>", &operation.usage()),
        }
    }
}

fn list(operations: &[Operation]) -> String {
    operations.iter().map(|operation| operation.name).collect::<Vec<_>>().join(", ")
}

//! From words to a command that can be carried out: what parses is good.

use crate::client::grammar::{COMMANDS, Grammar, QUORUM_OPERATIONS};
use crate::client::parse_error::ParseError;
use crate::client::words::Words;

/// What a user asks for. Nodes are given by index, and exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Rpc {
        node: usize,
        operation: RpcOperation,
    },
    QuorumCall {
        nodes: Nodes,
        operation: QuorumOperation,
    },
    Unicast {
        node: usize,
        write: Write,
    },
    Multicast(Write),
    Nodes,
    Log {
        on: bool,
    },
    /// About one command, by its name, or about all.
    Help(Option<&'static str>),
    Exit,
}

/// The nodes of a quorum call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Nodes {
    All,
    /// Those with these indices: at least one, ascending.
    Some(Vec<usize>),
}

/// A call to one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RpcOperation {
    Read(String),
    Write(Write),
}

/// A call to many nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QuorumOperation {
    Read(String),
    Write(Write),
    CorrectableRead(String),
    NestedRead(String),
    NestedWrite(Write),
}

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl Command {
    /// Makes sense of the words of one command, for a cluster of `count` nodes. `None` without words.
    pub(crate) fn parse(words: &[String], count: usize) -> Result<Option<Self>, ParseError> {
        let Some((name, rest)) = words.split_first() else { return Ok(None) };
        let Some(grammar) = Grammar::find(name) else {
            return Err(unknown_command(name));
        };
        let mut words = Words::new(grammar, rest, count);
        let command = match grammar.name {
            "rpc" => Self::Rpc { node: words.node()?, operation: words.rpc_operation()? },
            "qc" => Self::QuorumCall { nodes: Nodes::All, operation: words.quorum_operation()? },
            "cfg" => Self::QuorumCall { nodes: words.nodes()?, operation: words.quorum_operation()? },
            "ucast" => Self::Unicast { node: words.node()?, write: words.write()? },
            "mcast" => Self::Multicast(words.write()?),
            "nodes" => Self::Nodes,
            "log" => Self::Log { on: words.on_or_off()? },
            "help" => Self::Help(words.topic()?),
            _ => Self::Exit,
        };
        words.end()?;
        Ok(Some(command))
    }
}

/// There is no command of this name.
pub(crate) fn unknown_command(name: &str) -> ParseError {
    if let Some(operation) = QUORUM_OPERATIONS.iter().find(|operation| operation.name == name) {
        let usage = operation.usage();
        return ParseError::new(format!("`{name}` is an operation: say on which nodes, as in `qc {usage}`"));
    }
    let names = COMMANDS.iter().flat_map(|command| [Some(command.name), command.alias]);
    ParseError::unknown("command", name, names.flatten()).with_hint("`help` lists all commands")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::parser::Line;
    use proptest::prelude::*;

    fn parse(line: &str) -> Result<Option<Command>, String> {
        let words: Vec<_> = Line::cut(line).commands[0].iter().map(|word| word.text.clone()).collect();
        Command::parse(&words, 4).map_err(|error| error.to_string())
    }

    fn write(key: &str, value: &str) -> Write {
        Write { key: key.into(), value: value.into() }
    }

    #[test]
    fn every_command() {
        use QuorumOperation as Op;
        let qc = |nodes, operation| Command::QuorumCall { nodes, operation };
        for (line, expected) in [
            ("rpc 0 read foo", Command::Rpc { node: 0, operation: RpcOperation::Read("foo".into()) }),
            ("rpc 3 write k v", Command::Rpc { node: 3, operation: RpcOperation::Write(write("k", "v")) }),
            ("ucast 1 k v", Command::Unicast { node: 1, write: write("k", "v") }),
            ("unicast 1 k v", Command::Unicast { node: 1, write: write("k", "v") }),
            ("mcast k 'v w'", Command::Multicast(write("k", "v w"))),
            ("multicast k ''", Command::Multicast(write("k", ""))),
            ("qc read foo", qc(Nodes::All, Op::Read("foo".into()))),
            ("quorumcall cread foo", qc(Nodes::All, Op::CorrectableRead("foo".into()))),
            ("qc nread foo", qc(Nodes::All, Op::NestedRead("foo".into()))),
            ("qc nwrite k v", qc(Nodes::All, Op::NestedWrite(write("k", "v")))),
            ("cfg 1:3 write k v", qc(Nodes::Some(vec![1, 2]), Op::Write(write("k", "v")))),
            ("cfg 2,0 read k", qc(Nodes::Some(vec![0, 2]), Op::Read("k".into()))),
            ("nodes", Command::Nodes),
            ("log on", Command::Log { on: true }),
            ("help", Command::Help(None)),
            ("help quorumcall", Command::Help(Some("qc"))),
            ("quit", Command::Exit),
            ("exit", Command::Exit),
        ] {
            assert_eq!(parse(line), Ok(Some(expected)), "{line}");
        }
        assert_eq!(parse(""), Ok(None));
    }

    #[test]
    fn mistakes_are_told_with_the_usage() {
        for (line, expected) in [
            ("foo", "there is no command `foo`; `help` lists all commands"),
            ("node", "there is no command `node`; did you mean `nodes`?"),
            ("write k v", "`write` is an operation: say on which nodes, as in `qc write <key> <value>`"),
            (
                "qc",
                "`qc` needs an operation, one of read, write, cread, nread, nwrite\nusage: qc <operation>",
            ),
            ("qc raed k", "there is no operation `raed`; did you mean `read`?\nusage: qc <operation>"),
            (
                "rpc 0 delete k",
                "there is no operation `delete`; there are read, write\nusage: rpc <node> <operation>",
            ),
            (
                "rpc 0 cread k",
                "there is no operation `cread`; did you mean `read`?\nusage: rpc <node> <operation>",
            ),
            ("qc read", "`read` needs a key\nusage: qc read <key>"),
            ("rpc 1 write k", "`write` needs a value\nusage: rpc <node> write <key> <value>"),
            ("rpc 4 read k", "there is no node 4, only nodes 0 to 3\nusage: rpc <node> <operation>"),
            ("ucast a k v", "`a` is not the index of a node\nusage: ucast <node> <key> <value>"),
            ("cfg", "`cfg` needs a choice of nodes, as `1:3` or `0,2`\nusage: cfg <nodes> <operation>"),
            (
                "cfg 3:1 read k",
                "there are no nodes in `3:1`: write it as first:last+1\nusage: cfg <nodes> <operation>",
            ),
            ("log maybe", "`maybe` is neither `on` nor `off`\nusage: log on|off"),
            (
                "qc write k two words",
                "`words` is one word too many; put quotes around words that belong together\n\
                 usage: qc write <key> <value>",
            ),
        ] {
            assert_eq!(parse(line), Err(expected.into()), "{line}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(words in proptest::collection::vec("[a-z0-9:,]{0,6}|.*", 0..6), count in 0..9_usize) {
            let _ = Command::parse(&words, count);
        }

        #[test]
        fn nor_behind_a_command_there_is(
            command in 0..COMMANDS.len(),
            rest in proptest::collection::vec("read|write|[0-3]|[0-3]:[0-4]|k", 0..6),
        ) {
            let words: Vec<_> = std::iter::once(COMMANDS[command].name.to_owned()).chain(rest).collect();
            let _ = Command::parse(&words, 4);
        }
    }
}

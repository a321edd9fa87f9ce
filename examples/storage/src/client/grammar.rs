//! The commands there are, and what goes with each: the one table that parsing, completion and help share.

/// A command, as a user types it.
#[derive(Debug)]
pub(crate) struct Grammar {
    pub(crate) name: &'static str,
    pub(crate) alias: Option<&'static str>,
    pub(crate) slots: &'static [Slot],
    pub(crate) about: &'static str,
}

/// What stands at one place of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Slot {
    /// The index of a node.
    Node,
    /// A choice of nodes.
    Nodes,
    Key,
    Value,
    /// One of these, each of which has its own slots behind it.
    Operation(&'static [Operation]),
    OnOff,
    /// The name of a command, which may be missing.
    Topic,
}

/// What a call does.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) slots: &'static [Slot],
    pub(crate) about: &'static str,
}

impl Grammar {
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        COMMANDS.iter().find(|command| command.name == name || command.alias == Some(name))
    }

    /// As `rpc <node> <operation>`.
    pub(crate) fn usage(&self) -> String {
        usage(self.name, self.slots)
    }
}

impl Operation {
    /// As `write <key> <value>`.
    pub(crate) fn usage(&self) -> String {
        usage(self.name, self.slots)
    }
}

impl Slot {
    /// As a placeholder in a usage line.
    pub(crate) fn placeholder(self) -> &'static str {
        match self {
            Self::Node => "<node>",
            Self::Nodes => "<nodes>",
            Self::Key => "<key>",
            Self::Value => "<value>",
            Self::Operation(_) => "<operation>",
            Self::OnOff => "on|off",
            Self::Topic => "[command]",
        }
    }
}

fn usage(name: &str, slots: &[Slot]) -> String {
    slots.iter().fold(name.to_owned(), |usage, slot| usage + " " + slot.placeholder())
}

/// What can be done on one node.
const RPC_OPERATIONS: &[Operation] = &[
    Operation { name: "read", slots: &[Slot::Key], about: "what the node has for the key" },
    Operation {
        name: "write",
        slots: &[Slot::Key, Slot::Value],
        about: "writes the value, with the time of now",
    },
];

/// What can be done on many nodes.
pub(crate) const QUORUM_OPERATIONS: &[Operation] = &[
    Operation { name: "read", slots: &[Slot::Key], about: "the newest value that a majority knows of" },
    Operation { name: "write", slots: &[Slot::Key, Slot::Value], about: "writes the value to a majority" },
    Operation {
        name: "cread",
        slots: &[Slot::Key],
        about: "correctable read: prints the newest value so far with each reply, up to a majority",
    },
    Operation {
        name: "nread",
        slots: &[Slot::Key],
        about: "nested read: each node reads from a majority of the nodes that it knows",
    },
    Operation {
        name: "nwrite",
        slots: &[Slot::Key, Slot::Value],
        about: "nested write: each node multicasts the value to the nodes that it knows",
    },
];

pub(crate) const COMMANDS: &[Grammar] = &[
    Grammar {
        name: "rpc",
        alias: None,
        slots: &[Slot::Node, Slot::Operation(RPC_OPERATIONS)],
        about: "Calls one node.",
    },
    Grammar {
        name: "qc",
        alias: Some("quorumcall"),
        slots: &[Slot::Operation(QUORUM_OPERATIONS)],
        about: "Calls all nodes, and goes on when a majority has answered.",
    },
    Grammar {
        name: "cfg",
        alias: None,
        slots: &[Slot::Nodes, Slot::Operation(QUORUM_OPERATIONS)],
        about: "The same on some of the nodes: `1:3` are nodes 1 and 2, `0,2` are nodes 0 and 2.",
    },
    Grammar {
        name: "ucast",
        alias: Some("unicast"),
        slots: &[Slot::Node, Slot::Key, Slot::Value],
        about: "Writes to one node, which does not answer.",
    },
    Grammar {
        name: "mcast",
        alias: Some("multicast"),
        slots: &[Slot::Key, Slot::Value],
        about: "Writes to all nodes, none of which answers.",
    },
    Grammar { name: "nodes", alias: None, slots: &[], about: "Lists the nodes, and how they are." },
    Grammar {
        name: "log",
        alias: None,
        slots: &[Slot::OnOff],
        about: "Shows what the servers in this process are asked to do, by id; or stops it.",
    },
    Grammar {
        name: "help",
        alias: None,
        slots: &[Slot::Topic],
        about: "Shows this, or more about one command.",
    },
    Grammar { name: "exit", alias: Some("quit"), slots: &[], about: "Leaves; so does Ctrl-D." },
];

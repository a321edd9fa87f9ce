//! The sections of the page.

use crate::args::Axis;
use crate::plot::Figure;

/// One section: some commands, and what is drawn of what they measure.
pub(super) struct Section {
    pub(super) name: &'static str,
    commands: &'static [&'static str],
    pub(super) drawings: &'static [Drawing],
}

/// One plot.
#[derive(Clone, Copy)]
pub(super) enum Drawing {
    Sweep(Figure, Axis),
    Comparison,
    Distribution(&'static str),
}

impl Drawing {
    /// The name of its file.
    pub(super) fn file(self, section: &Section) -> String {
        match self {
            Self::Sweep(figure, _) => format!("{}-{}", section.name, figure.name()),
            Self::Comparison => section.name.to_owned(),
            Self::Distribution(_) => format!("{}-distribution", section.name),
        }
    }

    /// What it shows, in words.
    pub(super) fn title(self) -> String {
        match self {
            Self::Sweep(figure, axis) => format!("{}, over {}", figure.title(), axis.title()),
            Self::Comparison => "Calls a second".to_owned(),
            Self::Distribution(title) => title.to_owned(),
        }
    }
}

/// What is added to the commands of a quick report.
const QUICK: &str = "--duration 150ms --warm-up 50ms --rounds 1";

pub(super) const SECTIONS: &[Section] = &[
    Section {
        name: "calls",
        commands: &[
            "run --contenders all --in-flight 1",
            "run --contenders all --in-flight 64",
            "run --contenders all --in-flight 256",
            "run --contenders all --in-flight 64 --payload 1k",
            "run --contenders all --in-flight 64 --payload 16k",
            "run --contenders all --in-flight 64 --nodes 9",
        ],
        drawings: &[Drawing::Comparison],
    },
    Section {
        name: "latency",
        commands: &["run --contenders all --rate 5000"],
        drawings: &[Drawing::Distribution("Latency at 5,000 calls a second")],
    },
    Section {
        name: "saturation",
        commands: &["run --contenders all --in-flight 64"],
        drawings: &[Drawing::Distribution("Latency with 64 calls in flight all the time")],
    },
    Section {
        name: "in-flight",
        commands: &["sweep --axis in-flight --contenders all"],
        drawings: &[
            Drawing::Sweep(Figure::Rate, Axis::InFlight),
            Drawing::Sweep(Figure::Median, Axis::InFlight),
        ],
    },
    Section {
        name: "nodes",
        commands: &["sweep --axis nodes --contenders all"],
        drawings: &[Drawing::Sweep(Figure::Cpu, Axis::Nodes)],
    },
    Section {
        name: "payload",
        commands: &["sweep --axis payload --contenders all"],
        drawings: &[Drawing::Sweep(Figure::Rate, Axis::Payload), Drawing::Sweep(Figure::Cpu, Axis::Payload)],
    },
    Section {
        name: "connections",
        commands: &["sweep --axis clients --contenders all"],
        drawings: &[Drawing::Sweep(Figure::Cpu, Axis::Clients)],
    },
    Section {
        name: "workers",
        commands: &["sweep --axis workers --contenders gorums,raw-tcp"],
        drawings: &[],
    },
    Section {
        name: "call-types",
        commands: &["run --calls .* --contenders gorums"],
        drawings: &[Drawing::Comparison],
    },
    Section {
        name: "one-way",
        commands: &[
            "run --calls multicast-queued --contenders gorums,raw-tcp",
            "run --calls multicast-queued --contenders gorums,raw-tcp --payload 1k",
        ],
        drawings: &[],
    },
    Section {
        name: "local",
        commands: &[
            "run --local-node",
            "run",
            "run --local-node --payload 1k",
            "run --payload 1k",
            "run --local-node --payload 16k",
            "run --payload 16k",
        ],
        drawings: &[],
    },
    Section { name: "black-hole", commands: &["black-hole --contenders all"], drawings: &[] },
    Section { name: "idle", commands: &["idle --contenders all"], drawings: &[] },
    Section { name: "connect", commands: &["connect --contenders all"], drawings: &[] },
];

impl Section {
    /// The commands of this program.
    pub(super) fn commands(&self, is_quick: bool) -> Vec<String> {
        let options = |command: &str| match command.split(' ').next() {
            _ if is_quick => QUICK,
            // It takes a while until queues are full.
            Some("black-hole") => "--duration 10s --rounds 1",
            Some("idle") => "--rounds 3",
            // There are many values.
            Some("sweep") => "--duration 1s --rounds 3",
            _ => "--duration 2s --rounds 3",
        };
        self.commands.iter().map(|command| format!("{command} {}", options(command))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_command_is_understood_and_every_plot_has_a_file_of_its_own() {
        let mut files = HashSet::new();
        for section in SECTIONS {
            for command in [true, false].into_iter().flat_map(|is_quick| section.commands(is_quick)) {
                let measuring = super::super::parse(&command).unwrap();
                assert!(measuring.plan.measurements() > 0, "{command}");
            }
            assert!(
                section.drawings.iter().all(|drawing| files.insert(drawing.file(section))),
                "{}",
                section.name
            );
        }
    }
}

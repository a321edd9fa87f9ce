//! What clients did and saw, and whether a register could have answered so.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

/// What a client asks of a key. Every value is written once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    Put(u32),
    Get,
    Delete,
    /// Another value in place of the expected one.
    Swap(Option<u32>, u32),
}

/// What it is answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ret {
    Done,
    Value(Option<u32>),
    /// The key had no value to delete.
    Missing,
    /// A swap found this.
    Found(Option<u32>),
}

/// One key.
#[derive(Clone, Debug, Default)]
struct Register(Option<u32>);

impl SequentialSpec for Register {
    type Op = Op;
    type Ret = Ret;

    fn invoke(&mut self, op: &Op) -> Ret {
        match *op {
            Op::Get => Ret::Value(self.0),
            Op::Put(value) => {
                self.0 = Some(value);
                Ret::Done
            }
            Op::Delete if self.0.is_none() => Ret::Missing,
            Op::Delete => {
                self.0 = None;
                Ret::Done
            }
            Op::Swap(expected, value) if self.0 == expected => {
                self.0 = Some(value);
                Ret::Done
            }
            Op::Swap(..) => Ret::Found(self.0),
        }
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Returned(Ret),
    /// It never took effect: as if it had not been asked for.
    Failed,
    /// It may take effect at any time after it began.
    Unknown,
}

#[derive(Clone, Debug)]
struct Operation {
    key: u32,
    client: u32,
    op: Op,
    begun: (usize, Duration),
    ended: Option<(usize, Duration, End)>,
}

/// All operations, in the order in which they began and ended.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Mutex<Entries>>);

#[derive(Clone, Debug, Default)]
struct Entries {
    operations: Vec<Operation>,
    events: usize,
}

impl History {
    /// Notes that an operation begins, and gives its number.
    pub fn begin(&self, client: u32, key: u32, op: Op, at: Duration) -> usize {
        let mut entries = self.0.lock().unwrap();
        entries.events += 1;
        let begun = (entries.events, at);
        entries.operations.push(Operation { key, client, op, begun, ended: None });
        entries.operations.len() - 1
    }

    fn end(&self, number: usize, at: Duration, end: End) {
        let mut entries = self.0.lock().unwrap();
        entries.events += 1;
        let event = entries.events;
        entries.operations[number].ended = Some((event, at, end));
    }

    pub fn returned(&self, number: usize, at: Duration, ret: Ret) {
        self.end(number, at, End::Returned(ret));
    }

    pub fn failed(&self, number: usize, at: Duration) {
        self.end(number, at, End::Failed);
    }

    pub fn unknown(&self) -> usize {
        let entries = self.0.lock().unwrap();
        let unknown = |operation: &&Operation| matches!(operation.ended, None | Some((.., End::Unknown)));
        entries.operations.iter().filter(unknown).count()
    }

    pub fn lost(&self, number: usize, at: Duration) {
        self.end(number, at, End::Unknown);
    }

    pub fn operations(&self) -> usize {
        self.0.lock().unwrap().operations.len()
    }

    /// Whether each key was answered for as a register would, or else a key that was not.
    pub fn check(&self) -> Result<(), u32> {
        let mut keys: BTreeMap<u32, Vec<Operation>> = BTreeMap::new();
        for operation in &self.0.lock().unwrap().operations {
            keys.entry(operation.key).or_default().push(operation.clone());
        }
        keys.into_iter()
            .try_for_each(|(key, operations)| if is_linearizable(&operations) { Ok(()) } else { Err(key) })
    }

    /// What happened to a key, for people.
    pub fn of(&self, key: u32) -> String {
        let mut text = String::new();
        for operation in self.0.lock().unwrap().operations.iter().filter(|operation| operation.key == key) {
            let Operation { client, op, begun, ended, .. } = operation;
            let ended = ended.map(|(_, at, end)| format!("{at:?} {end:?}"));
            writeln!(text, "client {client}: {:?} {op:?} .. {}", begun.1, ended.unwrap_or_default()).unwrap();
        }
        text
    }
}

/// Asks stateright's tester. An operation whose outcome is unknown is one of a thread of its own that never returns; one that
/// has failed, or only read and nobody knows what, is left out.
fn is_linearizable(operations: &[Operation]) -> bool {
    enum Step {
        Invoke(Op),
        Return(Ret),
    }
    let mut steps = BTreeMap::new();
    for (number, Operation { client, op, begun, ended, .. }) in operations.iter().enumerate() {
        match ended {
            Some((event, _, End::Returned(ret))) => {
                steps.insert(begun.0, (*client, Step::Invoke(*op)));
                steps.insert(*event, (*client, Step::Return(*ret)));
            }
            Some((.., End::Failed)) => {}
            None | Some((.., End::Unknown)) if *op == Op::Get => {}
            None | Some((.., End::Unknown)) => {
                steps.insert(begun.0, (1_000 + number as u32, Step::Invoke(*op)));
            }
        }
    }
    let mut tester = LinearizabilityTester::new(Register::default());
    for (thread, step) in steps.into_values() {
        match step {
            Step::Invoke(op) => drop(tester.on_invoke(thread, op).unwrap()),
            Step::Return(ret) => drop(tester.on_return(thread, ret).unwrap()),
        }
    }
    tester.is_consistent()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::ZERO;

    #[test]
    fn a_stale_read_is_seen() {
        let history = History::default();
        for (op, ret) in [(Op::Put(1), Ret::Done), (Op::Put(2), Ret::Done), (Op::Get, Ret::Value(Some(1)))] {
            let number = history.begin(1, 7, op, AT);
            history.returned(number, AT, ret);
        }
        assert_eq!(history.check(), Err(7));
    }

    #[test]
    fn what_is_unknown_may_happen_late_or_never() {
        for seen in [None, Some(2)] {
            let history = History::default();
            let first = history.begin(1, 7, Op::Put(1), AT);
            history.returned(first, AT, Ret::Done);
            let lost = history.begin(2, 7, Op::Put(2), AT);
            history.lost(lost, AT);
            for value in [Some(1), seen.or(Some(1))] {
                let get = history.begin(1, 7, Op::Get, AT);
                history.returned(get, AT, Ret::Value(value));
            }
            assert_eq!(history.check(), Ok(()), "{seen:?}");
            let back = history.begin(1, 7, Op::Get, AT);
            history.returned(back, AT, Ret::Value(Some(3)));
            assert_eq!(history.check(), Err(7), "nobody wrote it");
        }
    }

    #[test]
    fn what_failed_must_not_be_seen() {
        let history = History::default();
        let failed = history.begin(1, 7, Op::Put(1), AT);
        history.failed(failed, AT);
        let get = history.begin(1, 7, Op::Get, AT);
        history.returned(get, AT, Ret::Value(Some(1)));
        assert_eq!(history.check(), Err(7));
    }
}

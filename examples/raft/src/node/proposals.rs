//! Writes on their way into the log: those that have queued up are proposed together.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::errors::{ClientWriteError, RaftError};
use prost::Message;
use tokio::sync::{Notify, Semaphore, oneshot};

use crate::error::Error;
use crate::proto::{Batch, Command, Operation, Outcome, Written, command, outcome};
use crate::types::{Applied, Raft, Types};

/// Operations in one entry, at most.
const BATCH: usize = 256;
/// Their bytes, at most, unless a single one has more.
const BATCH_BYTES: usize = 512 << 10;
/// Entries that are proposed and not yet applied. With these, the leader is busy; more operations in each are better then.
const IN_FLIGHT: usize = 8;

/// Writes that wait to be proposed. Those that nobody waits for any more are left out. What is proposed is proposed: that
/// one of its callers goes changes nothing for the entry or the other callers.
#[derive(Debug)]
pub(crate) struct Proposals {
    queue: Mutex<VecDeque<Queued>>,
    wake: Notify,
    slots: Arc<Semaphore>,
}

#[derive(Debug)]
struct Queued {
    operation: Operation,
    reply: oneshot::Sender<Result<Written, Error>>,
}

impl Default for Proposals {
    fn default() -> Self {
        Self { queue: Mutex::default(), wake: Notify::new(), slots: Arc::new(Semaphore::new(IN_FLIGHT)) }
    }
}

impl Proposals {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Queued>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an operation at once, and gives the way to its result.
    pub(crate) fn enqueue(&self, operation: Operation) -> oneshot::Receiver<Result<Written, Error>> {
        let (reply, result) = oneshot::channel();
        self.queue().push_back(Queued { operation, reply });
        self.wake.notify_one();
        result
    }

    /// Tells all whose writes are not proposed yet that the node stops.
    pub(crate) fn close(&self) {
        for queued in self.queue().drain(..) {
            // The caller may have gone.
            let _ = queued.reply.send(Err(Error::Stopped("the node has stopped".into())));
        }
    }

    /// How many wait to be proposed.
    pub(crate) fn len(&self) -> usize {
        self.queue().len()
    }

    /// The operations for the next entry.
    fn take(&self) -> (Vec<Operation>, Vec<oneshot::Sender<Result<Written, Error>>>) {
        let (mut operations, mut replies, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut queue = self.queue();
        while let Some(queued) = queue.pop_front() {
            if queued.reply.is_closed() {
                continue;
            }
            bytes += queued.operation.encoded_len();
            if operations.len() == BATCH || (bytes > BATCH_BYTES && !operations.is_empty()) {
                queue.push_front(queued);
                break;
            }
            operations.push(queued.operation);
            replies.push(queued.reply);
        }
        (operations, replies)
    }

    /// Proposes what is queued, until it is dropped.
    pub(crate) async fn run(&self, raft: Raft) {
        loop {
            self.wake.notified().await;
            loop {
                // What comes while there is no slot goes into the same entry.
                let Ok(slot) = self.slots.clone().acquire_owned().await else { return };
                let (operations, replies) = self.take();
                if operations.is_empty() {
                    break;
                }
                let raft = raft.clone();
                tokio::spawn(async move {
                    let results = propose(&raft, operations, replies.len()).await;
                    for (reply, result) in replies.into_iter().zip(results) {
                        // The caller may have gone.
                        let _ = reply.send(result);
                    }
                    drop(slot);
                });
            }
        }
    }
}

/// Proposes operations in one entry, and gives the result of each.
async fn propose(raft: &Raft, operations: Vec<Operation>, count: usize) -> Vec<Result<Written, Error>> {
    let command = Command { kind: Some(command::Kind::Batch(Batch { operations })) };
    match write(raft, command).await {
        Ok(Applied::Batch(outcomes)) => outcomes.into_iter().map(written).collect(),
        Ok(_) => vec![Err(Error::OutcomeUnknown); count],
        Err(error) => vec![Err(error); count],
    }
}

fn written(outcome: Outcome) -> Result<Written, Error> {
    match outcome.result {
        Some(outcome::Result::Written(written)) => Ok(written),
        Some(outcome::Result::SessionLost(_)) => Err(Error::SessionExpired),
        None => Err(Error::OutcomeUnknown),
    }
}

/// Proposes a command and waits until it is applied.
pub(crate) async fn write(raft: &Raft, command: Command) -> Result<Applied, Error> {
    match raft.client_write(command).await {
        Ok(response) => Ok(response.data),
        Err(error) => Err(write_error(error)),
    }
}

pub(crate) fn write_error(error: RaftError<Types, ClientWriteError<Types>>) -> Error {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => Error::NotLeader { leader: None },
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => Error::OutcomeUnknown,
        RaftError::APIError(error) => Error::Invalid(error.to_string()),
        RaftError::Fatal(fatal) => Error::Stopped(fatal.to_string()),
    }
}

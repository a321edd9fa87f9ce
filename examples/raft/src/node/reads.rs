//! Linearizable reads without a log entry: `ReadIndex`, after Ongaro's dissertation, section 6.4.
//!
//! A round asks a quorum once whether the leader still leads, for all reads that were waiting when it began. Reads that come
//! later wait for the next round: an answer that was given before a read began says nothing about it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openraft::errors::{LinearizableReadError, RaftError};
use openraft::raft::linearizable_read::Linearizer;
use openraft::{LinearizerOption, ReadPolicy};
use tokio::sync::{Notify, oneshot};

use crate::error::Error;
use crate::types::{Raft, Types};

/// Reads that wait for the next round.
#[derive(Debug, Default)]
pub(crate) struct ReadRounds {
    waiting: Mutex<Vec<Waiting>>,
    wake: Notify,
}

/// Gets the index up to which the read has to see.
type Waiting = oneshot::Sender<Result<u64, Error>>;

impl ReadRounds {
    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index up to which a read that begins now has to see. Without a quorum, there is none until the caller gives up.
    ///
    /// # Cancel safety
    ///
    /// May be dropped: the others in the round are left alone.
    pub(crate) async fn read_index(&self) -> Result<u64, Error> {
        let (sender, index) = oneshot::channel();
        self.waiting().push(sender);
        self.wake.notify_one();
        index.await.unwrap_or_else(|_| Err(Error::Stopped("the node has stopped".into())))
    }

    /// How many wait for the next round to begin.
    pub(crate) fn len(&self) -> usize {
        self.waiting().len()
    }

    /// Tells all who wait that the node stops.
    pub(crate) fn close(&self) {
        self.waiting().clear();
    }

    /// Holds rounds as long as somebody waits.
    pub(crate) async fn run(&self, raft: Raft, patience: Duration) {
        loop {
            self.wake.notified().await;
            loop {
                let mut round = std::mem::take(&mut *self.waiting());
                round.retain(|read| !read.is_closed());
                if round.is_empty() {
                    break;
                }
                self.round(&raft, patience, round).await;
            }
        }
    }

    async fn round(&self, raft: &Raft, patience: Duration, round: Vec<Waiting>) {
        let option = LinearizerOption::from(ReadPolicy::ReadIndex).with_wait_timeout(patience);
        let answer = match raft.get_read_linearizer(option).await {
            Ok(linearizer) => Ok(index(&linearizer)),
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                // They go on waiting, each as long as it likes.
                self.waiting().extend(round);
                return;
            }
            Err(error) => Err(read_error(error)),
        };
        for read in round {
            // The caller may have gone.
            let _ = read.send(answer.clone());
        }
    }
}

/// The index up to which a read has to see while the lease of the leader holds; `None` if it does not.
pub(crate) async fn lease_index(raft: &Raft) -> Result<Option<u64>, Error> {
    match raft.get_read_linearizer(ReadPolicy::LeaseRead).await {
        Ok(linearizer) => Ok(Some(index(&linearizer))),
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Ok(None),
        Err(error) => Err(read_error(error)),
    }
}

fn index(linearizer: &Linearizer<Types>) -> u64 {
    linearizer.read_log_id().log_id().index()
}

fn read_error(error: RaftError<Types, LinearizableReadError<Types>>) -> Error {
    match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(_)) => Error::NotLeader { leader: None },
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => Error::Unconfirmed,
        RaftError::Fatal(fatal) => Error::Stopped(fatal.to_string()),
    }
}

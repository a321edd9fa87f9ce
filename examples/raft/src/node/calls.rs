//! The calls of clients: here if this node leads, there if another one does, and never longer than the caller waits.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use gorums::RpcFuture;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout_at};

use crate::error::Error;
use crate::node::forward::Way;
use crate::node::leadership::Leadership;
use crate::node::proposals::write;
use crate::node::{Node, reads};
use crate::options::Defect;
use crate::proto::{
    Command, Consistency, DeleteRequest, GetReply, GetRequest, KvNodeClient, Operation, PutRequest, Routing,
    Session, SwapRequest, Written, command, operation,
};
use crate::storage::StateReader;
use crate::types::Applied;

/// A write as a client asks for it.
#[derive(Clone, Debug)]
pub struct Write {
    /// Which write it is, so that it takes effect once although it may be sent again. Without one, the node gives it one.
    pub session: Option<Session>,
    /// What to do if another node leads.
    pub routing: Routing,
    /// What to write.
    pub change: operation::Change,
}

impl Write {
    /// A write that goes to the leader, wherever that is.
    pub fn new(change: impl Into<operation::Change>) -> Self {
        Self { session: None, routing: Routing::Forward, change: change.into() }
    }

    /// The same, asked of the leader.
    fn send(&self, session: Session, leader: &gorums::Node, time: Duration) -> RpcFuture<Written> {
        let (session, routing) = (Some(session), Routing::Redirect.into());
        match self.change.clone() {
            operation::Change::Put(put) => {
                leader.put(PutRequest { session, routing, put: Some(put) }).timeout(time).send()
            }
            operation::Change::Delete(delete) => {
                leader.delete(DeleteRequest { session, routing, delete: Some(delete) }).timeout(time).send()
            }
            operation::Change::CompareAndSwap(swap) => leader
                .compare_and_swap(SwapRequest { session, routing, swap: Some(swap) })
                .timeout(time)
                .send(),
        }
    }
}

impl Node {
    /// Lets a call in, unless too many are in progress.
    fn admit(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.inner.calls.try_acquire().map_err(|_| {
            self.inner.meters.overloaded.inc();
            Error::Overloaded
        })
    }

    /// When a call has to be over: at the caller's deadline, or else after the call timeout.
    fn deadline(&self, deadline: Option<Instant>) -> Instant {
        deadline.unwrap_or_else(|| Instant::now() + self.inner.options.call_timeout)
    }

    /// Waits until a read of the state of this node is as fresh as asked. Only the leader can say so, but for stale reads.
    /// Ends at the deadline, after 5 s if there is none, unless the options say otherwise.
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`], and [`Error::Unconfirmed`] at the deadline.
    pub async fn linearize(&self, consistency: Consistency, deadline: Option<Instant>) -> Result<(), Error> {
        let deadline = self.deadline(deadline);
        let fresh = async {
            if consistency == Consistency::Stale {
                return Ok(());
            }
            self.leads()?;
            let index = match consistency {
                _ if self.inner.options.has(Defect::ReadsWithoutReadIndex) => return self.leads(),
                Consistency::Lease => reads::lease_index(&self.inner.raft).await?,
                Consistency::Linearizable | Consistency::Stale => None,
            };
            let index = match index {
                Some(index) => index,
                None => self.inner.reads.read_index().await?,
            };
            if self.inner.reader.wait_applied(index).await {
                Ok(())
            } else {
                Err(Error::Stopped("the state is gone".into()))
            }
        };
        timeout_at(deadline, fresh)
            .await
            .unwrap_or(Err(Error::Unconfirmed))
            .map_err(|error| self.hinted(error))
    }

    pub(crate) fn leads(&self) -> Result<(), Error> {
        match &*self.inner.leadership.borrow() {
            Leadership::Following { .. } => Err(Error::NotLeader { leader: None }),
            Leadership::Leading { .. } | Leadership::Unconfirmed { .. } => Ok(()),
        }
    }

    /// Adds who leads, if it is known by now.
    pub(crate) fn hinted(&self, error: Error) -> Error {
        match error {
            Error::NotLeader { leader: None } => {
                let leader = self.inner.leadership.borrow().other().map(|(_, hint)| hint.clone());
                Error::NotLeader { leader }
            }
            error => error,
        }
    }

    /// Proposes a command of the application on this node, which has to lead, and waits for the answer of the application.
    /// Ends at the deadline, after 5 s if there is none, unless the options say otherwise.
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`] if it was not proposed, and [`Error::OutcomeUnknown`] if it may still be applied.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the command may be applied or not.
    pub async fn propose(&self, command: Bytes, deadline: Option<Instant>) -> Result<Bytes, Error> {
        let command = Command { kind: Some(command::Kind::Application(command)) };
        let written = timeout_at(self.deadline(deadline), write(&self.inner.raft, command)).await;
        match written.unwrap_or(Err(Error::OutcomeUnknown)) {
            Ok(Applied::Application(answer)) => Ok(answer),
            Ok(_) => Err(Error::OutcomeUnknown),
            Err(error) => Err(self.hinted(error)),
        }
    }

    /// A value of the application's state, as this node has it. After [`linearize`](Self::linearize), it is as fresh as that
    /// says.
    ///
    /// # Errors
    ///
    /// The disk cannot be read.
    pub fn application_value(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.inner.reader.application(key)?)
    }

    /// Waits until this node has applied the entry with this index. False if it never will.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub async fn wait_applied(&self, index: u64) -> bool {
        self.inner.reader.wait_applied(index).await
    }

    pub(crate) fn reader(&self) -> &StateReader {
        &self.inner.reader
    }

    /// Reads a key, here or on the leader. Ends at the deadline, after 5 s if there is none, unless the options say
    /// otherwise.
    ///
    /// # Errors
    ///
    /// [`Error::Unconfirmed`] if a quorum has not confirmed the leader by then, [`Error::Overloaded`] at once if too many
    /// calls are in progress, and others.
    ///
    /// # Cancel safety
    ///
    /// May be dropped: the reads that share its round are left alone.
    pub async fn get(&self, request: GetRequest, deadline: Option<Instant>) -> Result<GetReply, Error> {
        let _admitted = self.admit()?;
        let deadline = self.deadline(deadline);
        let (consistency, routing) = (request.consistency(), request.routing());
        let here = async || {
            self.linearize(consistency, Some(deadline)).await?;
            let found = self.inner.reader.get(&request.key)?;
            let (revision, value) = found.map_or((0, None), |(revision, value)| (revision, Some(value)));
            Ok(GetReply { value, revision })
        };
        if consistency == Consistency::Stale {
            return here().await;
        }
        let there = |node: gorums::Node, time| {
            let request = GetRequest { routing: Routing::Redirect.into(), ..request.clone() };
            node.get(request).timeout(time).send()
        };
        self.route(routing, deadline, &mut false, here, there).await
    }

    /// Executes a write, here or on the leader. Ends at the deadline, after 5 s if there is none, unless the options say
    /// otherwise.
    ///
    /// # Errors
    ///
    /// [`Error::OutcomeUnknown`] if it may still take effect, [`Error::Overloaded`] at once if too many calls are in
    /// progress, and others.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the write takes effect or not; the other writes in its entry are left alone.
    pub async fn write(&self, write: Write, deadline: Option<Instant>) -> Result<Written, Error> {
        let _admitted = self.admit()?;
        let deadline = self.deadline(deadline);
        let session = write.session.unwrap_or_else(|| self.inner.sessions.next());
        let here = async || {
            let operation = Operation { session: Some(session), change: Some(write.change.clone()) };
            let result = self.inner.proposals.enqueue(operation);
            match timeout_at(deadline, result).await {
                Ok(Ok(result)) => result,
                // The time is over, or the node has stopped.
                Ok(Err(_)) | Err(_) => Err(Error::OutcomeUnknown),
            }
        };
        let there = |node: gorums::Node, time| write.send(session, &node, time);
        let mut ambiguous = false;
        let written = self.route(write.routing, deadline, &mut ambiguous, here, there).await;
        // That an earlier attempt may have taken effect holds whatever the last one came to.
        let written = written.map_err(|error| {
            if ambiguous && !error.is_ambiguous() { Error::OutcomeUnknown } else { error }
        })?;
        if write.session.is_none() {
            self.inner.sessions.done(session);
        }
        Ok(written)
    }

    /// Does something here or there, wherever the leader is, and again as long as that helps and there is time. Notes whether
    /// an attempt that failed may have taken effect.
    async fn route<T, H>(
        &self,
        routing: Routing,
        deadline: Instant,
        ambiguous: &mut bool,
        here: impl Fn() -> H + Send + Sync,
        there: impl Fn(gorums::Node, Duration) -> RpcFuture<T> + Send + Sync,
    ) -> Result<T, Error>
    where
        H: Future<Output = Result<T, Error>> + Send,
    {
        if routing == Routing::Redirect {
            let done = match self.leads() {
                Ok(()) => here().await,
                Err(error) => Err(error),
            };
            return done.map_err(|error| self.hinted(error));
        }
        let forwarder = &self.inner.forwarder;
        forwarder.begin();
        loop {
            let error = match forwarder.way(deadline).await? {
                Way::Here => match here().await {
                    Ok(done) => return Ok(done),
                    Err(error) => error,
                },
                Way::There(leader, hint) => match forwarder.call(leader, &hint, deadline, &there).await {
                    Some(Ok(done)) => return Ok(done),
                    Some(Err(error)) => error,
                    None => continue,
                },
            };
            *ambiguous |= error.is_ambiguous();
            forwarder.again(error, deadline).await.map_err(|error| self.hinted(error))?;
        }
    }
}

//! A client of the store, which finds the leader, and tries again as long as that may help.

mod attempts;
mod directory;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gorums::{ConfigError, ConfigurationBuilder, RpcFuture};
use tokio::time::{Instant, timeout_at};

use self::attempts::Attempts;
use self::directory::Directory;
pub use self::watch::{Watch, WatchedChange};
use crate::error::Error;
use crate::proto::{
    AddRequest, AdminNodeClient, ChangeReply, CompactRequest, CompareAndSwap, Consistency, Delete,
    DeleteRequest, GetReply, GetRequest, KvNodeClient, LogId, Member, NodeStatus, Put, PutRequest,
    RemoveRequest, Routing, Session, StatusRequest, SwapRequest, TransferTo, VotersRequest, Written,
};
use crate::sessions::Sessions;

/// How long a call may take, with all its attempts, unless the builder says otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A client of the store. Clones share their connections and sessions.
///
/// A call goes to the leader, as far as the client knows it, and is made again, here or there, until it has succeeded, its
/// time is over, or trying again does not help. Writes take effect once, however often they were sent: each is a numbered
/// operation of a session. A client keeps as many sessions as it has writes at once.
///
/// # Cancel safety
///
/// The futures of all calls may be dropped. A write that was given up may take effect or not.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    directory: Directory,
    sessions: Sessions,
    timeout: Duration,
}

/// Describes a [`Client`].
#[must_use]
pub struct ClientBuilder {
    nodes: Vec<(u32, String)>,
    timeout: Duration,
    seed: u64,
    options: ConfigurationBuilder,
}

impl ClientBuilder {
    /// Adds nodes by their ids and addresses. Some are enough: the leader is found by what they say.
    pub fn nodes<A: Into<String>>(mut self, nodes: impl IntoIterator<Item = (u32, A)>) -> Self {
        self.nodes.extend(nodes.into_iter().map(|(id, address)| (id, address.into())));
        self
    }

    /// How long a call may take, with all its attempts; 5 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What sessions and pauses are drawn from; by default another one for each client. Two clients with the same seed would
    /// take each other's writes for their own.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The options of the connections, such as TLS. They are to have no nodes.
    pub fn connections(mut self, options: ConfigurationBuilder) -> Self {
        self.options = options;
        self
    }

    /// Makes the client. Nodes are dialled when they are called.
    ///
    /// # Errors
    ///
    /// Tells what is wrong with the nodes.
    pub fn build(self) -> Result<Client, ConfigError> {
        let configuration = self.options.node_map(self.nodes).connect_lazy()?;
        let inner = Inner {
            directory: Directory::new(configuration, self.seed),
            sessions: Sessions::new(self.seed),
            timeout: self.timeout,
        };
        Ok(Client { inner: Arc::new(inner) })
    }
}

impl Client {
    /// A client that is still to be described.
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            nodes: Vec::new(),
            timeout: TIMEOUT,
            seed: rand::random(),
            options: gorums::Configuration::builder(),
        }
    }

    /// Gives a key a value.
    pub async fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<Written, Error> {
        let put = Put { key: key.into(), value: value.into() };
        self.write(|node, session, routing, time| {
            let request =
                PutRequest { session: Some(session), routing: routing.into(), put: Some(put.clone()) };
            node.put(request).timeout(time).send()
        })
        .await
    }

    /// Takes the value of a key away. [`Written::done`] tells whether it had one.
    pub async fn delete(&self, key: impl Into<Bytes>) -> Result<Written, Error> {
        let delete = Delete { key: key.into() };
        self.write(|node, session, routing, time| {
            let delete = Some(delete.clone());
            let request = DeleteRequest { session: Some(session), routing: routing.into(), delete };
            node.delete(request).timeout(time).send()
        })
        .await
    }

    /// Gives a key a value, or takes it away, if it has the value that is expected. [`Written::done`] tells whether it had.
    pub async fn compare_and_swap(
        &self,
        key: impl Into<Bytes>,
        expected: Option<Bytes>,
        value: Option<Bytes>,
    ) -> Result<Written, Error> {
        let swap = CompareAndSwap { key: key.into(), expected, value };
        self.write(|node, session, routing, time| {
            let request =
                SwapRequest { session: Some(session), routing: routing.into(), swap: Some(swap.clone()) };
            node.compare_and_swap(request).timeout(time).send()
        })
        .await
    }

    /// Reads a key, as fresh as asked.
    pub async fn get(&self, key: impl Into<Bytes>, consistency: Consistency) -> Result<GetReply, Error> {
        let key = key.into();
        self.call(|node, routing, time| {
            let (consistency, routing) = (consistency.into(), routing.into());
            node.get(GetRequest { key: key.clone(), consistency, routing }).timeout(time).send()
        })
        .await
    }

    /// The changes under a prefix from now on, as one of the nodes applies them.
    ///
    /// # Errors
    ///
    /// Those of the node that was asked, which is another one the next time.
    pub async fn watch(&self, prefix: impl Into<Bytes>) -> Result<Watch, Error> {
        Watch::begin(self.inner.directory.one(), prefix.into(), self.inner.timeout).await
    }

    /// How a node is.
    ///
    /// # Errors
    ///
    /// Why it did not say; [`Error::Invalid`] if the client does not know it.
    pub async fn status(&self, node: u32) -> Result<NodeStatus, Error> {
        let node = self.inner.directory.node(node);
        let node = node.ok_or_else(|| Error::Invalid("there is no such node".into()))?;
        node.get_status(StatusRequest {}).timeout(self.inner.timeout).await.map_err(Error::of_call)
    }

    /// The ids and addresses of the nodes that the client knows.
    pub fn nodes(&self) -> Vec<(u32, String)> {
        self.inner.directory.nodes()
    }

    /// Adds a node that does not vote yet, and waits until it has caught up.
    pub async fn add_learner(&self, node: u32, address: impl Into<String>) -> Result<Option<LogId>, Error> {
        let member = Member { address: address.into() };
        self.change(|leader, time| {
            leader.add_learner(AddRequest { node, member: Some(member.clone()) }).timeout(time).send()
        })
        .await
    }

    /// Lets exactly these nodes vote.
    pub async fn set_voters(&self, nodes: Vec<u32>) -> Result<Option<LogId>, Error> {
        self.change(|leader, time| {
            leader.set_voters(VotersRequest { nodes: nodes.clone() }).timeout(time).send()
        })
        .await
    }

    /// Takes a node out of the cluster.
    pub async fn remove(&self, node: u32) -> Result<Option<LogId>, Error> {
        self.change(|leader, time| leader.remove_node(RemoveRequest { node }).timeout(time).send()).await
    }

    /// Puts a new node in the place of another one: it learns first, then votes instead of the old one, which is then taken
    /// out. Each step may be made again if the next one fails.
    pub async fn replace(&self, old: u32, new: u32, address: impl Into<String>) -> Result<(), Error> {
        self.add_learner(new, address).await?;
        let mut voters = self.voters().await?;
        voters.retain(|voter| *voter != old && *voter != new);
        voters.push(new);
        self.set_voters(voters).await?;
        self.remove(old).await.map(drop)
    }

    /// Lets a learner vote too.
    pub async fn promote(&self, node: u32) -> Result<(), Error> {
        let mut voters = self.voters().await?;
        if !voters.contains(&node) {
            voters.push(node);
            self.set_voters(voters).await?;
        }
        Ok(())
    }

    /// Hands leadership over to a voter.
    pub async fn transfer(&self, node: u32) -> Result<(), Error> {
        self.change(|leader, time| leader.transfer(TransferTo { node }).timeout(time).send()).await.map(drop)
    }

    /// Lets the leader cut its log.
    pub async fn compact(&self) -> Result<(), Error> {
        self.change(|leader, time| leader.compact(CompactRequest {}).timeout(time).send()).await.map(drop)
    }

    /// Who votes, as the leader says.
    async fn voters(&self) -> Result<Vec<u32>, Error> {
        // A read finds out who leads.
        self.get(Bytes::new(), Consistency::Linearizable).await?;
        let leader = self.inner.directory.leader().ok_or(Error::NotLeader { leader: None })?;
        let status = leader.get_status(StatusRequest {}).timeout(self.inner.timeout).await;
        let status = status.map_err(Error::of_call)?;
        let others = status.peers.iter().filter(|peer| peer.voter).map(|peer| peer.node);
        Ok(others.chain([status.node]).collect())
    }

    async fn change(
        &self,
        make: impl Fn(&gorums::Node, Duration) -> RpcFuture<ChangeReply>,
    ) -> Result<Option<LogId>, Error> {
        // Changes are not forwarded: the leader has to be asked itself.
        let attempts =
            Attempts::new(&self.inner.directory, Instant::now() + self.inner.timeout).at_the_leader();
        attempts.run(|node, _, time| make(node, time)).await.map(|reply| reply.id)
    }

    async fn write(
        &self,
        make: impl Fn(&gorums::Node, Session, Routing, Duration) -> RpcFuture<Written>,
    ) -> Result<Written, Error> {
        let session = self.inner.sessions.next();
        let written = self.call(|node, routing, time| make(node, session, routing, time)).await?;
        self.inner.sessions.done(session);
        Ok(written)
    }

    async fn call<T>(
        &self,
        make: impl Fn(&gorums::Node, Routing, Duration) -> RpcFuture<T>,
    ) -> Result<T, Error> {
        Attempts::new(&self.inner.directory, Instant::now() + self.inner.timeout).run(make).await
    }

    /// Closes the connections, after what is queued was written.
    pub async fn close(&self) {
        let deadline = Instant::now() + self.inner.timeout;
        // What has not been written by then is lost.
        let _ = timeout_at(deadline, self.inner.directory.close()).await;
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("nodes", &self.nodes()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

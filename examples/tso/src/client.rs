//! A client of the oracle: one call for all who ask meanwhile, to the leader, again as long as that may help.

mod batch;
mod route;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gorums::{ConfigError, ConfigurationBuilder};
use tokio::time::{Instant, timeout_at};

use self::batch::{Batches, Share};
use self::route::Route;
use crate::error::Error;
use crate::proto::{FaultsNodeClient, FaultsRequest, StatusRequest, TsoNodeClient, TsoStatus};
use crate::service::MAX_BATCH;
use crate::timestamp::Timestamp;

/// How long a call may take with all its attempts, unless the builder says otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Consecutive timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamps {
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) epoch: u64,
}

impl Timestamps {
    /// The first one.
    pub fn first(&self) -> Timestamp {
        Timestamp::from_raw(self.first)
    }

    /// The last one.
    pub fn last(&self) -> Timestamp {
        Timestamp::from_raw(self.first + u64::from(self.count) - 1)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Timestamp> + use<> {
        (self.first..self.first + u64::from(self.count)).map(Timestamp::from_raw)
    }

    /// The term of the leader that granted them.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}

/// A client of the oracle. Clones share its connections, and calls that they make at once are one call to the leader.
///
/// Each timestamp is greater than every one that anybody got before the call began.
///
/// # Cancel safety
///
/// The futures of all calls may be dropped: those who share the call with them get their timestamps all the same. One that has
/// been polled is to be polled on, or dropped: meanwhile, others wait for it.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    route: Arc<Route>,
    batches: Batches,
    timeout: Duration,
}

/// Describes a [`Client`].
#[must_use]
pub struct ClientBuilder {
    nodes: Vec<(u32, String)>,
    timeout: Duration,
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

    /// The options of the connections, such as TLS, which then all of them have, whatever a node says of others. They are to
    /// have no nodes.
    pub fn connections(mut self, options: ConfigurationBuilder) -> Self {
        self.options = options;
        self
    }

    /// Makes the client. Nodes are dialled when they are called.
    ///
    /// # Errors
    ///
    /// What is wrong with the nodes.
    pub fn build(self) -> Result<Client, ConfigError> {
        let route = Arc::new(Route::new(self.options.node_map(self.nodes).connect_lazy()?));
        let inner = Inner { route, batches: Batches::default(), timeout: self.timeout };
        Ok(Client { inner: Arc::new(inner) })
    }
}

impl Client {
    /// A client that is still to be described.
    pub fn builder() -> ClientBuilder {
        ClientBuilder { nodes: Vec::new(), timeout: TIMEOUT, options: gorums::Configuration::builder() }
    }

    /// A timestamp.
    ///
    /// # Errors
    ///
    /// As of [`get_batch`](Self::get_batch).
    pub async fn get(&self) -> Result<Timestamp, Error> {
        self.get_batch(1).await.map(|stamps| stamps.first())
    }

    /// So many consecutive timestamps, from 1 to 65,536.
    ///
    /// # Errors
    ///
    /// What the last attempt failed with when the time was over, and what no other attempt can mend.
    pub async fn get_batch(&self, count: u32) -> Result<Timestamps, Error> {
        if !(1..=MAX_BATCH).contains(&count) {
            return Err(Error::Invalid(format!("a batch has 1 to {MAX_BATCH} timestamps, and not {count}")));
        }
        let deadline = Instant::now() + self.inner.timeout;
        let (route, timeout) = (self.inner.route.clone(), self.inner.timeout);
        let ask = move |total| async move { route.ask(total, Instant::now() + timeout).await };
        let (stamps, offset) = match self.inner.batches.join(count, ask) {
            Share::Alone(_alone) => (timeout_at(deadline, self.inner.route.ask(count, deadline)).await, 0),
            Share::Of { batch, offset } => (timeout_at(deadline, batch).await, offset),
        };
        let stamps = stamps.unwrap_or(Err(Error::TimedOut))?;
        Ok(Timestamps { first: stamps.first + u64::from(offset), count, ..stamps })
    }

    /// How a node is.
    ///
    /// # Errors
    ///
    /// Why it did not say; [`Error::Invalid`] if the client does not know it.
    pub async fn status(&self, node: u32) -> Result<TsoStatus, Error> {
        let node = self.inner.route.node(node)?;
        node.get_status(StatusRequest {}).timeout(self.inner.timeout).await.map_err(Error::of_call)
    }

    /// Orders faults of a node that allows it: for tests.
    ///
    /// # Errors
    ///
    /// As of [`status`](Self::status).
    pub async fn order_faults(&self, node: u32, faults: FaultsRequest) -> Result<(), Error> {
        let node = self.inner.route.node(node)?;
        node.order(faults).timeout(self.inner.timeout).await.map(drop).map_err(Error::of_call)
    }

    /// The ids and addresses of the nodes that the client knows.
    pub fn nodes(&self) -> Vec<(u32, String)> {
        self.inner.route.nodes()
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.inner.route.close().await;
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

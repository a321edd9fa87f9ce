//! The tasks of a server: counted, and ended together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a server has open, as counted at the moment of asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections that were accepted.
    pub connections: usize,
    /// Node streams on them.
    pub streams: usize,
    /// Calls of ordinary gRPC services, which the feature `grpc` adds.
    pub grpc_calls: usize,
    /// Handlers that wait for something. Those that finish without waiting are never seen here.
    pub handlers: usize,
    /// Pieces of work that handlers have [detached](crate::ServerContext::detach).
    pub detached: usize,
    /// Calls to peers and clients that have not ended.
    pub calls: usize,
    /// Clients of which a stream is open, or waits for the end of an older one, as far as they name themselves.
    pub named_clients: usize,
}

/// The tasks of a server, and the order to stop them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    pub(crate) tracker: TaskTracker,
    /// Drops what still runs.
    pub(crate) abort: CancellationToken,
    gauges: Arc<Gauges>,
}

#[derive(Debug, Default)]
struct Gauges {
    connections: Gauge,
    streams: Gauge,
    grpc_calls: Gauge,
    handlers: Gauge,
    detached: Gauge,
}

/// How many there are of something.
#[derive(Debug, Default)]
struct Gauge(AtomicUsize);

impl Tasks {
    /// What the tasks are; the rest is for the server to tell.
    pub(crate) fn stats(&self) -> ServerStats {
        let Gauges { connections, streams, grpc_calls, handlers, detached } = &*self.gauges;
        ServerStats {
            connections: connections.get(),
            streams: streams.get(),
            grpc_calls: grpc_calls.get(),
            handlers: handlers.get(),
            detached: detached.get(),
            ..ServerStats::default()
        }
    }

    /// Runs a connection until it ends or everything is dropped.
    pub(crate) fn spawn_connection(&self, connection: impl Future<Output = ()> + Send + 'static) {
        self.spawn(|gauges| &gauges.connections, Box::pin(connection));
    }

    /// Runs a node stream until it ends or everything is dropped.
    pub(crate) fn spawn_stream(&self, stream: impl Future<Output = ()> + Send + 'static) {
        self.spawn(|gauges| &gauges.streams, Box::pin(stream));
    }

    /// Runs a call of an ordinary gRPC service until it ends or everything is dropped.
    #[cfg(feature = "grpc")]
    pub(crate) fn spawn_grpc_call(&self, call: impl Future<Output = ()> + Send + 'static) {
        self.spawn(|gauges| &gauges.grpc_calls, Box::pin(call));
    }

    /// Runs a handler until it ends or everything is dropped.
    pub(crate) fn spawn_handler(&self, handler: impl Future<Output = ()> + Send + 'static) {
        self.spawn(|gauges| &gauges.handlers, handler);
    }

    /// Runs what outlives its handler, until it ends or everything is dropped.
    pub(crate) fn spawn_detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        self.spawn(|gauges| &gauges.detached, work)
    }

    /// A large future had better be boxed: each layer around it keeps room for it twice.
    fn spawn<T: Send + 'static>(
        &self,
        gauge: fn(&Gauges) -> &Gauge,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        let (abort, counted) = (self.abort.clone(), Counted::new(self.gauges.clone(), gauge));
        self.tracker.spawn(async move {
            let ended = abort.run_until_cancelled_owned(task).await;
            drop(counted);
            ended
        })
    }
}

impl Gauge {
    fn get(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// Counts a task for as long as it lives.
struct Counted {
    gauges: Arc<Gauges>,
    gauge: fn(&Gauges) -> &Gauge,
}

impl Counted {
    fn new(gauges: Arc<Gauges>, gauge: fn(&Gauges) -> &Gauge) -> Self {
        gauge(&gauges).0.fetch_add(1, Relaxed);
        Self { gauges, gauge }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.gauge)(&self.gauges).0.fetch_sub(1, Relaxed);
    }
}

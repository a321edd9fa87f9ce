//! What a server has open, as gauges.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::observe::metrics::gauges::Gauges;
use crate::observe::metrics::ticks;
use crate::server::ServerHandle;

/// The gauges of a server that serves. Dropped when it ends, however it does: then it has nothing open.
pub(crate) struct ServerMetrics {
    gauges: Arc<Gauges>,
    every: Duration,
}

impl ServerMetrics {
    pub(crate) fn new(name: &str, every: Duration) -> Self {
        Self { gauges: Gauges::of(vec![("server", name.to_owned().into())]), every }
    }

    /// Publishes at the interval, for as long as it is polled.
    pub(crate) async fn publish(&self, server: &ServerHandle) -> Infallible {
        let mut ticks = ticks(self.every);
        loop {
            ticks.tick().await;
            self.publish_now(server);
        }
    }

    fn publish_now(&self, server: &ServerHandle) {
        let stats = server.stats();
        for (metric, value) in [
            ("gorums_server_connections", stats.connections),
            ("gorums_server_streams", stats.streams),
            ("gorums_server_grpc_calls", stats.grpc_calls),
            ("gorums_server_handlers", stats.handlers),
            ("gorums_server_detached", stats.detached),
            ("gorums_server_callback_pending_calls", stats.calls),
            ("gorums_server_peers", server.peers().len()),
            ("gorums_server_clients", server.clients().len()),
            ("gorums_server_named_clients", stats.named_clients),
        ] {
            self.gauges.set(metric, value as f64);
        }
    }
}

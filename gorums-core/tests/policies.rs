//! What may be said about calls: retries, priorities, and options of configurations.
#![allow(clippy::unwrap_used)]

mod common;

#[path = "policies/options.rs"]
mod options;
#[path = "policies/priority.rs"]
mod priority;
#[path = "policies/retry.rs"]
mod retry;
#[path = "policies/retry_ends.rs"]
mod retry_ends;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{ECHO, SAFE, Text};
use gorums_core::testing::Cluster;
use gorums_core::{Methods, NodeId, Server, ServerBuilder, Service, Status};
use tokio::sync::Notify;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A service that fails the first so many times that it is called.
#[derive(Clone, Default)]
struct Flaky {
    id: u64,
    failures: Arc<AtomicU32>,
    status: Arc<Mutex<Option<Status>>>,
    /// What it was asked.
    asked: Arc<Mutex<Vec<String>>>,
    /// What holds up the answer to `then hang`, once there is one.
    gate: Arc<Notify>,
}

impl Flaky {
    fn fail(&self, times: u32, status: Status) {
        self.failures.store(times, Ordering::SeqCst);
        *self.status.lock().unwrap() = Some(status);
    }

    fn times_asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn answer(&self, request: &Text) -> Result<Text, Status> {
        self.asked.lock().unwrap().push(request.text.clone());
        let fails =
            self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match fails {
            Ok(_) => Err(self.status.lock().unwrap().clone().unwrap()),
            Err(_) => Ok(Text { text: request.text.clone(), number: self.id }),
        }
    }
}

impl Service for Flaky {
    const NAME: &'static str = "test.Test";

    fn register(self, methods: &mut Methods) {
        let inner = Arc::new(self);
        for method in [&ECHO, &SAFE] {
            methods.two_way(method, &inner, |inner, ctx, request: Text| async move {
                if request.text == "hang" {
                    inner.asked.lock().unwrap().push(request.text);
                    ctx.cancelled().await;
                    return Err(Status::cancelled("gone"));
                }
                let hangs = request.text == "then hang";
                let tenant = ctx.metadata().get("tenant").map(|value| value.to_str().unwrap().to_owned());
                let text =
                    tenant.map_or(request.text.clone(), |tenant| format!("{} of {tenant}", request.text));
                let answer = inner.answer(&Text { text, ..request })?;
                if hangs {
                    ctx.release();
                    inner.gate.notified().await;
                }
                Ok(answer)
            });
        }
    }
}

/// Flaky nodes in memory.
async fn flaky(size: u32) -> (Cluster, Vec<Flaky>) {
    let nodes: Vec<_> = (1..=u64::from(size)).map(|id| Flaky { id, ..Flaky::default() }).collect();
    let services = nodes.clone();
    let server = move |id: NodeId| -> ServerBuilder {
        Server::builder().add_service(services[id.get() as usize - 1].clone())
    };
    (Cluster::in_memory(size, server).await, nodes)
}

fn asked(nodes: &[Flaky]) -> Vec<usize> {
    nodes.iter().map(Flaky::times_asked).collect()
}

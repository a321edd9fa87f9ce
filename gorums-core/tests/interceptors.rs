//! Interceptors of servers.
#![allow(clippy::unwrap_used)]

mod common;

#[path = "interceptors/call_types.rs"]
mod call_types;
#[path = "interceptors/chain.rs"]
mod chain;
#[path = "interceptors/turns.rs"]
mod turns;

use common::{Test, Text};
use gorums_core::testing::Cluster;
use gorums_core::{Next, Reply, Server, ServerBuilder, ServerCall, Status};
use std::sync::{Arc, Mutex};

/// What interceptors have seen.
type Log = Arc<Mutex<Vec<String>>>;

fn taken(log: &Log) -> Vec<String> {
    std::mem::take(&mut *log.lock().unwrap())
}

/// One server in memory, with interceptors, and its service.
async fn one_server(
    intercept: impl Fn(ServerBuilder) -> ServerBuilder + Send + Sync + 'static,
) -> (Cluster, Test) {
    let test = Test::new(1);
    let service = test.clone();
    let server = move |_| intercept(Server::builder()).add_service(service.clone());
    (Cluster::in_memory(1, server).await, test)
}

/// Notes the call and what comes of it.
fn noting(log: &Log) -> impl gorums_core::Interceptor + use<> {
    let log = log.clone();
    move |call: ServerCall, next: Next| {
        let log = log.clone();
        async move {
            let name = call.method().rsplit('.').next().unwrap();
            log.lock().unwrap().push(format!("{name} {:?}", call.call_type()));
            let result = next.run(call).await;
            let outcome = match &result {
                Ok(reply) => format!("{name} ok {}", reply.payload().len()),
                Err(status) => format!("{name} {:?}", status.code()),
            };
            log.lock().unwrap().push(outcome);
            result
        }
    }
}

/// Changes the texts of requests and replies.
struct Appends(&'static str, &'static str);

impl gorums_core::Interceptor for Appends {
    async fn intercept(&self, mut call: ServerCall, next: Next) -> Result<Reply, Status> {
        let Self(before, after) = self;
        let request: Text = call.message()?;
        call.set_message(&Text { text: request.text + before, ..request })?;
        let mut reply = next.run(call).await?;
        let message: Text = reply.message()?;
        reply.set_message(&Text { text: message.text + after, ..message })?;
        Ok(reply)
    }
}

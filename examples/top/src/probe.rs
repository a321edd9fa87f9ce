//! Calls of a method of each node, at a rate.

use std::time::Duration;

use gorums::codegen::{CallType, Method, NodeTarget};
use gorums::{Configuration, Node};
use tokio::runtime::Runtime;
use tokio::time::{MissedTickBehavior, interval};

/// Calls `method` of each node so many times a second, until the nodes are closed.
pub(crate) fn start(runtime: &Runtime, configuration: &Configuration, method: &str, rate: u32) {
    // Once in the life of the program: methods are known when one is compiled, except to tools like this one.
    let name: &'static str = Box::leak(method.to_owned().into_boxed_str());
    let method: &'static Method<(), ()> = Box::leak(Box::new(Method::prost(name, CallType::Rpc)));
    for node in configuration {
        runtime.spawn(call(node.clone(), method, Duration::from_secs(1) / rate));
    }
}

async fn call(node: Node, method: &'static Method<(), ()>, every: Duration) {
    let mut ticks = interval(every);
    // A node that hangs gets no more calls in one go when it comes back.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while node.state() != gorums::NodeState::Closed {
        ticks.tick().await;
        let reply = NodeTarget::rpc(&node, method, ()).send();
        // What becomes of it is seen in the counters of the node. A slow one is not waited for.
        tokio::spawn(reply);
    }
}

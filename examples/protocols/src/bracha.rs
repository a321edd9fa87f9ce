//! Reliable broadcast among n > 3f nodes of which f may lie: all correct nodes deliver the same, or nothing.
//!
//! After "Asynchronous Byzantine Agreement Protocols" (Bracha, Information and Computation 1987), figure 1.
//!
//! Bracha's links lose nothing. Here a message is an idempotent rpc that is made again until it was answered, also by a
//! node that was started again: it repeats all that it has ever sent. Who has sent a message is what its connection says,
//! which is believed with mutual TLS only, never what is in the message.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gorums::quorum::{Matching, QuorumRule, matching};
use gorums::{Configuration, NodeId, ServerContext, Status};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::sleep;

use crate::lock;

/// How long a node waits before it repeats a message that was not answered.
const PAUSE: Duration = Duration::from_millis(50);

/// A step of the broadcast of one value of one node.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Message {
    /// Whose broadcast it is.
    #[prost(uint32, tag = "1")]
    pub origin: u32,
    /// Which of its broadcasts.
    #[prost(uint64, tag = "2")]
    pub number: u64,
    /// The value.
    #[prost(uint64, tag = "3")]
    pub value: u64,
}

/// What the nodes tell each other.
#[gorums::service(package = "protocols.bracha")]
pub trait Broadcast {
    /// The origin has this value.
    #[rpc(idempotent)]
    async fn initial(&self, ctx: &ServerContext, message: Message) -> Result<(), Status>;

    /// The sender has got this value from the origin.
    #[rpc(idempotent)]
    async fn echo(&self, ctx: &ServerContext, message: Message) -> Result<(), Status>;

    /// The sender knows that no other value can be delivered.
    #[rpc(idempotent)]
    async fn ready(&self, ctx: &ServerContext, message: Message) -> Result<(), Status>;
}

/// A step, and which one it is.
#[derive(Clone, Debug)]
enum Step {
    Initial(Message),
    Echo(Message),
    Ready(Message),
}

type Same = Matching<fn(&u64) -> u64, u64, u64>;

/// What a node knows of one broadcast. The rules count the first message of each kind from each node, and no other.
#[derive(Clone, Debug)]
struct Instance {
    has_echoed: bool,
    is_ready: bool,
    has_delivered: bool,
    /// More than (n + f) / 2 echoes: no other value gets as many.
    echoes: Same,
    /// f + 1 ready: a correct node is.
    some_ready: Same,
    /// 2f + 1 ready: f + 1 correct nodes are, and all others will be.
    enough_ready: Same,
}

impl Instance {
    fn new(nodes: &[NodeId]) -> Self {
        let (n, f) = (nodes.len(), nodes.len().saturating_sub(1) / 3);
        let rule = |needed| {
            let mut rule = matching(needed);
            rule.begin(nodes);
            rule
        };
        Self {
            has_echoed: false,
            is_ready: false,
            has_delivered: false,
            echoes: rule(usize::midpoint(n, f) + 1),
            some_ready: rule(f + 1),
            enough_ready: rule(2 * f + 1),
        }
    }
}

/// What a node must not forget: it has to outlast its process.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    instances: BTreeMap<(u32, u64), Instance>,
    sent: Vec<Step>,
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    nodes: Configuration,
    memory: Memory,
    delivered: UnboundedSender<Message>,
}

impl Node {
    /// A node, called by all members and calling them, itself included. It sends again what it had sent before it was started
    /// again, and hands what it delivers to `delivered`.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn start(nodes: Configuration, memory: Memory, delivered: UnboundedSender<Message>) -> Self {
        let node = Self { nodes, memory, delivered };
        let sent = lock(&node.memory.inner).sent.clone();
        for step in &sent {
            node.send(step);
        }
        node
    }

    /// Broadcasts a message of this node. `message.origin` must be its own id, and `message.number` new.
    pub fn broadcast(&self, message: Message) {
        let mut inner = lock(&self.memory.inner);
        self.send_first(&mut inner, Step::Initial(message));
    }

    fn send_first(&self, inner: &mut Inner, step: Step) {
        self.send(&step);
        inner.sent.push(step);
    }

    /// Sends a step to all nodes over links that lose nothing.
    fn send(&self, step: &Step) {
        for node in &self.nodes {
            let (node, step) = (node.clone(), step.clone());
            tokio::spawn(async move {
                loop {
                    let sent = match &step {
                        Step::Initial(message) => node.initial(message.clone()).await,
                        Step::Echo(message) => node.echo(message.clone()).await,
                        Step::Ready(message) => node.ready(message.clone()).await,
                    };
                    if sent.is_ok() {
                        return;
                    }
                    sleep(PAUSE).await;
                }
            });
        }
    }

    /// Takes a step of a member, and all steps of its own that follow, as in the figure.
    fn take(&self, from: NodeId, step: &Step) {
        let mut inner = lock(&self.memory.inner);
        let (Step::Initial(message) | Step::Echo(message) | Step::Ready(message)) = step;
        let key = (message.origin, message.number);
        let nodes: Vec<_> = self.nodes.iter().map(gorums::Node::id).collect();
        let instance = inner.instances.entry(key).or_insert_with(|| Instance::new(&nodes));
        let mut initial = None;
        match step {
            Step::Initial(_) => initial = (from.get() == message.origin).then_some(message.value),
            Step::Echo(_) => {
                instance.echoes.reply(from, Ok(message.value));
            }
            Step::Ready(_) => {
                instance.some_ready.reply(from, Ok(message.value));
                instance.enough_ready.reply(from, Ok(message.value));
            }
        }
        let with = |value| Message { value, ..message.clone() };
        let supported = agreed(&instance.echoes).or_else(|| agreed(&instance.some_ready));
        let mut next = Vec::new();
        // Step 1.
        if let Some(value) = initial.or(supported).filter(|_| !instance.has_echoed) {
            instance.has_echoed = true;
            next.push(Step::Echo(with(value)));
        }
        // Step 2.
        if let Some(value) = supported.filter(|_| !instance.is_ready) {
            instance.is_ready = true;
            next.push(Step::Ready(with(value)));
        }
        // Step 3.
        if let Some(value) = agreed(&instance.enough_ready).filter(|_| !instance.has_delivered) {
            instance.has_delivered = true;
            // Who started the node may not want to know.
            let _ = self.delivered.send(with(value));
        }
        for step in next {
            self.send_first(&mut inner, step);
        }
    }

    /// The member that has sent a request.
    fn sender(&self, ctx: &ServerContext) -> Result<NodeId, Status> {
        let member = ctx.peer_id().filter(|id| self.nodes.node(*id).is_some());
        member.ok_or_else(|| Status::permission_denied("only members take part in broadcasts"))
    }
}

/// The value that enough nodes have named.
fn agreed(rule: &Same) -> Option<u64> {
    rule.clone().output().and_then(|named| named.first().map(|(_, value)| *value))
}

impl Broadcast for Node {
    async fn initial(&self, ctx: &ServerContext, message: Message) -> Result<(), Status> {
        self.take(self.sender(ctx)?, &Step::Initial(message));
        Ok(())
    }

    async fn echo(&self, ctx: &ServerContext, message: Message) -> Result<(), Status> {
        self.take(self.sender(ctx)?, &Step::Echo(message));
        Ok(())
    }

    async fn ready(&self, ctx: &ServerContext, message: Message) -> Result<(), Status> {
        self.take(self.sender(ctx)?, &Step::Ready(message));
        Ok(())
    }
}

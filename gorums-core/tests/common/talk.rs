//! Talks: streaming calls that answer what one-way calls say to them, all on the one connection to a node. They
//! stand for the bidirectional streams of other frameworks.

mod node;

use std::future::pending;
use std::time::Duration;

use gorums_core::{Code, Configuration, Node, NodeError, NodeErrorKind, Replies};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::node::*;
use super::{OnConfiguration, OnNode, eventually, within};

/// A talk, at the caller.
pub struct Talk {
    node: Node,
    number: u64,
    replies: Replies<Line>,
}

impl Talk {
    /// Starts a talk on the only node of a configuration, and waits for the greeting. Waits for a node that is down.
    pub async fn open(configuration: &Configuration, number: u64) -> Self {
        Self::open_for(configuration, number, None).await
    }

    /// Starts a talk that may take this long, or as long as it will.
    pub async fn open_for(configuration: &Configuration, number: u64, timeout: Option<Duration>) -> Self {
        let call = configuration.streaming_call(&OPEN, line(number, 0)).wait_for_ready(true);
        let call = match timeout {
            Some(timeout) => call.timeout(timeout),
            None => call.no_timeout(),
        };
        let node = configuration.nodes()[0].clone();
        let mut opened = Self { node, number, replies: call.send() };
        opened.hear(GREETING).await.unwrap();
        opened
    }

    /// Hears what has to be this value, in this talk.
    pub async fn hear(&mut self, value: u64) -> Result<(), NodeError> {
        let heard = within("a talk", self.replies.next()).await.expect("the talk has ended");
        let heard = heard.result?;
        assert_eq!((heard.talk, heard.value), (self.number, value), "of another talk");
        Ok(())
    }

    pub fn say(&self, value: u64) -> Result<(), NodeError> {
        self.node.unicast(&SAY, line(self.number, value)).send()
    }

    pub async fn try_echo(&mut self, value: u64) -> Result<(), NodeError> {
        self.say(value)?;
        self.hear(value).await
    }

    pub async fn echo(&mut self, value: u64) {
        self.try_echo(value).await.unwrap();
    }

    /// Ends the talk in good order: nothing comes after that.
    pub async fn hang_up(mut self) {
        self.say(BYE).unwrap();
        let rest = within("the end of a talk", self.replies.next()).await;
        assert!(rest.is_none(), "after the end: {rest:?}");
    }

    /// Waits for an error, which has to be the last that is heard.
    pub async fn error(mut self) -> NodeError {
        let error = loop {
            let heard = within("the error of a talk", self.replies.next()).await;
            if let Err(error) = heard.expect("the talk has ended well").result {
                break error;
            }
        };
        let rest = within("the end of a talk", self.replies.next()).await;
        assert!(rest.is_none(), "after the error: {rest:?}");
        error
    }

    /// Waits until the talk ends because its connection broke.
    pub async fn lost(self) {
        let error = self.error().await;
        assert!(matches!(error.kind(), NodeErrorKind::ConnectionLost), "{error}");
        assert!(error.is_ambiguous(), "{error}");
    }
}

/// Whether a deadline has passed: the caller's own, or the one at the node, whose word may be quicker than the clock.
pub fn is_late(error: &NodeError) -> bool {
    match error.kind() {
        NodeErrorKind::Status(status) => status.code() == Code::DeadlineExceeded,
        other => matches!(other, NodeErrorKind::DeadlineExceeded),
    }
}

/// Talks that echo without a pause, each in a task of its own.
pub struct Busy {
    /// How each has ended; nothing for one that was cancelled.
    pub tasks: JoinSet<Option<NodeError>>,
    pub cancels: Vec<CancellationToken>,
}

impl Busy {
    /// Starts so many talks, and waits until every one of them is under way.
    pub async fn start(configuration: &Configuration, talks: u64) -> Self {
        let mut busy = Self { tasks: JoinSet::new(), cancels: Vec::new() };
        let echoes = watch::Sender::new(vec![0_u64; talks as usize]);
        for number in 0..talks {
            let talk = Talk::open(configuration, number).await;
            let cancel = CancellationToken::new();
            let echoes = echoes.clone();
            let count = move || echoes.send_modify(|echoes| echoes[number as usize] += 1);
            busy.tasks.spawn(cancel.clone().run_until_cancelled_owned(go_on(talk, count)));
            busy.cancels.push(cancel);
        }
        let all_busy = |echoes: &Vec<u64>| echoes.iter().all(|&echoes| echoes >= 3);
        within("traffic", echoes.subscribe().wait_for(all_busy)).await.unwrap();
        busy
    }

    /// Waits until every talk has ended.
    pub async fn ends(self) -> Vec<Option<NodeError>> {
        within("the end of all talks", self.tasks.join_all()).await
    }
}

/// Echoes until something goes wrong, and gives what ended the talk.
async fn go_on(mut talk: Talk, count: impl Fn()) -> NodeError {
    for value in 0.. {
        if talk.say(value).is_err() {
            return talk.error().await;
        }
        if let Err(error) = talk.hear(value).await {
            return error;
        }
        count();
    }
    pending().await
}

/// Waits until a node runs no handler of a talk any more.
pub async fn nobody_talks(node: &Talks) {
    eventually("the end of all talks at the node", || node.open() == 0).await;
}

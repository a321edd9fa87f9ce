//! What a fake method was told to answer, and what it was asked.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use crate::server::context::ServerContext;
use crate::sync::Mutex;

/// What a fake method was told to answer, and what it was asked.
pub(super) struct Script<Req, Out> {
    state: Mutex<State<Req, Out>>,
    /// How many requests have come.
    calls: watch::Sender<usize>,
}

struct State<Req, Out> {
    requests: Vec<Req>,
    /// For the next requests, in order.
    planned: VecDeque<Planned<Req, Out>>,
    /// For all others.
    standing: Standing<Req, Out>,
}

enum Planned<Req, Out> {
    Given(Out),
    Held(oneshot::Sender<Req>, oneshot::Receiver<Out>),
}

enum Standing<Req, Out> {
    Untold,
    Hangs,
    /// Has a lock of its own, as it is code of a test that may look at the script.
    Answers(Arc<Mutex<Answers<Req, Out>>>),
}

type Answers<Req, Out> = Box<dyn FnMut(Req) -> Out + Send>;

/// What a request is answered with.
enum Next<Req, Out> {
    Planned(Planned<Req, Out>),
    Standing(Standing<Req, Out>),
}

/// The ends of a planned answer that a test keeps.
pub(super) struct Hold<Req, Out> {
    pub(super) request: oneshot::Receiver<Req>,
    pub(super) answer: oneshot::Sender<Out>,
}

impl<Req, Out> Script<Req, Out> {
    /// With nothing to answer as yet.
    pub(super) fn new() -> Self {
        let (requests, planned) = (Vec::new(), VecDeque::new());
        Self {
            state: Mutex::new(State { requests, planned, standing: Standing::Untold }),
            calls: watch::Sender::new(0),
        }
    }

    pub(super) fn answers(&self, answers: impl FnMut(Req) -> Out + Send + 'static) {
        self.state.lock().standing = Standing::Answers(Arc::new(Mutex::new(Box::new(answers))));
    }

    pub(super) fn hangs(&self) {
        self.state.lock().standing = Standing::Hangs;
    }

    pub(super) fn in_turn(&self, answers: impl IntoIterator<Item = Out>) {
        // Collected before the lock is taken: the iterator is code of the test.
        let answers: Vec<_> = answers.into_iter().map(Planned::Given).collect();
        self.state.lock().planned.extend(answers);
    }

    pub(super) fn hold(&self) -> Hold<Req, Out> {
        let (asked, request) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        self.state.lock().planned.push_back(Planned::Held(asked, answered));
        Hold { request, answer }
    }

    pub(super) fn calls(&self) -> usize {
        *self.calls.borrow()
    }

    pub(super) fn requests(&self) -> Vec<Req>
    where
        Req: Clone,
    {
        self.state.lock().requests.clone()
    }

    /// Resolves when so many requests have come.
    pub(super) async fn received(&self, calls: usize) {
        // An error means that there is no sender, which is here.
        let _ = self.calls.subscribe().wait_for(|come| *come >= calls).await;
    }

    /// The answer to a request; `untold` if there is none, and `dropped` if the test has dropped what held it.
    ///
    /// A request that waits lets the next one of its sender start.
    pub(super) async fn answer(
        &self,
        context: &ServerContext,
        request: Req,
        untold: impl FnOnce() -> Out,
        dropped: impl FnOnce() -> Out,
    ) -> Out
    where
        Req: Clone,
    {
        let next = self.next(&request);
        match next {
            Next::Planned(Planned::Given(answer)) => answer,
            Next::Planned(Planned::Held(asked, answered)) => {
                context.release();
                // A test need not be interested in the request.
                let _ = asked.send(request);
                answered.await.unwrap_or_else(|_| dropped())
            }
            Next::Standing(Standing::Untold) => untold(),
            Next::Standing(Standing::Hangs) => {
                context.release();
                pending().await
            }
            Next::Standing(Standing::Answers(answers)) => (answers.lock())(request),
        }
    }

    fn next(&self, request: &Req) -> Next<Req, Out>
    where
        Req: Clone,
    {
        let request = request.clone();
        let next = {
            let mut state = self.state.lock();
            state.requests.push(request);
            match state.planned.pop_front() {
                Some(planned) => Next::Planned(planned),
                None => Next::Standing(state.standing.clone()),
            }
        };
        self.calls.send_modify(|calls| *calls += 1);
        next
    }
}

impl<Req, Out> Clone for Standing<Req, Out> {
    fn clone(&self) -> Self {
        match self {
            Self::Untold => Self::Untold,
            Self::Hangs => Self::Hangs,
            Self::Answers(answers) => Self::Answers(answers.clone()),
        }
    }
}

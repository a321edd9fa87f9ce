//! One call for all who ask while another one is on its way.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::client::Timestamps;
use crate::error::Error;
use crate::service::MAX_BATCH;

type Batch = Shared<BoxFuture<'static, Result<Timestamps, Error>>>;

/// How a call gets its timestamps.
pub(crate) enum Share {
    /// By itself, as nobody else is asking; others wait until this is dropped.
    Alone(#[allow(dead_code, reason = "its drop tells the others")] DropGuard),
    /// As a part of a batch.
    Of {
        /// Whoever polls it drives it for all.
        batch: Batch,
        /// How many timestamps of it belong to others, who came before.
        offset: u32,
    },
}

/// What is on its way, and who waits for its end: those share the next call.
///
/// A call that is alone is made by its caller, in its own future: the machinery of sharing would double its latency.
#[derive(Default)]
pub(crate) struct Batches {
    newest: Mutex<Newest>,
}

#[derive(Default)]
enum Newest {
    #[default]
    Nothing,
    /// A call by itself, and its end.
    Alone(CancellationToken),
    Batch {
        /// How many timestamps are asked for; `None` once it has begun.
        asked: Arc<Mutex<Option<u32>>>,
        /// Gone when nobody waits for it any more.
        batch: WeakShared<BoxFuture<'static, Result<Timestamps, Error>>>,
    },
}

/// What has not ended, and somebody waits for.
enum Running {
    Alone(CancellationToken),
    Batch(Arc<Mutex<Option<u32>>>, Batch),
}

impl Newest {
    fn running(&self) -> Option<Running> {
        match self {
            Self::Nothing => None,
            Self::Alone(end) => (!end.is_cancelled()).then(|| Running::Alone(end.clone())),
            Self::Batch { asked, batch } => {
                let batch = batch.upgrade().filter(|batch| batch.peek().is_none())?;
                Some(Running::Batch(asked.clone(), batch))
            }
        }
    }
}

impl Batches {
    /// Gives the caller its own call if none is on its way. Else it joins the newest batch, if that has room and has not
    /// begun, or makes another, which begins when what is on its way has ended, and asks for the timestamps of all who have
    /// joined it by then.
    pub(crate) fn join<F>(&self, count: u32, ask: impl FnOnce(u32) -> F + Send + 'static) -> Share
    where
        F: Future<Output = Result<Timestamps, Error>> + Send + 'static,
    {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = newest.running() else {
            let end = CancellationToken::new();
            *newest = Newest::Alone(end.clone());
            return Share::Alone(end.drop_guard());
        };
        let before = match running {
            Running::Alone(end) => end.cancelled_owned().boxed(),
            Running::Batch(asked, batch) => {
                let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(offset) = *asked
                    && offset + count <= MAX_BATCH
                {
                    *asked = Some(offset + count);
                    return Share::Of { batch, offset };
                }
                // Its outcome is of no interest here, only its end.
                batch.map(drop).boxed()
            }
        };
        let asked = Arc::new(Mutex::new(Some(count)));
        let all = asked.clone();
        let batch = async move {
            before.await;
            let total = all.lock().unwrap_or_else(PoisonError::into_inner).take();
            ask(total.unwrap_or(count)).await
        };
        let batch = batch.boxed().shared();
        *newest = batch.downgrade().map_or(Newest::Nothing, |batch| Newest::Batch { asked, batch });
        Share::Of { batch, offset: 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use tokio::sync::Semaphore;

    use super::*;

    /// Grants when it is let, and notes what it was asked for.
    #[derive(Clone)]
    struct Server {
        gate: Arc<Semaphore>,
        next: Arc<AtomicU32>,
        calls: Arc<Mutex<Vec<u32>>>,
    }

    impl Server {
        fn new() -> Self {
            Self { gate: Arc::new(Semaphore::new(0)), next: Arc::default(), calls: Arc::default() }
        }

        fn ask(&self) -> impl FnOnce(u32) -> BoxFuture<'static, Result<Timestamps, Error>> + Send + 'static {
            let server = self.clone();
            move |count| {
                async move {
                    server.calls.lock().unwrap().push(count);
                    server.gate.acquire().await.unwrap().forget();
                    let first = server.next.fetch_add(count, Relaxed).into();
                    Ok(Timestamps { first, count, epoch: 1 })
                }
                .boxed()
            }
        }
    }

    fn alone(share: Share) -> DropGuard {
        match share {
            Share::Alone(guard) => guard,
            Share::Of { .. } => panic!("it is not alone"),
        }
    }

    fn shared(share: Share) -> (Batch, u32) {
        match share {
            Share::Of { batch, offset } => (batch, offset),
            Share::Alone(_) => panic!("it is alone"),
        }
    }

    /// Polls it once, so that it begins if it can.
    fn polled((batch, offset): (Batch, u32)) -> (Batch, u32) {
        assert!(batch.clone().now_or_never().is_none());
        (batch, offset)
    }

    #[tokio::test]
    async fn who_asks_meanwhile_shares_the_next_call() {
        let (server, batches) = (Server::new(), Batches::default());
        let first = alone(batches.join(1, server.ask()));
        let others: Vec<_> = (0..5).map(|_| polled(shared(batches.join(2, server.ask())))).collect();
        let offsets: Vec<_> = others.iter().map(|(_, offset)| *offset).collect();
        assert_eq!(offsets, [0, 2, 4, 6, 8]);
        assert!(server.calls.lock().unwrap().is_empty(), "the first one is on its way");
        drop(first);
        let (second, third) = (polled(others[0].clone()), shared(batches.join(7, server.ask())));
        assert_eq!(third.1, 0, "the batch has begun");
        server.gate.add_permits(2);
        for (batch, _) in others {
            assert_eq!(batch.await.unwrap().count, 10);
        }
        drop(second);
        assert_eq!(third.0.await.unwrap().first, 10);
        assert_eq!(*server.calls.lock().unwrap(), [10, 7]);
        alone(batches.join(1, server.ask()));
    }

    #[tokio::test]
    async fn whoever_goes_leaves_the_others_alone() {
        let (server, batches) = (Server::new(), Batches::default());
        let first = alone(batches.join(1, server.ask()));
        let (gone, other) =
            (polled(shared(batches.join(3, server.ask()))), shared(batches.join(4, server.ask())));
        drop(first);
        drop(polled(gone));
        server.gate.add_permits(1);
        assert_eq!((other.1, other.0.await.unwrap().count), (3, 7));
    }

    #[tokio::test]
    async fn a_batch_that_nobody_waits_for_is_given_up() {
        let (server, batches) = (Server::new(), Batches::default());
        let first = alone(batches.join(1, server.ask()));
        drop(polled(shared(batches.join(2, server.ask()))));
        drop(first);
        alone(batches.join(1, server.ask()));
        assert!(server.calls.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_batch_is_not_larger_than_a_call_may_be() {
        let (server, batches) = (Server::new(), Batches::default());
        let first = alone(batches.join(1, server.ask()));
        let shares = [1, MAX_BATCH, 1].map(|count| polled(shared(batches.join(count, server.ask()))));
        server.gate.add_permits(3);
        drop(first);
        for (batch, _) in shares {
            batch.await.unwrap();
        }
        assert_eq!(*server.calls.lock().unwrap(), [1, MAX_BATCH, 1]);
    }
}

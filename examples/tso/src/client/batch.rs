//! One call for all who ask while another one is on its way.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};

use crate::client::Timestamps;
use crate::error::Error;
use crate::service::MAX_BATCH;

type Batch = Shared<BoxFuture<'static, Result<Timestamps, Error>>>;

/// A place in a batch.
pub(crate) struct Share {
    /// Whoever polls it drives it for all.
    pub(crate) batch: Batch,
    /// How many timestamps of it belong to others, who came before.
    pub(crate) offset: u32,
}

/// The newest batch. It begins when the one before it has ended, and is joined until then.
#[derive(Default)]
pub(crate) struct Batches {
    newest: Mutex<Option<Newest>>,
}

struct Newest {
    /// How many timestamps are asked for; `None` once it has begun.
    asked: Arc<Mutex<Option<u32>>>,
    /// Gone when nobody waits for it any more.
    batch: WeakShared<BoxFuture<'static, Result<Timestamps, Error>>>,
}

impl Batches {
    /// Joins the newest batch if it has room and has not begun, and else makes another, which asks for the timestamps of all
    /// who join it.
    pub(crate) fn join<F>(&self, count: u32, ask: impl FnOnce(u32) -> F + Send + 'static) -> Share
    where
        F: Future<Output = Result<Timestamps, Error>> + Send + 'static,
    {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let before = newest.as_ref().and_then(|newest| Some((newest, newest.batch.upgrade()?)));
        if let Some((newest, batch)) = &before {
            let mut asked = newest.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(offset) = *asked
                && offset + count <= MAX_BATCH
            {
                *asked = Some(offset + count);
                return Share { batch: batch.clone(), offset };
            }
        }
        let before = before.map(|(_, batch)| batch);
        let asked = Arc::new(Mutex::new(Some(count)));
        let all = asked.clone();
        let batch = async move {
            if let Some(before) = before {
                // Its outcome is of no interest here, only its end.
                let _ = before.await;
            }
            let total = all.lock().unwrap_or_else(PoisonError::into_inner).take();
            ask(total.unwrap_or(count)).await
        };
        let batch = batch.boxed().shared();
        *newest = batch.downgrade().map(|batch| Newest { asked, batch });
        Share { batch, offset: 0 }
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

    #[tokio::test]
    async fn who_asks_meanwhile_shares_the_next_call() {
        let (server, batches) = (Server::new(), Batches::default());
        let first = batches.join(1, server.ask());
        let mut first = tokio_test_poll(first);
        let others: Vec<_> = (0..5).map(|_| batches.join(2, server.ask())).collect();
        let offsets: Vec<_> = others.iter().map(|share| share.offset).collect();
        assert_eq!(offsets, [0, 2, 4, 6, 8]);
        server.gate.add_permits(2);
        assert_eq!((&mut first.batch).await.unwrap().first, 0);
        for share in others {
            assert_eq!(share.batch.await.unwrap().first, 1);
        }
        assert_eq!(*server.calls.lock().unwrap(), [1, 10]);
    }

    #[tokio::test]
    async fn whoever_goes_leaves_the_others_alone() {
        let (server, batches) = (Server::new(), Batches::default());
        let first = tokio_test_poll(batches.join(1, server.ask()));
        let (gone, other) = (batches.join(3, server.ask()), batches.join(4, server.ask()));
        drop(first);
        drop(gone);
        server.gate.add_permits(2);
        assert_eq!((other.offset, other.batch.await.unwrap().count), (3, 7));
    }

    #[tokio::test]
    async fn a_batch_that_nobody_waits_for_is_given_up() {
        let (server, batches) = (Server::new(), Batches::default());
        drop(tokio_test_poll(batches.join(1, server.ask())));
        server.gate.add_permits(1);
        let next = batches.join(1, server.ask());
        assert_eq!(next.batch.await.unwrap().first, 0, "nothing was granted to the one before");
    }

    #[tokio::test]
    async fn a_batch_is_not_larger_than_a_call_may_be() {
        let (server, batches) = (Server::new(), Batches::default());
        let shares = [1, MAX_BATCH, 1].map(|count| batches.join(count, server.ask()));
        let shares: Vec<_> = shares.into_iter().map(tokio_test_poll).collect();
        server.gate.add_permits(3);
        for share in shares {
            share.batch.await.unwrap();
        }
        assert!(server.calls.lock().unwrap().iter().all(|count| *count <= MAX_BATCH));
    }

    /// Polls it once, so that it begins.
    fn tokio_test_poll(mut share: Share) -> Share {
        assert!((&mut share.batch).now_or_never().is_none());
        share
    }
}

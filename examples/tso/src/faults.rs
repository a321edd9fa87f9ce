//! Trouble to order, for tests of whole processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use gorums::{ServerContext, Status};

use crate::clock::SystemClock;
use crate::mark::Mark;
use crate::proto::{Faults, FaultsReply, FaultsRequest};
use crate::store::{MarkStore, Trouble};

/// A store of which the next accesses can be made to fail.
#[derive(Debug)]
pub(crate) struct FaultyStore<S> {
    pub(crate) store: S,
    pub(crate) failures: Arc<AtomicU32>,
}

impl<S> FaultyStore<S> {
    fn pass(&self) -> Result<(), Trouble> {
        match self.failures.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => Err(Trouble::Transient("it was ordered to fail".into())),
            Err(_) => Ok(()),
        }
    }
}

impl<S: MarkStore> MarkStore for FaultyStore<S> {
    async fn load(&self) -> Result<Option<Mark>, Trouble> {
        self.pass()?;
        self.store.load().await
    }

    async fn persist(&self, mark: Mark) -> Result<(), Trouble> {
        self.pass()?;
        self.store.persist(mark).await
    }
}

/// Takes orders.
#[derive(Debug)]
pub(crate) struct FaultsService {
    pub(crate) failures: Arc<AtomicU32>,
    pub(crate) clock: Arc<SystemClock>,
}

impl Faults for FaultsService {
    async fn order(&self, _: &ServerContext, request: FaultsRequest) -> Result<FaultsReply, Status> {
        self.failures.store(request.failures, Relaxed);
        self.clock.shift(request.clock_shift_ms);
        Ok(FaultsReply {})
    }
}

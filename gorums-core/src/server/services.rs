//! The services that a process offers: given at once, or after its streams have been opened.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::server::handler::Methods;
use crate::sync::Mutex;

/// Where the dispatchers of a process find its methods.
///
/// A service may hold the configuration through which it can be called, and so itself: taking the services
/// [away](Self::withdraw) at the end frees both.
#[derive(Clone)]
pub(crate) struct Services {
    slot: Arc<Slot>,
}

#[derive(Default)]
struct Slot {
    methods: Mutex<Option<Arc<Methods>>>,
    /// The methods are there.
    offered: CancellationToken,
}

impl Services {
    /// Services that are there from the start.
    pub(crate) fn new(methods: Methods) -> Self {
        let services = Self::later();
        services.offer(methods);
        services
    }

    /// Services to be [offered](Self::offer) later. Requests wait for them.
    pub(crate) fn later() -> Self {
        Self { slot: Arc::default() }
    }

    pub(crate) fn offer(&self, methods: Methods) {
        *self.slot.methods.lock() = Some(methods.finish());
        self.slot.offered.cancel();
    }

    /// Cancelled once the services are there.
    pub(crate) fn offered(&self) -> &CancellationToken {
        &self.slot.offered
    }

    /// The methods; none before they are offered, and after they were withdrawn.
    pub(crate) fn methods(&self) -> Arc<Methods> {
        self.slot.methods.lock().clone().unwrap_or_default()
    }

    /// Drops the services, as soon as no handler uses them any more.
    pub(crate) fn withdraw(&self) {
        let methods = self.slot.methods.lock().take();
        drop(methods);
    }
}

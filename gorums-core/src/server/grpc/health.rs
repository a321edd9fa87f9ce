//! The standard health service, which probes as those of Kubernetes ask.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthRpc, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::GrpcServices;
use crate::server::ServerBuilder;
use crate::server::services::Services;

/// What a server says of its health, for [`ServerBuilder::health`]. Clones say the same.
///
/// Every service of the server serves until it is told otherwise, as does the server as a whole, whose name is
/// [`Health::SERVER`]. The names do not depend on each other: a probe of Kubernetes asks about the server as a whole unless
/// it names a service. When the server shuts down, nothing of it serves any more, whatever was set.
///
/// ```
/// use gorums_core::{Health, Server};
///
/// let health = Health::new();
/// health.set_not_serving(Health::SERVER); // until it has recovered what was on its disk
/// let server = Server::builder().health(&health);
/// // .. and later
/// health.set_serving(Health::SERVER);
/// # drop(server);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// What was told, by the names of services.
    told: Arc<watch::Sender<HashMap<String, bool>>>,
}

impl Health {
    /// The name of the server as a whole: the empty one.
    pub const SERVER: &'static str = "";

    /// Everything serves.
    pub fn new() -> Self {
        Self::default()
    }

    /// The service serves, as `storage.Storage`, or the server as a whole, [`SERVER`](Self::SERVER).
    pub fn set_serving(&self, service: &str) {
        self.set(service, true);
    }

    /// The service, or the server as a whole, does not serve: a replica that has lost its quorum, say. Calls are
    /// handled all the same.
    pub fn set_not_serving(&self, service: &str) {
        self.set(service, false);
    }

    fn set(&self, service: &str, serves: bool) {
        self.told.send_if_modified(|told| told.insert(service.to_owned(), serves) != Some(serves));
    }
}

impl ServerBuilder {
    /// Offers the standard gRPC service `grpc.health.v1.Health`, which says of this server, of its services and of its
    /// [gRPC services](Self::add_grpc_service) what `health` does.
    ///
    /// Those who watch a service, by the method `Watch`, are told that it does not serve when the server shuts down, and
    /// their call ends: it does not hold the shutdown up.
    ///
    /// ```no_run
    /// # async fn run(storage: impl gorums_core::codegen::Service) -> Result<(), gorums_core::ServerError> {
    /// use gorums_core::{Health, Server};
    ///
    /// Server::builder().add_service(storage).health(&Health::new()).serve("0.0.0.0:8080").await
    /// # }
    /// ```
    #[must_use]
    pub fn health(mut self, health: &Health) -> Self {
        self.grpc.health = Some(health.clone());
        self
    }
}

impl GrpcServices {
    pub(super) fn add_health(&mut self, services: &Services, stopping: &CancellationToken) {
        let Some(health) = self.health.take() else { return };
        let (services, stopping) = (services.clone(), stopping.clone());
        let others = self.table.keys().copied().chain([HealthServer::<Told>::NAME]).collect();
        self.add(HealthServer::new(Told { health, services, others, stopping }));
    }
}

/// What of the server the health service has to know.
#[derive(Clone)]
struct Told {
    health: Health,
    services: Services,
    /// The names of the gRPC services.
    others: Arc<[&'static str]>,
    stopping: CancellationToken,
}

impl Told {
    fn status(&self, service: &str, told: &HashMap<String, bool>) -> ServingStatus {
        let serves = told.get(service).copied().or_else(|| self.knows(service).then_some(true));
        match serves {
            None => ServingStatus::ServiceUnknown,
            Some(true) if !self.stopping.is_cancelled() => ServingStatus::Serving,
            Some(_) => ServingStatus::NotServing,
        }
    }

    fn knows(&self, service: &str) -> bool {
        service == Health::SERVER
            || self.others.contains(&service)
            || self.services.methods().has_service(service)
    }
}

/// Somebody who watches a service.
struct Watcher {
    told: Told,
    service: String,
    changes: watch::Receiver<HashMap<String, bool>>,
    last: Option<ServingStatus>,
}

impl Watcher {
    /// The next status that differs from the last; nothing after the server was told to stop.
    async fn next(&mut self) -> Option<ServingStatus> {
        loop {
            let stopping = self.told.stopping.is_cancelled();
            let status = self.told.status(&self.service, &self.changes.borrow_and_update());
            if self.last != Some(status) {
                self.last = Some(status);
                return self.last;
            }
            if stopping {
                return None;
            }
            let stopped = pin!(self.told.stopping.cancelled());
            tokio::select! {
                () = stopped => {}
                // The sender is one of `told`.
                _ = self.changes.changed() => {}
            }
        }
    }
}

#[tonic::async_trait]
impl HealthRpc for Told {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        match self.status(&service, &self.health.told.borrow()) {
            ServingStatus::ServiceUnknown => Err(Status::not_found(format!("no service `{service}`"))),
            status => Ok(Response::new(response(status))),
        }
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let changes = self.health.told.subscribe();
        let watcher = Watcher { told: self.clone(), service, changes, last: None };
        let statuses = stream::unfold(watcher, async |mut watcher| {
            let status = watcher.next().await?;
            Some((Ok(response(status)), watcher))
        });
        Ok(Response::new(statuses.boxed()))
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

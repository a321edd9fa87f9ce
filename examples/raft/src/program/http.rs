//! Health and metrics over HTTP.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::node::Node;
use crate::program::output::notice;

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 64;
/// How long a client may take to send the head of its request.
const PATIENCE: Duration = Duration::from_secs(5);
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Listens for HTTP, and tells where.
///
/// # Errors
///
/// The address cannot be listened on.
pub async fn listen(address: &str) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    notice(&format!("http on {}", listener.local_addr()?));
    Ok(listener)
}

/// What an application on the node adds.
pub struct Extras {
    /// Its metrics, in the text format of `OpenMetrics`, without its end mark.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// Whether it serves, if the node leads.
    pub serving: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Default for Extras {
    /// Nothing.
    fn default() -> Self {
        Self { metrics: Box::new(String::new), serving: Box::new(|| true) }
    }
}

impl std::fmt::Debug for Extras {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extras").finish_non_exhaustive()
    }
}

/// Answers `GET /health`, which is 200 on the leader alone, if the application serves; `GET /ready`, which is 200 while the
/// node takes part; and `GET /metrics`, those of the node and those of the application. Until it is dropped.
pub async fn serve(listener: TcpListener, node: Node, more: Extras) {
    let more = Arc::new(more);
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(connection) = connections.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Such as too many open files, which passes.
                tracing::warn!("http: {error}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (node, more) = (node.clone(), more.clone());
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let response = answer(&node, &more, &request);
                async { Ok::<_, Infallible>(response) }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
            if let Err(error) = server.serve_connection(TokioIo::new(stream), answer).await {
                tracing::debug!("http: {error}");
            }
            drop(connection);
        });
    }
}

fn answer(node: &Node, more: &Extras, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
    }
    let said = |good: bool, yes: &str, no: &str| {
        let (status, what) = if good { (StatusCode::OK, yes) } else { (StatusCode::SERVICE_UNAVAILABLE, no) };
        text(status, format!("{what}\n"))
    };
    match request.uri().path() {
        "/health" => {
            said(node.leadership().borrow().is_leading() && (more.serving)(), "leader", "not the leader")
        }
        "/ready" => said(node.is_ready(), "ready", "not ready"),
        "/metrics" => match node.metrics() {
            Ok(metrics) => {
                let mut response = text(StatusCode::OK, (more.metrics)() + &metrics);
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(OPENMETRICS));
                response
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, "there are /health, /ready and /metrics\n".into()),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}

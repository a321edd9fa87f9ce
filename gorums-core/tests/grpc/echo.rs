//! A gRPC service by hand, as tonic generates them, and its client.

use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::stream::{self, BoxStream, StreamExt};
use gorums_core::{Code, GrpcPeer, Status};
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::client::Grpc as Client;
use tonic::server::{Grpc, NamedService};
use tonic::transport::Channel;
use tonic::{IntoRequest, IntoStreamingRequest, Request, Response, Streaming};
use tonic_prost::ProstCodec;

use crate::common::Text;

/// More than any message here.
const LIMIT: usize = 64 << 20;

/// What the handlers have seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    running: AtomicUsize,
    pub(crate) sent: AtomicUsize,
    /// How the body ended for a task that a handler had given it to.
    pub(crate) detached: Mutex<Option<Code>>,
    pub(crate) peers: Mutex<Vec<GrpcPeer>>,
}

impl Seen {
    /// Handlers, and streams of theirs, that are still there.
    pub(crate) fn running(&self) -> usize {
        self.running.load(SeqCst)
    }

    fn enter(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, SeqCst);
        Running(self.clone())
    }
}

struct Running(Arc<Seen>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

#[derive(Clone)]
pub(crate) struct Echo(Arc<Seen>);

type Replies = BoxStream<'static, Result<Text, Status>>;

impl Echo {
    pub(crate) fn new() -> (Self, Arc<Seen>) {
        let seen = Arc::<Seen>::default();
        (Self(seen.clone()), seen)
    }

    /// Commands are in the text, as with [`Test`](crate::common::Test).
    async fn unary(self, request: Request<Text>) -> Result<Response<Text>, Status> {
        let _running = self.0.enter();
        self.0.peers.lock().unwrap().extend(request.extensions().get::<GrpcPeer>().cloned());
        let said = request.into_inner();
        match said.text.as_str() {
            "fail" => {
                let mut status = Status::failed_precondition("told to fail");
                status.metadata_mut().insert("why", "because".parse().unwrap());
                Err(status)
            }
            "panic" => panic!("told to panic"),
            "hang" => pending().await,
            _ => Ok(Response::new(said)),
        }
    }

    /// As many replies as the number says.
    fn count(self, request: Request<Text>) -> Response<Replies> {
        let (running, said) = (self.0.enter(), request.into_inner());
        let replies = stream::iter(1..=said.number).map(move |number| {
            running.0.sent.fetch_add(1, SeqCst);
            Ok(Text { text: said.text.clone(), number })
        });
        Response::new(replies.boxed())
    }

    /// Echoes what is said, until it is told to fail, to panic, or to leave what is said to nobody.
    fn chat(self, request: Request<Streaming<Text>>) -> Response<Replies> {
        let running = self.0.enter();
        let said = request.into_inner();
        let replies = stream::unfold((said, running), async |(mut said, running)| {
            let reply = match said.next().await? {
                Ok(text) if text.text == "fail" => Err(Status::aborted("told to fail")),
                Ok(text) if text.text == "panic" => panic!("told to panic"),
                Ok(text) if text.text == "hang" => pending().await,
                Ok(text) if text.text == "detach" => {
                    let seen = running.0.clone();
                    tokio::spawn(async move {
                        let end = said.next().await;
                        *seen.detached.lock().unwrap() =
                            end.and_then(Result::err).map(|status| status.code());
                    });
                    return pending().await;
                }
                said => said,
            };
            Some((reply, (said, running)))
        });
        Response::new(replies.boxed())
    }
}

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl tower_service::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        let mut grpc = Grpc::new(ProstCodec::<Text, Text>::default()).max_decoding_message_size(LIMIT);
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/test.Echo/Unary" => {
                    grpc.unary(tower::service_fn(|request| echo.clone().unary(request)), request).await
                }
                "/test.Echo/Count" => {
                    let count = tower::service_fn(|request| ready(Ok(echo.clone().count(request))));
                    grpc.server_streaming(count, request).await
                }
                "/test.Echo/Chat" => {
                    let chat = tower::service_fn(|request| ready(Ok(echo.clone().chat(request))));
                    grpc.streaming(chat, request).await
                }
                _ => Status::unimplemented("no such method of test.Echo").into_http(),
            })
        })
    }
}

/// Makes a call with one reply.
pub(crate) async fn unary(channel: Channel, path: &'static str, said: Text) -> Result<Text, Status> {
    unary_with(channel, path, said.into_request()).await
}

pub(crate) async fn unary_with(
    channel: Channel,
    path: &'static str,
    request: Request<Text>,
) -> Result<Text, Status> {
    let mut client = client(channel).await;
    let codec = ProstCodec::<Text, Text>::default();
    client.unary(request, PathAndQuery::from_static(path), codec).await.map(Response::into_inner)
}

pub(crate) async fn count(channel: Channel, said: Text) -> Result<Streaming<Text>, Status> {
    let mut client = client(channel).await;
    let codec = ProstCodec::<Text, Text>::default();
    let path = PathAndQuery::from_static("/test.Echo/Count");
    client.server_streaming(said.into_request(), path, codec).await.map(Response::into_inner)
}

pub(crate) async fn chat<M: prost::Message + Default + 'static>(
    channel: Channel,
    path: &'static str,
    said: impl IntoStreamingRequest<Message = M>,
) -> Result<Streaming<M>, Status> {
    let mut client = client(channel).await;
    let codec = ProstCodec::<M, M>::default();
    let path = PathAndQuery::from_static(path);
    client.streaming(said.into_streaming_request(), path, codec).await.map(Response::into_inner)
}

async fn client(channel: Channel) -> Client<Channel> {
    let mut client = Client::new(channel).max_decoding_message_size(LIMIT);
    client.ready().await.unwrap();
    client
}

/// A chat, and what to say in it.
pub(crate) async fn talk(channel: &Channel) -> (mpsc::Sender<Text>, Streaming<Text>) {
    let (say, said) = mpsc::channel(1);
    let said = stream::unfold(said, async |mut said| Some((said.recv().await?, said)));
    let replies = chat(channel.clone(), "/test.Echo/Chat", Request::new(said.boxed())).await.unwrap();
    (say, replies)
}

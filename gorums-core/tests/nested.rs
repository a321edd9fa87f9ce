//! Calls that handlers make: what they inherit, and that no deadlock stays without an explanation.
#![allow(clippy::unwrap_used)]

mod common;

use std::future::IntoFuture;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{ECHO, OnConfiguration, OnNode, Test, Text, Transport, faulty, text, within};
use gorums_core::testing::Cluster;
use gorums_core::{
    CallType, Code, Configuration, Method, Methods, NodeErrorKind, QuorumErrorKind, Retry, Server,
    ServerContext, Service, Status,
};
use tokio::sync::Notify;
use tokio::time::Instant;

const OUTER: Method<Text, Text> = Method::prost("test.Outer.Call", CallType::QuorumCall);
const OUTER_NOTE: Method<Text, ()> = Method::prost("test.Outer.Note", CallType::Multicast);
const SECOND: Duration = Duration::from_secs(1);

/// Makes calls on other nodes when it is called.
struct Outer {
    inner: Configuration,
    errors: Arc<Mutex<Vec<QuorumErrorKind>>>,
    ended: Arc<Notify>,
}

impl Outer {
    async fn call(&self, ctx: &ServerContext, request: Text) -> Result<Text, Status> {
        let (release, command) = match request.text.strip_prefix("release,") {
            Some(command) => (true, command),
            None => (false, request.text.as_str()),
        };
        if release {
            ctx.release();
        }
        let result = match command {
            "detach" => {
                let inner = self.inner.clone();
                let work = async move { inner.quorum_call(&ECHO, text("sleep:2000")).all().await };
                ctx.detach(10 * SECOND, work).await.unwrap()
            }
            "never" => {
                let replies = self.inner.streaming_call(&common::COUNT, text("")).no_timeout().send();
                futures_util::StreamExt::for_each(replies, |_| std::future::ready(())).await;
                Ok(text("ended"))
            }
            command => self.inner.quorum_call(&ECHO, text(command)).timeout(60 * SECOND).all().await,
        };
        if let Err(error) = &result {
            self.errors.lock().unwrap().push(error.kind());
        }
        self.ended.notify_one();
        Ok(result?)
    }
}

impl Service for Outer {
    const NAME: &'static str = "test.Outer";

    fn register(self, methods: &mut Methods) {
        let outer = Arc::new(self);
        methods.two_way(&OUTER, &outer, |outer, ctx, request| async move { outer.call(&ctx, request).await });
        methods.one_way(&OUTER_NOTE, &outer, |outer, ctx, request| async move {
            let _ = outer.call(&ctx, request).await;
        });
    }
}

struct World {
    inner: Cluster,
    test: Test,
    outer: Cluster,
    client: Configuration,
    errors: Arc<Mutex<Vec<QuorumErrorKind>>>,
    ended: Arc<Notify>,
}

/// A client, a node that it calls, and a node that this one calls.
async fn world() -> World {
    let (mut inner, tests) = faulty(Transport::Memory, 1).await;
    let configuration = inner.configuration();
    configuration.wait_connected().await.unwrap();
    let (errors, ended) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Notify>::default());
    let (errors_there, ended_there) = (errors.clone(), ended.clone());
    let mut outer = Cluster::in_memory(1, move |_| {
        let (inner, errors, ended) = (configuration.clone(), errors_there.clone(), ended_there.clone());
        Server::builder().add_service(Outer { inner, errors, ended })
    })
    .await;
    let client = outer.configuration();
    World { inner, test: tests[0].clone(), outer, client, errors, ended }
}

/// G8: the inner node is told how long the outer caller still waits, whatever the handler asked for.
#[tokio::test(start_paused = true)]
async fn the_deadline_is_inherited() {
    let world = world().await;
    let started = Instant::now();
    let error =
        world.client.quorum_call(&OUTER, text("release,hang")).timeout(3 * SECOND).all().await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::DeadlineExceeded);
    world.ended.notified().await;
    assert!(started.elapsed() >= 3 * SECOND && started.elapsed() < 4 * SECOND, "{:?}", started.elapsed());
    let remaining = world.test.seen.last_remaining.lock().unwrap().unwrap();
    assert!(remaining > 2 * SECOND && remaining <= 3 * SECOND, "{remaining:?}");
    assert_eq!(*world.errors.lock().unwrap(), [QuorumErrorKind::DeadlineExceeded]);
    // A shorter deadline of its own stays.
    world.client.quorum_call(&OUTER, text("x")).timeout(100 * SECOND).all().await.unwrap();
    let remaining = world.test.seen.last_remaining.lock().unwrap().unwrap();
    assert!(remaining <= 60 * SECOND, "{remaining:?}");
    world.finish().await;
}

/// G8: when the outer caller goes, the inner call ends, and its handler is told.
#[tokio::test(start_paused = true)]
async fn cancellation_is_inherited() {
    let world = world().await;
    for command in ["hang", "release,hang", "never"] {
        let calls_before = world.test.seen.texts.lock().unwrap().len();
        let numbers_before = world.test.seen.numbers.lock().unwrap().len();
        let call = world.client.quorum_call(&OUTER, text(command)).timeout(50 * SECOND).send();
        let seen = || {
            let (texts, numbers) = (&world.test.seen.texts, &world.test.seen.numbers);
            texts.lock().unwrap().len() > calls_before || numbers.lock().unwrap().len() > numbers_before
        };
        while !seen() {
            tokio::task::yield_now().await;
        }
        let dropped = Instant::now();
        drop(call);
        world.ended.notified().await;
        assert!(dropped.elapsed() < SECOND, "{command}: {:?}", dropped.elapsed());
    }
    assert_eq!(*world.errors.lock().unwrap(), [QuorumErrorKind::Cancelled; 2]);
    while world.test.seen.cancelled.load(SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    world.finish().await;
}

/// G5: the status of a handler whose nested call was lost says that it may have taken effect, whatever its code, and what
/// is not idempotent is not asked again.
#[tokio::test(start_paused = true)]
async fn doubt_is_passed_on() {
    let mut world = world().await;
    let call = world.client.quorum_call(&OUTER, text("release,hang")).retry(Retry::up_to(3));
    let call = tokio::spawn(call.timeout(50 * SECOND).all().into_future());
    while world.test.seen.texts.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    world.inner.stop(1).await;
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.nodes()[0].status().unwrap().code(), Code::Unavailable, "{error}");
    assert!(error.is_transient() && error.is_ambiguous(), "{error}");
    assert_eq!(world.errors.lock().unwrap().len(), 1, "it was asked again");
    // What was never sent has done nothing.
    let call = world.client.quorum_call(&OUTER, text("x")).retry(Retry::up_to(3));
    let error = call.timeout(50 * SECOND).all().await.unwrap_err();
    assert!(error.is_transient() && !error.is_ambiguous(), "{error}");
    assert_eq!(world.errors.lock().unwrap().len(), 1 + 3);
    world.finish().await;
}

/// Nobody waits for a one-way message, so that calls on its behalf have their own deadline only; nor do calls that
/// were detached.
#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_inherits_nothing() {
    let world = world().await;
    world.client.multicast(&OUTER_NOTE, text("x")).timeout(SECOND).await.unwrap();
    world.ended.notified().await;
    let remaining = world.test.seen.last_remaining.lock().unwrap().unwrap();
    assert!(remaining > 50 * SECOND, "{remaining:?}");
    let error = world.client.quorum_call(&OUTER, text("detach")).timeout(SECOND).all().await.unwrap_err();
    assert_eq!(error.kind(), QuorumErrorKind::DeadlineExceeded);
    world.ended.notified().await;
    assert!(world.errors.lock().unwrap().is_empty());
    world.finish().await;
}

impl World {
    async fn finish(self) {
        let Self { inner, outer, client, .. } = self;
        drop(client);
        outer.finish().await;
        inner.finish().await;
    }
}

/// Calls its caller back, which calls here again before it answers: that can only start once this has released.
struct PingPong {
    release: bool,
    depth: AtomicU64,
}

impl Service for PingPong {
    const NAME: &'static str = "test.Test";

    fn register(self, methods: &mut Methods) {
        methods.two_way(&ECHO, &Arc::new(self), |this, ctx, request| async move {
            if this.depth.fetch_add(1, SeqCst) > 0 {
                return Ok(request);
            }
            if this.release {
                ctx.release();
            }
            let caller = ctx.caller().ok_or_else(|| Status::internal("no caller"))?;
            match caller.rpc(&ECHO, request).await {
                Ok(reply) => Ok(reply),
                Err(error) => Ok(text(&error.to_string())),
            }
        });
    }
}

/// Asks whoever calls it.
struct AsksBack;

impl Service for AsksBack {
    const NAME: &'static str = "test.Test";

    fn register(self, methods: &mut Methods) {
        methods.two_way(&ECHO, &Arc::new(self), |_, ctx, request| async move {
            let caller = ctx.caller().ok_or_else(|| Status::internal("no caller"))?;
            Ok(caller.rpc(&ECHO, request).await?)
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_for_its_own_stream_learns_how_to_release_it() {
    for release in [true, false] {
        let service = move || PingPong { release, depth: AtomicU64::new(0) };
        let mut cluster = Cluster::in_memory(1, move |_| Server::builder().add_service(service())).await;
        let asks_back = Server::builder().add_service(AsksBack);
        let client = cluster.configure(|builder| builder.serve_callbacks(asks_back)).unwrap();
        let node = client.node(1).unwrap();
        let started = Instant::now();
        let result = within("call", node.rpc(&ECHO, text("x")).timeout(2 * SECOND)).await;
        if release {
            assert_eq!(result.unwrap().text, "x");
        } else {
            assert!(matches!(result.unwrap_err().kind(), NodeErrorKind::DeadlineExceeded));
            assert_eq!(started.elapsed().as_secs(), 2);
            // The others have the same deadline.
            tokio::time::sleep(SECOND).await;
        }
        drop(client);
        cluster.finish().await;
    }
}

/// The handler of a local call that calls its own node again.
struct CallsItself {
    own: std::sync::OnceLock<Configuration>,
    release: bool,
    depth: AtomicU64,
    error: Arc<Mutex<String>>,
}

#[tokio::test(start_paused = true)]
async fn a_local_handler_that_calls_itself_learns_how_to_release() {
    struct Shared(Arc<CallsItself>);

    impl Service for Shared {
        const NAME: &'static str = "test.Test";

        fn register(self, methods: &mut Methods) {
            methods.two_way(&ECHO, &Arc::new(self), |this, ctx, request| async move {
                if this.0.depth.fetch_add(1, SeqCst) > 0 {
                    return Ok(request);
                }
                if this.0.release {
                    ctx.release();
                }
                let own = this.0.own.get().unwrap();
                let result = own.quorum_call(&ECHO, request).all().await;
                if let Err(error) = &result {
                    *this.0.error.lock().unwrap() = error.to_string();
                }
                Ok(result?)
            });
        }
    }

    for release in [true, false] {
        let error = Arc::<Mutex<String>>::default();
        let service = CallsItself {
            own: std::sync::OnceLock::default(),
            release,
            depth: AtomicU64::new(0),
            error: error.clone(),
        };
        let service = Arc::new(service);
        let services = Server::builder().add_service(Shared(service.clone()));
        let configuration = Configuration::builder().local_node(1, services).connect_lazy().unwrap();
        service.own.set(configuration.clone()).ok().unwrap();
        let started = Instant::now();
        let result = configuration.quorum_call(&ECHO, text("x")).timeout(2 * SECOND).all().await;
        if release {
            assert_eq!(result.unwrap().text, "x");
        } else {
            assert_eq!(result.unwrap_err().kind(), QuorumErrorKind::Incomplete);
            assert!(started.elapsed() < SECOND, "at once");
            let error = error.lock().unwrap().clone();
            assert!(error.contains("call `ctx.release()` before such a call"), "{error}");
            assert!(error.contains("the handler of test.Test.Echo waited"), "{error}");
            assert_eq!(service.depth.load(SeqCst), 1, "withdrawn");
            configuration.quorum_call(&ECHO, text("x")).all().await.unwrap();
        }
        assert_eq!(configuration.pending(), 0);
        configuration.close().await;
    }
}

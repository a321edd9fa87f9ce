//! A service that records what it is asked.

use std::sync::Arc;
use std::time::Duration;

use gorums_core::{CallType, Method, Methods, ServerContext, Service, Status, Updates};
use tokio::time::sleep;

use crate::record::{CallId, Event, Record, Run};

/// A request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Work {
    #[prost(uint32, tag = "1")]
    pub client: u32,
    #[prost(uint32, tag = "2")]
    pub number: u32,
    #[prost(uint32, tag = "3")]
    pub pause_ms: u32,
    #[prost(bool, tag = "4")]
    pub releases: bool,
    #[prost(bool, tag = "5")]
    pub fails: bool,
    #[prost(uint32, tag = "6")]
    pub updates: u32,
    #[prost(bytes = "vec", tag = "7")]
    pub padding: Vec<u8>,
}

/// A reply: whose it is, to what, and its place among the replies of a streaming call.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Done {
    #[prost(uint32, tag = "1")]
    pub node: u32,
    #[prost(uint32, tag = "2")]
    pub number: u32,
    #[prost(uint32, tag = "3")]
    pub update: u32,
}

pub const ADD: Method<Work, Done> = Method::prost("simulation.Log.Add", CallType::QuorumCall);
pub const SET: Method<Work, Done> = Method::prost("simulation.Log.Set", CallType::QuorumCall).idempotent();
pub const NOTE: Method<Work, ()> = Method::prost("simulation.Log.Note", CallType::Multicast);
pub const WATCH: Method<Work, Done> = Method::prost("simulation.Log.Watch", CallType::StreamingQuorumCall);

/// What a handler that is told to fail answers with: no other part of the system does.
pub const TOLD_TO_FAIL: gorums_core::Code = gorums_core::Code::FailedPrecondition;

pub struct Log {
    pub node: u32,
    pub record: Record,
}

/// A handler at work.
struct Working<'a> {
    record: &'a Record,
    run: Run,
    passed: bool,
}

impl Log {
    fn start(&self, ctx: &ServerContext, work: &Work) -> Working<'_> {
        let call = CallId { client: work.client, number: work.number };
        // The simulation gives ports in ascending order.
        let connection = ctx.peer_addr().map_or(0, |address| address.port());
        let run = Run { call, node: self.node, connection };
        self.record.add(Event::Started(run));
        Working { record: &self.record, run, passed: false }
    }

    async fn answer(&self, ctx: &ServerContext, work: &Work) -> Result<Done, Status> {
        let mut working = self.start(ctx, work);
        let result = working.work(ctx, work).await;
        if result.is_ok() {
            self.record.add(Event::Replied(working.run));
        }
        working.pass();
        result.map(|()| Done { node: self.node, number: work.number, update: 0 })
    }

    async fn watch(&self, ctx: &ServerContext, work: &Work, out: &mut Updates<Done>) -> Result<(), Status> {
        let mut working = self.start(ctx, work);
        let result = working.watch(ctx, work, out).await;
        working.pass();
        result
    }
}

impl Working<'_> {
    async fn work(&mut self, ctx: &ServerContext, work: &Work) -> Result<(), Status> {
        if work.releases {
            self.pass();
            ctx.release();
        }
        if work.pause_ms > 0 {
            sleep(Duration::from_millis(work.pause_ms.into())).await;
        }
        if work.fails { Err(Status::new(TOLD_TO_FAIL, "told to fail")) } else { Ok(()) }
    }

    async fn watch(
        &mut self,
        ctx: &ServerContext,
        work: &Work,
        out: &mut Updates<Done>,
    ) -> Result<(), Status> {
        for update in 0..work.updates {
            out.send(Done { node: self.run.node, number: work.number, update }).await?;
            sleep(Duration::from_millis(2)).await;
        }
        self.work(ctx, work).await
    }

    fn pass(&mut self) {
        if !std::mem::replace(&mut self.passed, true) {
            self.record.add(Event::Passed(self.run));
        }
    }
}

impl Service for Log {
    const NAME: &'static str = "simulation.Log";

    fn register(self, methods: &mut Methods) {
        let log = Arc::new(self);
        methods.two_way(&ADD, &log, |log, ctx, work| async move { log.answer(&ctx, &work).await });
        methods.two_way(&SET, &log, |log, ctx, work| async move { log.answer(&ctx, &work).await });
        methods.one_way(&NOTE, &log, |log, ctx, work| async move {
            let _ = log.answer(&ctx, &work).await;
        });
        methods.streaming(&WATCH, &log, |log, ctx, work, mut out| async move {
            log.watch(&ctx, &work, &mut out).await
        });
    }
}

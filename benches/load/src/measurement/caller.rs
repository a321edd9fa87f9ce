//! Those who call: all the time, or at the pace of a rate.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::contender::{Contender, Job};
use crate::pace::Pace;
use crate::recorder::{Phase, Recorder};

/// One caller.
pub(super) struct Caller<C> {
    pub(super) client: Arc<C>,
    pub(super) job: Arc<Job>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) index: usize,
}

/// The calls that count: those that are meant to start from here on, and before there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) from: Instant,
    pub(super) until: Instant,
}

impl Window {
    pub(super) fn contains(&self, moment: Instant) -> bool {
        (self.from..self.until).contains(&moment)
    }
}

impl<C: Contender> Caller<C> {
    /// Starts a call whenever the one before has ended: a *closed loop*.
    pub(super) async fn call_all_the_time(self) {
        while self.recorder.phase() != Phase::Stop {
            let start = Instant::now();
            let result = self.client.call(&self.job).await;
            self.ended(start, result).await;
        }
    }

    /// Has so many calls open all the time, and waits for the oldest.
    pub(super) async fn call_ahead(self, pipeline: usize) {
        let mut open = VecDeque::with_capacity(pipeline);
        while self.recorder.phase() != Phase::Stop {
            while open.len() < pipeline {
                open.push_back((Instant::now(), Box::pin(self.client.call(&self.job))));
            }
            if let Some((start, call)) = open.pop_front() {
                self.ended(start, call.await).await;
            }
        }
    }

    /// Starts calls when they are meant to start, as far as callers are free: an *open loop*.
    pub(super) async fn call_at_pace(self, pace: Arc<Pace>, window: Window) {
        while let Some(intended) = pace.next().await {
            let mut call = PacedCall { recorder: &self.recorder, index: self.index, intended, counts: false };
            call.counts = window.contains(intended);
            match self.client.call(&self.job).await {
                Ok(()) => call.succeeded(),
                Err(error) => {
                    self.recorder.failed(&error);
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    async fn ended(&self, start: Instant, result: anyhow::Result<()>) {
        match result {
            Ok(()) if self.recorder.phase() == Phase::Measure => {
                self.recorder.succeeded(self.index, start.elapsed());
            }
            Ok(()) => {}
            Err(error) => {
                self.recorder.failed(&error);
                // A contender that fails at once does not keep the others from working.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// A call that was meant to start at some moment. Whatever becomes of it, the time since then counts.
struct PacedCall<'a> {
    recorder: &'a Recorder,
    index: usize,
    intended: Instant,
    counts: bool,
}

impl PacedCall<'_> {
    fn succeeded(mut self) {
        if std::mem::take(&mut self.counts) {
            self.recorder.succeeded(self.index, self.intended.elapsed());
        }
    }
}

impl Drop for PacedCall<'_> {
    fn drop(&mut self) {
        if self.counts {
            self.recorder.latency(self.index, self.intended.elapsed());
        }
    }
}

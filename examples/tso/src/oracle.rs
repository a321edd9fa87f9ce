//! Follows leadership: the fence when it is gained, extensions while it lasts, and what to do about trouble.
//!
//! | trouble | at the fence | at an extension |
//! |---|---|---|
//! | transient | try again, 25 ms to 250 ms later, for as long as this node leads | keep serving what is granted, try again |
//! | not the leader, or fenced | step down, keep watching | the same |
//! | permanent | stop serving for good, and tell everybody | the same |
//!
//! The task ends with the node, or by permanent trouble, and by nothing else.

use std::sync::Arc;
use std::time::Duration;

use raft::Leadership;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::allocator::Allocator;
use crate::clock::Clock;
use crate::mark::Mark;
use crate::metrics::Meters;
use crate::node::Defect;
use crate::store::{MarkStore, Trouble, hint};
use crate::timestamp::{LOGICAL_BITS, MAX_PHYSICAL};

/// The pause after the first attempt that failed; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// After how many attempts the log is told, and how often then.
const FIRST_WARNING: u64 = 8;
const WARNING_EVERY: u64 = 20;
/// How long the clock is not looked at, at the most: it may step.
const LONGEST_LOOK: Duration = Duration::from_millis(100);
const SHORTEST_LOOK: Duration = Duration::from_millis(5);
/// After which a node that is said to lead, and was told that it does not, tries again.
const RECHECK: Duration = Duration::from_secs(1);

/// How an oracle grants.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How far ahead the log grants; 3 s.
    pub window_ahead: Duration,
    /// How much the fence grants to begin with; 1 s.
    pub failover_advance: Duration,
    /// How far timestamps may be ahead of the clock before they are refused; 60 s.
    pub max_ahead: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window_ahead: Duration::from_secs(3),
            failover_advance: Duration::from_secs(1),
            max_ahead: Duration::from_secs(60),
        }
    }
}

impl Options {
    /// The window is extended when less than this is left.
    fn least(&self) -> Duration {
        self.window_ahead.min(self.failover_advance) / 2
    }
}

/// Why an oracle has stopped for good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the oracle has stopped: {0}")]
pub struct Poison(pub String);

/// Keeps an [`Allocator`] within what the log grants to this node.
///
/// When the node gains leadership, the fence goes up: serving is cleared, an access to the mark that is still on its way is
/// waited for, the mark is read linearizably, and raised to `floor + failover_advance` with
/// `floor = max(mark + 1, now)`; only then timestamps from `floor` on are served. No earlier leader has granted beyond the
/// mark that was read, and none can raise it any more.
#[derive(Debug)]
pub struct Oracle<S, C> {
    store: Arc<S>,
    clock: Arc<C>,
    allocator: Arc<Allocator>,
    options: Options,
    meters: Meters,
    defect: Option<Defect>,
    /// Raises the mark, and goes on when nobody waits for it any more.
    raising: Option<JoinHandle<Result<(), Trouble>>>,
}

impl<S: MarkStore, C: Clock> Oracle<S, C> {
    /// An oracle that is still to [run](Self::run).
    pub fn new(store: S, clock: Arc<C>, allocator: Arc<Allocator>, options: Options) -> Self {
        let (store, meters) = (Arc::new(store), Meters::default());
        Self { store, clock, allocator, options, meters, defect: None, raising: None }
    }

    pub(crate) fn with(mut self, meters: Meters, defect: Option<Defect>) -> Self {
        (self.meters, self.defect) = (meters, defect);
        self
    }

    /// Follows leadership until it is told no more, as when the node is shut down. Nothing is served when this has ended, or
    /// is dropped.
    ///
    /// # Errors
    ///
    /// What cannot be mended: the allocator is poisoned.
    pub async fn run(mut self, mut leadership: watch::Receiver<Leadership>) -> Result<(), Poison> {
        let _idle = IdleOnDrop(self.allocator.clone());
        loop {
            let now = leadership.borrow_and_update().clone();
            let Leadership::Leading { term, .. } = now else {
                self.allocator.idle(now.other().map(|(_, leader)| hint(leader)));
                if leadership.changed().await.is_err() {
                    return Ok(());
                }
                continue;
            };
            let trouble = tokio::select! {
                biased;
                changed = leadership.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return Ok(()),
                },
                trouble = self.lead(term) => trouble,
            };
            tracing::info!("not serving: {trouble:?}");
            match trouble {
                Trouble::Permanent(reason) => {
                    self.allocator.poison(&reason);
                    tracing::error!("stopped serving for good: {reason}");
                    return Err(Poison(reason));
                }
                Trouble::NotLeader(leader) => self.allocator.idle(leader),
                Trouble::Fenced(_) | Trouble::Transient(_) => self.allocator.idle(None),
            }
            // The log knew it before the stream of leadership: that will tell soon.
            tokio::select! {
                biased;
                changed = leadership.changed() => if changed.is_err() { return Ok(()) },
                () = sleep(RECHECK) => {}
            }
        }
    }

    /// Serves as the leader of this term, until trouble comes that is not transient.
    async fn lead(&mut self, term: u64) -> Trouble {
        self.allocator.idle(None);
        if let Err(trouble) = self.fence(term).await {
            return trouble;
        }
        self.extend(term).await
    }

    async fn fence(&mut self, term: u64) -> Result<(), Trouble> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1_u64.. {
            match self.attempt(term).await {
                Err(Trouble::Transient(reason)) => {
                    self.meters.transient.inc();
                    if attempt >= FIRST_WARNING && (attempt - FIRST_WARNING).is_multiple_of(WARNING_EVERY) {
                        tracing::warn!("the fence of term {term} failed {attempt} times: {reason}");
                    }
                }
                done => return done,
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }

    /// All of the fence, once.
    async fn attempt(&mut self, term: u64) -> Result<(), Trouble> {
        self.drain().await;
        let prior = self.store.load().await?;
        if let Some(prior) = prior.filter(|prior| prior.epoch > term) {
            return Err(Trouble::Fenced(prior.epoch));
        }
        // The + 1 is what the safety rests on: all of the millisecond of the mark may have been granted.
        let above = prior.map_or(0, |prior| prior.physical + 1);
        let floor = above.max(self.clock.now_ms());
        let mark = mark_ahead(term, floor, self.options.failover_advance)?;
        self.raise(mark).await?;
        self.meters.fences.inc();
        match self.defect {
            Some(Defect::BelowTheFloor) => self.allocator.serve_below(term, floor, mark.physical),
            None => self.allocator.serve(term, floor, mark.physical),
        }
        tracing::info!("serving in term {term}, from {floor} ms on");
        Ok(())
    }

    /// Extends the window before it is used up.
    async fn extend(&mut self, term: u64) -> Trouble {
        let mut pause = FIRST_PAUSE;
        loop {
            let Some((next, end)) = self.allocator.bounds() else {
                return Trouble::Permanent("the fence is up, and nothing is served".into());
            };
            let now = self.clock.now_ms().max(next.raw() >> LOGICAL_BITS);
            let left = Duration::from_millis((end.raw() >> LOGICAL_BITS).saturating_sub(now));
            let least = self.options.least();
            if left > least {
                sleep(left.saturating_sub(least).clamp(SHORTEST_LOOK, LONGEST_LOOK)).await;
                continue;
            }
            let raised = match mark_ahead(term, now, self.options.window_ahead) {
                Ok(mark) => self.raise(mark).await.map(|()| mark),
                Err(trouble) => Err(trouble),
            };
            match raised {
                Ok(mark) => {
                    self.meters.extensions.inc();
                    self.allocator.extend(term, mark.physical);
                    pause = FIRST_PAUSE;
                }
                Err(Trouble::Transient(reason)) => {
                    self.meters.transient.inc();
                    tracing::debug!("the window was not extended: {reason}");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(trouble) => return trouble,
            }
        }
    }

    async fn raise(&mut self, mark: Mark) -> Result<(), Trouble> {
        let store = self.store.clone();
        let raising = self.raising.insert(tokio::spawn(async move { store.persist(mark).await }));
        let raised = raising.await;
        self.raising = None;
        raised.unwrap_or_else(|panic| Err(Trouble::Permanent(format!("raising the mark panicked: {panic}"))))
    }

    /// Waits for an access that nobody waits for any more: it must not come after the mark was read.
    async fn drain(&mut self) {
        if let Some(raising) = &mut self.raising {
            // What came of it is seen when the mark is read.
            let _ = raising.await;
            self.raising = None;
        }
    }
}

/// A mark so far ahead of a time.
fn mark_ahead(epoch: u64, from: u64, ahead: Duration) -> Result<Mark, Trouble> {
    let physical = from.checked_add(ahead.as_millis() as u64).filter(|physical| *physical < MAX_PHYSICAL);
    let physical = physical.ok_or_else(|| Trouble::Permanent(format!("{from} ms is no time of a clock")))?;
    Ok(Mark { epoch, physical })
}

struct IdleOnDrop(Arc<Allocator>);

impl Drop for IdleOnDrop {
    fn drop(&mut self) {
        self.0.idle(None);
    }
}

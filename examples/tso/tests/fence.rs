//! The fence and the extensions, on a scripted store and a paused clock.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use raft::Leadership;
use raft::proto::LeaderHint;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tso::{Allocator, Clock, Error, Mark, MarkStore, Options, Oracle, Phase, Poison, Trouble};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A mark of which accesses fail as they are told to.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    mark: Option<Mark>,
    loads: VecDeque<Trouble>,
    persists: VecDeque<Trouble>,
    /// What every further persist fails with.
    latched: Option<Trouble>,
    persisted: usize,
    takes: Duration,
}

impl Script {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    fn persisted(&self) -> usize {
        self.with(|state| state.persisted)
    }
}

impl MarkStore for Script {
    async fn load(&self) -> Result<Option<Mark>, Trouble> {
        self.with(|state| state.loads.pop_front().map_or(Ok(state.mark), Err))
    }

    async fn persist(&self, mark: Mark) -> Result<(), Trouble> {
        let takes = self.with(|state| {
            state.persisted += 1;
            state.takes
        });
        sleep(takes).await;
        self.with(|state| {
            if let Some(trouble) = state.persists.pop_front().or(state.latched.clone()) {
                return Err(trouble);
            }
            state.mark = Some(mark);
            Ok(())
        })
    }
}

/// A clock that stands where it is put.
#[derive(Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now_ms(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

struct Rig {
    store: Script,
    clock: Arc<Hand>,
    allocator: Arc<Allocator>,
    leadership: watch::Sender<Leadership>,
    oracle: JoinHandle<Result<(), Poison>>,
    epochs: u64,
}

impl Rig {
    fn new(options: Options) -> Self {
        let (store, clock) = (Script::default(), Arc::new(Hand::default()));
        clock.0.store(1_000, Relaxed);
        let allocator = Arc::new(Allocator::new(options.max_ahead));
        let (leadership, stream) = watch::channel(Leadership::Following { leader: None, term: 0 });
        let oracle = Oracle::new(store.clone(), clock.clone(), allocator.clone(), options);
        let oracle = tokio::spawn(oracle.run(stream));
        Self { store, clock, allocator, leadership, oracle, epochs: 0 }
    }

    fn lead(&mut self, term: u64) {
        self.epochs += 1;
        self.leadership.send_replace(Leadership::Leading { term, epoch: self.epochs });
    }

    fn follow(&self, node: u32, term: u64) {
        let leader = LeaderHint { node, address: format!("node-{node}:1"), term };
        self.leadership.send_replace(Leadership::Following { leader: Some(leader), term });
    }

    async fn until(&self, reached: impl FnMut(&Phase) -> bool) -> Phase {
        timeout(60 * SECOND, self.allocator.phase().wait_for(reached)).await.unwrap().unwrap().clone()
    }

    async fn serving(&self, term: u64) {
        self.until(|phase| *phase == Phase::Serving { epoch: term }).await;
    }

    fn grant(&self) -> Result<u64, Error> {
        self.allocator.grant(1, self.clock.now_ms()).map(|grant| grant.first.raw())
    }
}

fn transient() -> Trouble {
    Trouble::Transient("no leader yet".into())
}

#[tokio::test(start_paused = true)]
async fn transient_faults_of_persisting_are_outlived() {
    for faults in [1, 10] {
        let mut rig = Rig::new(Options::default());
        rig.store.with(|state| state.persists.extend(vec![transient(); faults]));
        rig.lead(1);
        rig.serving(1).await;
        assert_eq!(rig.store.persisted(), faults + 1);
        rig.grant().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn transient_faults_of_loading_are_outlived() {
    for faults in [1, 10] {
        let mut rig = Rig::new(Options::default());
        rig.store.with(|state| state.loads.extend(vec![transient(); faults]));
        rig.lead(1);
        rig.serving(1).await;
        assert_eq!(rig.store.persisted(), 1);
        rig.grant().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_fence_that_never_goes_up_ends_with_the_leadership() {
    let mut rig = Rig::new(Options::default());
    rig.store.with(|state| state.latched = Some(transient()));
    rig.lead(1);
    sleep(10 * SECOND).await;
    assert!(rig.store.persisted() > 30, "it does not give up: {}", rig.store.persisted());
    assert!(matches!(rig.grant(), Err(Error::NotServing { leader: None })));
    rig.follow(2, 2);
    rig.until(|phase| matches!(phase, Phase::Idle { leader: Some(leader) } if leader.node == 2)).await;
    let persisted = rig.store.persisted();
    sleep(10 * SECOND).await;
    assert_eq!(rig.store.persisted(), persisted, "it does not lead any more");
    let error = rig.grant().unwrap_err();
    assert!(matches!(error, Error::NotServing { leader: Some(hint) } if (hint.node, hint.epoch) == (2, 2)));
    assert!(!rig.oracle.is_finished());
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_lead_serves_after_the_next_election() {
    for trouble in [Trouble::NotLeader(None), Trouble::Fenced(7)] {
        let mut rig = Rig::new(Options::default());
        rig.store.with(|state| state.persists.push_back(trouble));
        rig.lead(1);
        sleep(100 * MS).await;
        assert_eq!(rig.store.persisted(), 1, "it has stepped down");
        rig.lead(8);
        rig.serving(8).await;
        rig.grant().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_leadership_that_says_nothing_new_does_not_hold_it_up_for_ever() {
    let mut rig = Rig::new(Options::default());
    rig.store.with(|state| state.persists.push_back(Trouble::NotLeader(None)));
    rig.lead(1);
    rig.serving(1).await;
    assert_eq!(rig.store.persisted(), 2);
}

#[tokio::test(start_paused = true)]
async fn permanent_trouble_poisons_the_state_and_tells_everybody() {
    let mut rig = Rig::new(Options::default());
    rig.store.with(|state| state.persists.push_back(Trouble::Permanent("the disk is gone".into())));
    let mut waiting = rig.allocator.phase();
    let told = tokio::spawn(async move {
        waiting.wait_for(|phase| matches!(phase, Phase::Poisoned { .. })).await.is_ok()
    });
    rig.lead(1);
    assert!(timeout(SECOND, told).await.unwrap().unwrap());
    assert_eq!(
        timeout(SECOND, &mut rig.oracle).await.unwrap().unwrap(),
        Err(Poison("the disk is gone".into()))
    );
    assert!(matches!(rig.grant(), Err(Error::Poisoned(_))));
    rig.lead(2);
    sleep(SECOND).await;
    assert!(matches!(rig.grant(), Err(Error::Poisoned(_))), "for good");
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_begins_above_all_that_may_have_been_granted() {
    let mut rig = Rig::new(Options { failover_advance: Duration::ZERO, ..Options::default() });
    rig.store.with(|state| state.mark = Some(Mark { epoch: 1, physical: 50_000 }));
    rig.lead(2);
    rig.serving(2).await;
    let last_of_the_mark = (50_000 << 18) | ((1 << 18) - 1);
    assert!(rig.grant().unwrap() > last_of_the_mark);
}

#[tokio::test(start_paused = true)]
async fn leaders_come_and_go_and_faults_with_them() {
    let mut rig = Rig::new(Options::default());
    let mut last = 0;
    for cycle in 1..=4 {
        rig.store.with(|state| {
            state.loads.push_back(transient());
            state.persists.extend([transient(), transient()]);
        });
        rig.clock.0.fetch_add(cycle * 100, Relaxed);
        rig.lead(2 * cycle);
        rig.serving(2 * cycle).await;
        for _ in 0..100 {
            let next = rig.grant().unwrap();
            assert!(next > last);
            last = next;
        }
        rig.follow(2, 2 * cycle + 1);
        rig.until(|phase| matches!(phase, Phase::Idle { .. })).await;
        assert!(rig.grant().is_err());
        // The other leader grants as well.
        let theirs = rig.store.with(|state| {
            let mark = state.mark.as_mut().unwrap();
            (mark.epoch, mark.physical) = (2 * cycle + 1, mark.physical + 500);
            mark.physical
        });
        last = last.max((theirs << 18) | ((1 << 18) - 1));
    }
}

#[tokio::test(start_paused = true)]
async fn the_window_is_extended_before_it_is_used_up() {
    let mut rig = Rig::new(Options::default());
    rig.lead(1);
    rig.serving(1).await;
    for _ in 0..1_000 {
        sleep(10 * MS).await;
        rig.clock.0.fetch_add(10, Relaxed);
        rig.grant().unwrap();
    }
    let persisted = rig.store.persisted();
    assert!((3..=6).contains(&persisted), "in 10 s, with a window of 3 s: {persisted}");
}

#[tokio::test(start_paused = true)]
async fn without_extensions_what_is_granted_is_served_to_its_end() {
    let mut rig = Rig::new(Options::default());
    rig.lead(1);
    rig.serving(1).await;
    rig.store.with(|state| state.latched = Some(transient()));
    sleep(SECOND).await;
    rig.clock.0.store(2_000, Relaxed);
    rig.grant().unwrap();
    rig.clock.0.store(2_001, Relaxed);
    assert!(matches!(rig.grant(), Err(Error::Exhausted)));
    rig.store.with(|state| state.latched = None);
    sleep(SECOND).await;
    rig.grant().unwrap();
    // And another leader makes it step down, with a hint.
    let leader = tso::proto::LeaderHint { node: 3, address: "c:1".into(), epoch: 9 };
    rig.store.with(|state| state.latched = Some(Trouble::NotLeader(Some(leader.clone()))));
    rig.clock.0.store(6_000, Relaxed);
    rig.until(|phase| *phase == Phase::Idle { leader: Some(leader.clone()) }).await;
}

#[tokio::test(start_paused = true)]
async fn an_access_that_is_still_on_its_way_is_waited_for_before_the_mark_is_read() {
    let mut rig = Rig::new(Options::default());
    rig.store.with(|state| state.takes = 500 * MS);
    rig.lead(1);
    sleep(10 * MS).await;
    // Leadership is lost and gained while the first one is raising the mark.
    rig.lead(2);
    sleep(100 * MS).await;
    assert_eq!(rig.store.persisted(), 1);
    rig.serving(2).await;
    assert_eq!(rig.store.persisted(), 2);
    let first = rig.grant().unwrap();
    assert!(first >> 18 > 2_000, "above what the first one was granted: {}", first >> 18);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_steps_back_takes_nothing_back() {
    let mut rig = Rig::new(Options::default());
    rig.clock.0.store(100_000, Relaxed);
    rig.lead(1);
    rig.serving(1).await;
    let before = rig.grant().unwrap();
    rig.clock.0.store(70_000, Relaxed);
    assert!(rig.grant().unwrap() > before);
    rig.clock.0.store(30_000, Relaxed);
    assert!(matches!(rig.grant(), Err(Error::ClockBehind { .. })));
    sleep(SECOND).await;
    rig.clock.0.store(100_001, Relaxed);
    assert!(rig.grant().unwrap() > before);
    assert!(!rig.oracle.is_finished());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_served_when_the_oracle_has_gone() {
    let mut rig = Rig::new(Options::default());
    rig.lead(1);
    rig.serving(1).await;
    rig.oracle.abort();
    rig.until(|phase| matches!(phase, Phase::Idle { .. })).await;
    assert!(rig.grant().is_err());
    let mut other = Rig::new(Options::default());
    other.lead(1);
    other.serving(1).await;
    drop(other.leadership);
    assert_eq!(timeout(SECOND, other.oracle).await.unwrap().unwrap(), Ok(()), "the node was shut down");
}

//! A task of several parts, each of which is polled only when it has been woken itself.
//!
//! A connection and the stream on it wake one another with everything they do. As parts of one task they neither wait for
//! the scheduler in between, nor does one poll the other for nothing. What futures-util's `FuturesUnordered` does for any
//! number of futures, for a few that share their data.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::sync::{AtomicUsize, Mutex, Ordering::SeqCst};

/// Rounds in one go, before other tasks have their turn.
const MAX_ROUNDS: usize = 16;
/// The parts are being polled, and looked at again before that ends.
const POLLING: usize = 1 << 8;

/// What a part has come to.
pub(crate) enum Part<T> {
    /// The task is done.
    Ready(T),
    /// It waits for its waker.
    Waits,
    /// It goes on when other tasks have had their turn.
    Yields,
}

impl<T> From<Poll<T>> for Part<T> {
    fn from(poll: Poll<T>) -> Self {
        match poll {
            Poll::Ready(value) => Self::Ready(value),
            Poll::Pending => Self::Waits,
        }
    }
}

/// The parts of a task. All of them are polled once; then those that are woken.
pub(crate) struct Parts<const N: usize> {
    shared: Arc<Shared>,
    wakers: [Waker; N],
}

struct Shared {
    /// A bit for each part that was woken, and [`POLLING`].
    due: AtomicUsize,
    task: Mutex<Option<Waker>>,
}

impl<const N: usize> Parts<N> {
    pub(crate) fn new() -> Self {
        const { assert!(N <= 8, "no bits for more parts") }
        let shared = Arc::new(Shared { due: AtomicUsize::new((1 << N) - 1), task: Mutex::default() });
        let wakers = std::array::from_fn(|part| PartWaker { shared: shared.clone(), bit: 1 << part });
        Self { shared, wakers: wakers.map(|waker| Arc::new(waker).into()) }
    }

    /// Makes a part due.
    pub(crate) fn wake(&self, part: usize) {
        self.wakers[part].wake_by_ref();
    }

    /// Polls the parts that are due, by their numbers, until none is, or one is ready.
    pub(crate) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(usize, &mut Context<'_>) -> Part<T>,
    ) -> Poll<T> {
        self.shared.register(cx.waker());
        let mut later = 0;
        for _ in 0..MAX_ROUNDS {
            let due = self.shared.due.swap(POLLING, SeqCst);
            for part in (0..N).filter(|part| due & 1 << part != 0) {
                match poll(part, &mut Context::from_waker(&self.wakers[part])) {
                    Part::Ready(value) => {
                        // The parts behind it are still due.
                        self.shared.due.fetch_or(later | due & !POLLING & !((2 << part) - 1), SeqCst);
                        self.shared.due.fetch_and(!POLLING, SeqCst);
                        return Poll::Ready(value);
                    }
                    Part::Waits => {}
                    Part::Yields => later |= 1 << part,
                }
            }
            if later == 0 && self.shared.due.compare_exchange(POLLING, 0, SeqCst, SeqCst).is_ok() {
                return Poll::Pending;
            }
            if later != 0 && self.shared.due.load(SeqCst) == POLLING {
                break;
            }
        }
        self.shared.due.fetch_or(later, SeqCst);
        self.shared.due.fetch_and(!POLLING, SeqCst);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Shared {
    fn register(&self, waker: &Waker) {
        let mut task = self.task.lock();
        if !task.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }
}

struct PartWaker {
    shared: Arc<Shared>,
    bit: usize,
}

impl Wake for PartWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Whoever is the first wakes the task, unless it is at work and will see the bit.
        if self.shared.due.fetch_or(self.bit, SeqCst) == 0 {
            let task = self.shared.task.lock().clone();
            if let Some(task) = task {
                task.wake();
            }
        }
    }
}

#[cfg(all(test, not(gorums_model)))]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    /// Which parts were polled, and how often the task was woken since.
    struct Task {
        parts: Parts<3>,
        woken: Arc<Woken>,
    }

    impl Task {
        fn new() -> Self {
            Self { parts: Parts::new(), woken: Arc::default() }
        }

        fn poll(&self, mut each: impl FnMut(usize, &mut Context<'_>) -> Part<()>) -> Vec<usize> {
            self.woken.0.store(0, SeqCst);
            let mut polled = Vec::new();
            let waker = self.woken.clone().into();
            let _ = self.parts.poll(&mut Context::from_waker(&waker), |part, cx| {
                polled.push(part);
                each(part, cx)
            });
            polled
        }

        fn times_woken(&self) -> usize {
            self.woken.0.load(SeqCst)
        }
    }

    #[test]
    fn only_what_was_woken_is_polled() {
        let task = Task::new();
        assert_eq!(task.poll(|_, _| Part::Waits), [0, 1, 2]);
        assert_eq!(task.poll(|_, _| Part::Waits), []);
        task.parts.wake(1);
        task.parts.wake(1);
        assert_eq!(task.times_woken(), 1);
        assert_eq!(task.poll(|_, _| Part::Waits), [1]);
    }

    #[test]
    fn what_was_due_behind_a_part_that_is_ready_stays_due() {
        let task = Task::new();
        let ready = |part, _: &mut Context<'_>| if part == 0 { Part::Ready(()) } else { Part::Waits };
        assert_eq!(task.poll(ready), [0]);
        assert_eq!(task.poll(ready), [1, 2]);
        task.parts.wake(1);
        assert_eq!(task.times_woken(), 1);
    }

    #[test]
    fn parts_that_wake_one_another_do_not_wake_the_task() {
        let task = Task::new();
        let mut left = 3;
        let polled = task.poll(|part, cx| {
            if left > 0 {
                left -= 1;
                task.parts.wake((part + 1) % 3);
                cx.waker().wake_by_ref();
            }
            Part::Waits
        });
        assert_eq!(polled, [0, 1, 2, 0, 1, 2]);
        assert_eq!(task.times_woken(), 0);
    }

    #[test]
    fn who_yields_or_goes_on_for_ever_lets_others_have_their_turn() {
        let task = Task::new();
        task.poll(|_, _| Part::Waits);
        task.parts.wake(2);
        assert_eq!(task.poll(|_, _| Part::Yields), [2]);
        assert_eq!(task.times_woken(), 1);
        let polled = task.poll(|_, cx| {
            cx.waker().wake_by_ref();
            Part::Waits
        });
        assert_eq!(polled.len(), MAX_ROUNDS);
        assert_eq!(task.times_woken(), 1);
        assert_eq!(task.poll(|_, _| Part::Waits), [2]);
    }
}

//! The log, as the engine uses it.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use prost::Message;
use tokio::sync::{mpsc, oneshot};

use crate::proto;
use crate::storage::log_tables::LogTables;
use crate::storage::tail::Tail;
use crate::types::{Entry, LogId, Types, Vote};

/// Appends and other changes that wait for the disk; whoever brings more waits too.
const QUEUE: usize = 256;
/// Bytes that are written with one sync, at most, unless a single append has more.
const SYNCED_AT_ONCE: usize = 4 << 20;
/// Bytes of entries that are sent to a peer at once, unless a single one has more.
const SENT_AT_ONCE: usize = 1 << 20;

/// The log of a node: in memory at its end, and on disk. A thread writes; appends that have queued up meanwhile share one
/// sync.
#[derive(Clone)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
    /// None: writes take place in the calling task.
    jobs: Option<mpsc::Sender<Job>>,
}

struct Shared {
    tail: Mutex<Tail>,
    tables: LogTables,
}

enum Job {
    Append { number: u64, entries: Vec<(u64, Vec<u8>)>, flushed: IOFlushed<Types> },
    Other(Box<dyn FnOnce(&LogTables) + Send>),
}

impl LogStore {
    pub(crate) fn open(tables: LogTables, inline: bool) -> io::Result<Self> {
        let (last, purged) = tables.bounds()?;
        let shared = Arc::new(Shared { tail: Mutex::new(Tail::new(last, purged)), tables });
        let jobs = if inline { None } else { Some(start(shared.clone())?) };
        Ok(Self { shared, jobs })
    }

    async fn submit(&self, job: Job) -> io::Result<()> {
        let Some(jobs) = &self.jobs else {
            self.shared.perform(vec![job]);
            return Ok(());
        };
        jobs.send(job).await.map_err(|_| io::Error::other("the thread of the log has ended"))
    }

    /// Waits until something is done after all that was submitted before.
    async fn perform(
        &self,
        work: impl FnOnce(&LogTables) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let (done, result) = oneshot::channel();
        // Nobody may wait for the result any more.
        self.submit(Job::Other(Box::new(move |tables| drop(done.send(work(tables)))))).await?;
        result.await.map_err(|_| io::Error::other("the thread of the log has ended"))?
    }
}

fn start(shared: Arc<Shared>) -> io::Result<mpsc::Sender<Job>> {
    let (jobs, mut queue) = mpsc::channel(QUEUE);
    thread::Builder::new().name("log".to_owned()).spawn(move || {
        while let Some(job) = queue.blocking_recv() {
            let mut batch = vec![job];
            while let Ok(job) = queue.try_recv() {
                batch.push(job);
            }
            shared.perform(batch);
        }
    })?;
    Ok(jobs)
}

impl Shared {
    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does jobs in order. Appends that follow each other are written together.
    fn perform(&self, jobs: Vec<Job>) {
        let (mut entries, mut waiting) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        for job in jobs {
            match job {
                Job::Append { number, entries: mut more, flushed } => {
                    bytes += more.iter().map(|(_, entry)| entry.len()).sum::<usize>();
                    entries.append(&mut more);
                    waiting.push((number, flushed));
                    if bytes >= SYNCED_AT_ONCE {
                        self.flush(&mut entries, &mut waiting);
                        bytes = 0;
                    }
                }
                Job::Other(work) => {
                    self.flush(&mut entries, &mut waiting);
                    bytes = 0;
                    work(&self.tables);
                }
            }
        }
        self.flush(&mut entries, &mut waiting);
    }

    fn flush(&self, entries: &mut Vec<(u64, Vec<u8>)>, waiting: &mut Vec<(u64, IOFlushed<Types>)>) {
        if waiting.is_empty() {
            return;
        }
        let written = self.tables.append(entries);
        entries.clear();
        for (number, flushed) in waiting.drain(..) {
            if written.is_ok() {
                self.tail().synced(number);
            }
            flushed
                .io_completed(written.as_ref().copied().map_err(|error| io::Error::other(error.to_string())));
        }
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, io::Error> {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&end) => end + 1,
            Bound::Excluded(&end) => end,
            Bound::Unbounded => u64::MAX,
        };
        let (on_disk, mut in_memory) = self.shared.tail().entries(start..end);
        let mut entries = self.shared.tables.entries(on_disk)?;
        entries.append(&mut in_memory);
        Ok(entries)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.shared.tables.vote()
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        let mut entries = self.try_get_log_entries(start..end).await?;
        let mut bytes = 0;
        let fits = entries.iter().take_while(|entry| {
            let before = bytes;
            bytes += proto::Entry::from(*entry).encoded_len();
            before == 0 || bytes <= SENT_AT_ONCE
        });
        let fits = fits.count();
        entries.truncate(fits);
        Ok(entries)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let tail = self.shared.tail();
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: tail.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let vote = *vote;
        self.perform(move |tables| tables.save_vote(&vote)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(committed) = committed else { return Ok(()) };
        // Nobody waits for it: without it, a restarted node applies again what it had applied.
        self.submit(Job::Other(Box::new(move |tables| {
            if let Err(error) = tables.save_committed(&committed) {
                tracing::warn!("what is committed was not noted: {error}");
            }
        })))
        .await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let committed = self.shared.tables.committed()?;
        // It may be on disk although entries that were appended later are not, as after a loss of power.
        Ok(committed.min(self.shared.tail().last))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let (number, entries) = self.shared.tail().append(entries);
        self.submit(Job::Append { number, entries, flushed: callback }).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.shared.tail().truncate_after(last);
        let first = last.map_or(0, |id| id.index() + 1);
        self.perform(move |tables| tables.truncate(first)).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.shared.tail().purge(upto);
        self.perform(move |tables| tables.purge(upto)).await
    }
}

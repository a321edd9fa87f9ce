//! A thread that does what waits for the disk, one job after the other.

use std::io;
use std::thread;

use tokio::sync::{mpsc, oneshot};

/// Jobs that wait; whoever brings more waits too.
const QUEUE: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs in order: in a thread, or in the task that brings them.
///
/// The thread ends when the last handle is gone and its jobs are done.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    /// None: in place.
    jobs: Option<mpsc::Sender<Job>>,
}

impl Worker {
    pub(crate) fn inline() -> Self {
        Self { jobs: None }
    }

    pub(crate) fn thread(name: &str) -> io::Result<Self> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Some(job) = queue.blocking_recv() {
                job();
            }
        })?;
        Ok(Self { jobs: Some(jobs) })
    }

    /// Runs a job and waits for its result.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the job is either not started or done in full.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let Some(jobs) = &self.jobs else { return job() };
        let (done, result) = oneshot::channel();
        // Nobody may wait for the result any more.
        let job: Job = Box::new(move || drop(done.send(job())));
        let ended = || io::Error::other("the thread of the storage has ended");
        jobs.send(job).await.map_err(|_| ended())?;
        result.await.map_err(|_| ended())?
    }
}

//! What a good engineer writes by hand over TCP: for each node a bounded queue, a task that writes what has queued up,
//! a task that reads, and a map of the calls that wait, each with a oneshot channel.

mod frames;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;

use self::frames::{Frame, FrameReader, write_frames};
use super::{Connect, Contender, Counts, Job, enough};
use crate::message::answer;
use crate::setup::FullQueue;

/// Messages that wait for one node, unless another bound is asked for.
const QUEUE: usize = 1_024;
/// The id of messages that nobody replies to.
const ONE_WAY: u64 = 0;

/// One link for each node.
pub(crate) struct RawTcp {
    links: Vec<Link>,
    last_id: AtomicU64,
}

impl Contender for RawTcp {
    async fn serve(listener: TcpListener, counts: Arc<Counts>) -> Result<()> {
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(echo(stream, counts.clone()));
        }
    }

    async fn connect(connect: &Connect) -> Result<Self> {
        let mut links = Vec::new();
        for address in &connect.addresses {
            links.push(
                Link::open(address, connect).await.with_context(|| format!("cannot connect to {address}"))?,
            );
        }
        Ok(Self { links, last_id: AtomicU64::new(ONE_WAY) })
    }

    async fn call(&self, job: &Job) -> Result<()> {
        let links = if job.call.is_to_one() { &self.links[..1] } else { &self.links[..] };
        let frame =
            |id| Frame { id, reply_bytes: job.request.reply_bytes, payload: job.request.payload.clone() };
        if job.call.is_one_way() {
            for link in links {
                link.send(frame(ONE_WAY)).await?;
            }
            return Ok(());
        }
        let id = self.last_id.fetch_add(1, Relaxed) + 1;
        enough(job.needed, links.iter().map(|link| link.call(frame(id))), job).await
    }
}

/// The calls that wait for one node.
type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<Bytes>>>>;

/// The connection to one node.
struct Link {
    queue: mpsc::Sender<Frame>,
    full: FullQueue,
    pending: Pending,
    tasks: [AbortHandle; 2],
}

impl Link {
    async fn open(address: &str, connect: &Connect) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let full = connect.queue.raw_tcp;
        let bound = match full {
            FullQueue::Grow => Semaphore::MAX_PERMITS,
            FullQueue::Wait | FullQueue::Fail => connect.queue.messages.unwrap_or(QUEUE),
        };
        let (queue, queued) = mpsc::channel(bound);
        let pending = Pending::default();
        let writing = tokio::spawn(write_frames(writer, queued));
        let reading = tokio::spawn(deliver(FrameReader::new(reader), pending.clone()));
        Ok(Self { queue, full, pending, tasks: [writing.abort_handle(), reading.abort_handle()] })
    }

    async fn call(&self, frame: Frame) -> Result<Bytes> {
        let (reply, replied) = oneshot::channel();
        let id = frame.id;
        lock(&self.pending).insert(id, reply);
        let waiting = Waiting { pending: &self.pending, id };
        self.send(frame).await?;
        let reply = replied.await.map_err(|_| anyhow!("the connection is closed"))?;
        // The reader has removed it.
        std::mem::forget(waiting);
        Ok(reply)
    }

    async fn send(&self, frame: Frame) -> Result<()> {
        match self.full {
            FullQueue::Fail => self.queue.try_send(frame).map_err(|_| anyhow!("the queue is full")),
            FullQueue::Wait | FullQueue::Grow => {
                self.queue.send(frame).await.map_err(|_| anyhow!("the connection is closed"))
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Removes a call that is given up.
struct Waiting<'a> {
    pending: &'a Pending,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(self.pending).remove(&self.id);
    }
}

fn lock(pending: &Pending) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Bytes>>> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives replies to the calls that wait for them.
async fn deliver(mut frames: FrameReader, pending: Pending) -> io::Result<()> {
    while let Some(frame) = frames.next().await? {
        if let Some(waiting) = lock(&pending).remove(&frame.id) {
            // Its caller may have gone.
            let _ = waiting.send(frame.payload);
        }
    }
    Ok(())
}

/// Serves one connection.
async fn echo(stream: TcpStream, counts: Arc<Counts>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let (replies, queued) = mpsc::channel(QUEUE);
    tokio::spawn(write_frames(writer, queued));
    let mut frames = FrameReader::new(reader);
    while let Some(mut frame) = frames.next().await? {
        counts.request();
        if frame.id == ONE_WAY {
            continue;
        }
        frame.payload = answer(frame.payload, frame.reply_bytes);
        if replies.send(frame).await.is_err() {
            break;
        }
    }
    Ok(())
}

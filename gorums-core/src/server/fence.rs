//! Keeps the order of a client's requests across its reconnects.
//!
//! A client names itself when it opens a stream. Before its new stream is served, the old one is ended, whether or
//! not its connection is known to be dead: what was left unread in it is never handled, and the handlers of what was
//! read have had their turns. So a request that the client has given up as lost never runs after a later one.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;
use tokio_util::sync::CancellationToken;

use crate::sync::Mutex;
use crate::wire;

/// A client does not need a longer name.
const MAX_NAME: usize = 64;

/// The clients that have named themselves, and of which there is a stream.
#[derive(Debug, Default)]
pub(crate) struct Fences {
    clients: Mutex<HashMap<String, Streams>>,
}

/// The streams of one client. There are at most two that matter: between them no other has been served, nor will be.
#[derive(Debug, Default)]
struct Streams {
    /// The client's number for its newest attempt to open one.
    dial: u64,
    /// The one that the client has opened last, unless it has ended.
    newest: Option<Arc<Marks>>,
    /// The one that was served last, as long as something of it may still start.
    served: Option<Arc<Marks>>,
}

/// What the streams of one client know of each other.
#[derive(Debug, Default)]
struct Marks {
    /// There is a newer stream.
    superseded: CancellationToken,
    /// Nothing of this stream will start any more.
    ended: CancellationToken,
}

/// When a stream may be served.
enum Turn {
    Now,
    After(Arc<Marks>),
    /// There is a newer one.
    Never,
}

/// The place of a stream among those of its client. Dropping it lets the next one start.
#[derive(Debug)]
pub(crate) struct Fence {
    fences: Arc<Fences>,
    /// Absent for a client without a name, as a Go client: it has no order across its streams.
    client: Option<String>,
    own: Arc<Marks>,
}

impl Fences {
    /// How many clients there are.
    pub(crate) fn len(&self) -> usize {
        self.clients.lock().len()
    }

    /// Makes a stream the newest of the client that its headers name; `None` if that has opened a newer one.
    pub(crate) fn enter(self: &Arc<Self>, headers: &HeaderMap) -> Option<Fence> {
        let own = Arc::<Marks>::default();
        let Some((client, dial)) = named(headers) else {
            return Some(Fence { fences: self.clone(), client: None, own });
        };
        let older = {
            let mut clients = self.clients.lock();
            let streams = clients.entry(client.clone()).or_default();
            if streams.dial > dial {
                return None;
            }
            streams.dial = dial;
            streams.newest.replace(own.clone())
        };
        if let Some(older) = older {
            older.superseded.cancel();
        }
        Some(Fence { fences: self.clone(), client: Some(client), own })
    }
}

/// The client that opens a stream, and the number of its attempt.
fn named(headers: &HeaderMap) -> Option<(String, u64)> {
    let value = headers.get(wire::CLIENT).filter(|value| value.len() <= MAX_NAME)?;
    let (client, dial) = value.to_str().ok()?.rsplit_once('-')?;
    Some((client.to_owned(), dial.parse().ok()?))
}

impl Fence {
    /// Resolves to true when this stream may be served, and to false when there is a newer one, so that it never may.
    pub(crate) async fn wait(&self) -> bool {
        loop {
            match self.try_start() {
                Turn::Now => return true,
                Turn::Never => return false,
                Turn::After(served) => tokio::select! {
                    () = self.own.superseded.cancelled() => {}
                    () = served.ended.cancelled() => {}
                },
            }
        }
    }

    /// Makes this stream the one that is served, if it may be.
    fn try_start(&self) -> Turn {
        let Some(client) = &self.client else { return Turn::Now };
        let mut clients = self.fences.clients.lock();
        let is_own = |marks: &Arc<Marks>| Arc::ptr_eq(marks, &self.own);
        let Some(streams) =
            clients.get_mut(client).filter(|streams| streams.newest.as_ref().is_some_and(is_own))
        else {
            return Turn::Never;
        };
        match &streams.served {
            Some(served) if !is_own(served) => Turn::After(served.clone()),
            _ => {
                streams.served = Some(self.own.clone());
                Turn::Now
            }
        }
    }

    /// Resolves when the client has opened a newer stream.
    pub(crate) async fn superseded(&self) {
        self.own.superseded.cancelled().await;
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        if let Some(client) = &self.client {
            let mut clients = self.fences.clients.lock();
            if let Some(streams) = clients.get_mut(client) {
                // Others are not to be forgotten with this one (I3).
                for place in [&mut streams.newest, &mut streams.served] {
                    place.take_if(|marks| Arc::ptr_eq(marks, &self.own));
                }
                if streams.newest.is_none() && streams.served.is_none() {
                    clients.remove(client);
                }
            }
        }
        self.own.ended.cancel();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn headers(client: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(wire::CLIENT, client.parse().unwrap());
        headers
    }

    fn may_start(fence: &Fence) -> bool {
        fence.wait().now_or_never() == Some(true)
    }

    #[test]
    fn a_newer_stream_waits_for_the_end_of_the_older_one() {
        let fences = Arc::new(Fences::default());
        let first = fences.enter(&headers("a-1")).unwrap();
        assert!(may_start(&first));
        let second = fences.enter(&headers("a-2")).unwrap();
        assert!(first.superseded().now_or_never().is_some());
        assert!(!may_start(&second));
        drop(first);
        assert!(may_start(&second));
        drop(second);
        assert_eq!(fences.len(), 0);
    }

    /// However often a client comes again while its first stream goes on, nothing piles up.
    #[test]
    fn a_stream_that_waits_is_superseded_at_once() {
        let fences = Arc::new(Fences::default());
        let first = fences.enter(&headers("a-1")).unwrap();
        assert!(may_start(&first));
        let second = fences.enter(&headers("a-2")).unwrap();
        assert!(second.wait().now_or_never().is_none());
        let third = fences.enter(&headers("a-5")).unwrap();
        assert_eq!(second.wait().now_or_never(), Some(false));
        drop(second);
        assert!(!may_start(&third), "beside the first");
        assert!(fences.enter(&headers("a-3")).is_none(), "older than the third");
        drop(third);
        assert!(fences.enter(&headers("a-3")).is_none(), "the third has been forgotten beside the first");
        let fourth = fences.enter(&headers("a-6")).unwrap();
        assert!(!may_start(&fourth));
        drop(first);
        assert!(may_start(&fourth));
        drop(fourth);
        assert_eq!(fences.len(), 0);
    }

    /// I3. After `TestAcceptPeerStaleCleanupDoesNotDetachReplacement` of Go Gorums.
    #[test]
    fn the_end_of_an_old_stream_does_not_touch_its_successor() {
        let fences = Arc::new(Fences::default());
        let first = fences.enter(&headers("a-1")).unwrap();
        assert!(may_start(&first));
        let second = fences.enter(&headers("a-2")).unwrap();
        drop(first);
        assert!(may_start(&second));
        let third = fences.enter(&headers("a-3")).unwrap();
        assert!(second.superseded().now_or_never().is_some(), "the clean-up of the first has detached it");
        assert!(!may_start(&third));
        drop((second, third));
        assert_eq!(fences.len(), 0);
    }

    #[test]
    fn a_stream_that_comes_too_late_is_refused_and_disturbs_nobody() {
        let fences = Arc::new(Fences::default());
        let second = fences.enter(&headers("a-2")).unwrap();
        assert!(fences.enter(&headers("a-1")).is_none());
        assert!(second.superseded().now_or_never().is_none());
    }

    #[test]
    fn others_are_not_waited_for() {
        let fences = Arc::new(Fences::default());
        let mut all = vec![fences.enter(&HeaderMap::new()).unwrap(), fences.enter(&headers("a-1")).unwrap()];
        let too_long = "x".repeat(MAX_NAME);
        for other in ["b-1", "no number", "a-", "a-x", "a-18446744073709551616", &too_long] {
            all.push(fences.enter(&headers(other)).unwrap());
        }
        assert!(all.iter().all(may_start));
    }
}

//! Keeps the order of a client's requests across its reconnects.
//!
//! A client names itself when it opens a stream. Before its new stream is served, the old one is ended, whether or
//! not its connection is known to be dead: what was left unread in it is never handled, and the handlers of what was
//! read have had their turns. So a request that the client has given up as lost never runs after a later one.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;

use http::HeaderMap;
use tokio_util::sync::CancellationToken;

use crate::sync::Mutex;
use crate::wire;

/// A client does not need a longer name.
const MAX_NAME: usize = 64;

/// The newest stream of each client that has one.
#[derive(Debug, Default)]
pub(crate) struct Fences {
    newest: Mutex<HashMap<String, Arc<Marks>>>,
}

/// What the streams of one client know of each other.
#[derive(Debug, Default)]
struct Marks {
    /// The client's number for its attempt to open this stream.
    dial: u64,
    /// There is a newer stream.
    superseded: CancellationToken,
    /// Nothing of this stream will start any more.
    ended: CancellationToken,
    before: Mutex<Before>,
}

/// What has to end before a stream may be served.
#[derive(Debug, Default)]
enum Before {
    #[default]
    Nothing,
    Older(Arc<Marks>),
    /// A newer stream waits for it instead.
    TakenOver,
}

impl Marks {
    /// What a newer stream has to wait for: this one, or what this one still waits for. So there are never more than two
    /// streams of a client that wait, however often it dials.
    fn supersede(self: Arc<Self>) -> Arc<Self> {
        self.superseded.cancel();
        let mut before = self.before.lock();
        match std::mem::replace(&mut *before, Before::TakenOver) {
            Before::Older(older) => older,
            served @ (Before::Nothing | Before::TakenOver) => {
                *before = served;
                drop(before);
                self
            }
        }
    }
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
        self.newest.lock().len()
    }

    /// Makes a stream the newest of the client that its headers name; `None` if that has opened a newer one.
    pub(crate) fn enter(self: &Arc<Self>, headers: &HeaderMap) -> Option<Fence> {
        let Some((client, dial)) = named(headers) else {
            let own = Arc::default();
            return Some(Fence { fences: self.clone(), client: None, own });
        };
        let own = Arc::new(Marks { dial, ..Marks::default() });
        let mut newest = self.newest.lock();
        if newest.get(&client).is_some_and(|other| other.dial > dial) {
            return None;
        }
        if let Some(older) = newest.insert(client.clone(), own.clone()) {
            *own.before.lock() = Before::Older(older.supersede());
        }
        drop(newest);
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
    /// Resolves when this stream may be served; never if a newer one has taken its place.
    pub(crate) async fn wait(&self) {
        let older = match &*self.own.before.lock() {
            Before::Older(older) => Some(older.clone()),
            Before::Nothing | Before::TakenOver => None,
        };
        if let Some(older) = older {
            older.ended.cancelled().await;
        }
        let taken_over = {
            let mut before = self.own.before.lock();
            let taken_over = matches!(*before, Before::TakenOver);
            if !taken_over {
                *before = Before::Nothing;
            }
            taken_over
        };
        if taken_over {
            pending::<()>().await;
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
            let mut newest = self.fences.newest.lock();
            // A newer stream is not to be forgotten with this one (I3).
            if newest.get(client).is_some_and(|marks| Arc::ptr_eq(marks, &self.own)) {
                newest.remove(client);
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
        fence.wait().now_or_never().is_some()
    }

    #[test]
    fn a_newer_stream_waits_for_the_end_of_the_older_one() {
        let fences = Arc::new(Fences::default());
        let first = fences.enter(&headers("a-1")).unwrap();
        assert!(may_start(&first));
        let second = fences.enter(&headers("a-2")).unwrap();
        assert!(!may_start(&second));
        assert!(first.superseded().now_or_never().is_some());
        assert!(second.superseded().now_or_never().is_none());
        drop(first);
        assert!(may_start(&second));
        let third = fences.enter(&headers("a-5")).unwrap();
        assert!(!may_start(&third));
        drop(second);
        assert!(may_start(&third));
        drop(third);
        assert!(fences.newest.lock().is_empty());
    }

    #[test]
    fn streams_that_wait_do_not_pile_up() {
        let fences = Arc::new(Fences::default());
        let first = fences.enter(&headers("a-1")).unwrap();
        assert!(may_start(&first));
        let mut last = fences.enter(&headers("a-2")).unwrap();
        for dial in 3..100 {
            let next = fences.enter(&headers(&format!("a-{dial}"))).unwrap();
            assert!(last.superseded().now_or_never().is_some());
            drop(last);
            assert!(!may_start(&next), "the first one has not ended");
            last = next;
        }
        drop(first);
        assert!(may_start(&last));
    }

    /// I3. After `TestAcceptPeerStaleCleanupDoesNotDetachReplacement` of Go Gorums.
    #[test]
    fn the_end_of_an_old_stream_does_not_touch_its_successor() {
        let fences = Arc::new(Fences::default());
        let first = fences.enter(&headers("a-1")).unwrap();
        let second = fences.enter(&headers("a-2")).unwrap();
        drop(first);
        assert!(may_start(&second));
        let third = fences.enter(&headers("a-3")).unwrap();
        assert!(second.superseded().now_or_never().is_some(), "the clean-up of the first has detached it");
        assert!(!may_start(&third));
        drop((second, third));
        assert!(fences.newest.lock().is_empty());
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

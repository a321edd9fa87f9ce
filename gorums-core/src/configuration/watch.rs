//! Configurations that are derived again and again, such as that of the fastest nodes.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::FusedStream;
use tokio::time::{Sleep, sleep};

use crate::configuration::Configuration;
use crate::pool::Pool;

impl Configuration {
    /// Derives a configuration from this one at once and then every `interval`, and yields it when it differs from the
    /// one yielded before: in its nodes, or in their order.
    ///
    /// A function of the type and not a method, so that services may have a method of this name.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use futures_util::StreamExt;
    /// # use gorums_core::{Configuration, latency};
    /// # async fn run(configuration: Configuration) {
    /// let seconds = Duration::from_secs(5);
    /// let mut fastest = Configuration::watch(&configuration, seconds, |all| all.sorted_by(latency).take(3));
    /// while let Some(configuration) = fastest.next().await {
    ///     println!("now on {configuration}");
    /// }
    /// # }
    /// ```
    ///
    /// Nothing runs in the background: `derive` is called by whoever takes the next item, at most once per `interval`.
    /// Intervals that nobody waited for count as one, so that whoever is slow gets what is derived from the nodes as they
    /// are then, and the next interval starts there. An interval below a millisecond is taken as one.
    ///
    /// The stream ends when the configuration is [closed](Self::close) or aborted, or its server is. It keeps the connections to all
    /// nodes of this configuration open until it ends or is dropped, as `derive` may pick any; but not those to nodes
    /// that `derive` has added.
    ///
    /// # Panics
    ///
    /// When it is first polled outside of a Tokio runtime; and a panic of `derive` reaches whoever takes the item.
    ///
    /// # Cancel safety
    ///
    /// Taking the next item may be given up and begun again: no change is lost, and the interval does not start anew.
    pub fn watch<F>(
        this: &Self,
        interval: Duration,
        derive: F,
    ) -> impl FusedStream<Item = Self> + Send + Unpin + use<F>
    where
        F: FnMut(&Self) -> Self + Send + Unpin,
    {
        let (closing, aborting) = (this.pool().closing().clone(), this.pool().aborting().clone());
        let closing = Box::pin(async move {
            tokio::select! {
                () = closing.cancelled() => {}
                () = aborting.cancelled() => {}
            }
        });
        let interval = interval.max(Duration::from_millis(1));
        Watch(Some(State { source: this.clone(), derive, interval, closing, due: None, last: None }))
    }

    fn fingerprint(&self) -> Fingerprint {
        let ordinals = self.iter().map(|node| node.channel().ordinal()).collect();
        Fingerprint { pool: Arc::downgrade(self.pool()), ordinals }
    }
}

/// What tells ordered lists of nodes apart, and keeps no connection to any of them.
struct Fingerprint {
    pool: Weak<Pool>,
    ordinals: Vec<u32>,
}

impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.pool.ptr_eq(&other.pool) && self.ordinals == other.ordinals
    }
}

/// Nothing once it has ended.
struct Watch<F>(Option<State<F>>);

struct State<F> {
    source: Configuration,
    derive: F,
    interval: Duration,
    closing: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// When to derive next: at once, before the first time.
    due: Option<Pin<Box<Sleep>>>,
    /// What was yielded last.
    last: Option<Fingerprint>,
}

impl<F: FnMut(&Configuration) -> Configuration> State<F> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Configuration>> {
        loop {
            if self.closing.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            if let Some(due) = &mut self.due {
                ready!(due.as_mut().poll(cx));
            }
            self.due = Some(Box::pin(sleep(self.interval)));
            let derived = (self.derive)(&self.source);
            let fingerprint = derived.fingerprint();
            if self.last.as_ref() != Some(&fingerprint) {
                self.last = Some(fingerprint);
                return Poll::Ready(Some(derived));
            }
        }
    }
}

impl<F: FnMut(&Configuration) -> Configuration + Unpin> Stream for Watch<F> {
    type Item = Configuration;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Configuration>> {
        let Some(state) = &mut self.0 else { return Poll::Ready(None) };
        let next = ready!(state.poll_next(cx));
        if next.is_none() {
            self.0 = None;
        }
        Poll::Ready(next)
    }
}

impl<F: FnMut(&Configuration) -> Configuration + Unpin> FusedStream for Watch<F> {
    fn is_terminated(&self) -> bool {
        self.0.is_none()
    }
}

#[cfg(test)]
mod tests;

//! What may be said about calls: by the caller about one call, or about all calls on a configuration.

use std::sync::Arc;
use std::time::Duration;

use tonic::metadata::MetadataMap;

use crate::call::retry::Retry;
use crate::channel::queue::{Overflow, Priority};
use crate::router::entry::MailboxOverflow;

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timeout {
    After(Duration),
    /// Only streaming calls may opt out.
    Never,
}

/// Replies of a streaming call that wait to be taken.
pub(crate) const MAILBOX: usize = 1024;

/// The policies of calls: deadline, retries, priority, and what happens when a node is down or its queue is full.
///
/// Given to a configuration, with [`call_options`](crate::ConfigurationBuilder::call_options) or
/// [`with_options`](crate::Configuration::with_options), they hold for all calls on it; given to one call, with `options` or
/// a method of the same name as here, for that call. What is said about a call is stronger than what is said about its
/// configuration, and that is stronger than what was given to the builder; what nobody has said is as the docs of each
/// option tell.
///
/// ```
/// use std::time::Duration;
///
/// use gorums_core::{CallOptions, Configuration, Retry};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), gorums_core::ConfigError> {
/// let patient = CallOptions::new().timeout(Duration::from_secs(30)).wait_for_ready(true).retry(Retry::up_to(5));
/// let configuration = Configuration::builder().nodes(["10.0.0.1:8080", "10.0.0.2:8080"]).connect_lazy()?;
/// // The same nodes and connections, for calls that are not in a hurry.
/// let background = configuration.with_options(patient);
/// # Ok(()) }
/// ```
///
/// Asking a few nodes first, and others when those are slow, is not among them but a way to make a call,
/// [`staged`](crate::QuorumCall::staged): a configuration for which it held would write to fewer nodes than it seems.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    pub(crate) timeout: Option<Timeout>,
    pub(crate) metadata: Option<Box<MetadataMap>>,
    pub(crate) wait_for_ready: Option<bool>,
    pub(crate) overflow: Option<Overflow>,
    pub(crate) priority: Option<Priority>,
    pub(crate) retry: Option<Arc<Retry>>,
    pub(crate) mailbox: Option<(usize, MailboxOverflow)>,
}

impl CallOptions {
    /// Nothing is said.
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls end after this time; after 5 s, or as the [builder](crate::ConfigurationBuilder::timeout) says, by default. The
    /// remaining time travels with the request.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(Timeout::After(timeout));
        self
    }

    /// Metadata for the handlers; none by default. ASCII keys and values; a binary one travels in base64. Where a call and
    /// its configuration both have some, the handler gets both, and of keys that both have the values of the call.
    #[must_use]
    pub fn metadata(mut self, metadata: MetadataMap) -> Self {
        self.metadata = Some(Box::new(metadata));
        self
    }

    /// Whether requests wait, within their deadline, for a node that has been down for a while. By default they fail at
    /// once on such a node, so that quorum calls decide early.
    #[must_use]
    pub fn wait_for_ready(mut self, wait: bool) -> Self {
        self.wait_for_ready = Some(wait);
        self
    }

    /// What one-way calls do when the queue of a node is full; by default, they fail on that node. Calls with replies always
    /// do.
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = Some(overflow);
        self
    }

    /// Whether requests pass others that wait; by default they do not.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Asks nodes again that have failed transiently, where that is safe; by default, none is asked again.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(Arc::new(retry));
        self
    }

    /// How many replies of a streaming call may wait to be read, and what happens when there are more. By default 1,024, and
    /// then the call fails as overrun.
    #[must_use]
    pub fn mailbox(mut self, replies: usize, overflow: MailboxOverflow) -> Self {
        self.mailbox = Some((replies, overflow));
        self
    }

    /// These options, and `others` where these say nothing.
    #[must_use]
    pub fn or(self, others: &Self) -> Self {
        Self {
            timeout: self.timeout.or(others.timeout),
            metadata: joined(self.metadata, others.metadata.as_deref()),
            wait_for_ready: self.wait_for_ready.or(others.wait_for_ready),
            overflow: self.overflow.or(others.overflow),
            priority: self.priority.or(others.priority),
            retry: self.retry.or_else(|| others.retry.clone()),
            mailbox: self.mailbox.or(others.mailbox),
        }
    }
}

/// The entries of `own`, and those of `others` with other keys.
fn joined(own: Option<Box<MetadataMap>>, others: Option<&MetadataMap>) -> Option<Box<MetadataMap>> {
    let Some(others) = others else { return own };
    let Some(own) = own else { return Some(Box::new(others.clone())) };
    let mut headers = own.into_headers();
    let others = others.as_ref();
    let new: Vec<_> = others.keys().filter(|key| !headers.contains_key(*key)).collect();
    for key in new {
        for value in others.get_all(key) {
            headers.append(key, value.clone());
        }
    }
    Some(Box::new(MetadataMap::from_headers(headers)))
}

/// The options that every kind of call has, as methods of a type with a field `description`.
macro_rules! common_options {
    () => {
        /// Ends the call after this time. Without it, the configuration's default holds, 5 s unless it was
        /// changed. The remaining time travels with the request.
        pub fn timeout(mut self, timeout: ::std::time::Duration) -> Self {
            self.description.options.timeout = Some(crate::call::options::Timeout::After(timeout));
            self
        }

        /// Metadata for the handlers, with that of the configuration. ASCII keys and values; a binary one travels in base64.
        pub fn metadata(self, metadata: ::tonic::metadata::MetadataMap) -> Self {
            self.options(crate::call::options::CallOptions::new().metadata(metadata))
        }

        /// Whether the request waits, within its deadline, for a node that has been down for a while. By
        /// default it fails at once on such a node, so that quorum calls decide early.
        pub fn wait_for_ready(mut self, wait: bool) -> Self {
            self.description.options.wait_for_ready = Some(wait);
            self
        }

        /// Whether the request passes others that wait to be sent to the same node. See
        /// [`Priority`](crate::Priority) for what it costs.
        pub fn priority(mut self, priority: crate::channel::queue::Priority) -> Self {
            self.description.options.priority = Some(priority);
            self
        }

        /// Several options at once. What they do not say stays as it is.
        pub fn options(mut self, options: crate::call::options::CallOptions) -> Self {
            let said = ::std::mem::take(&mut self.description.options);
            self.description.options = options.or(&said);
            self
        }
    };
}
pub(crate) use common_options;

/// The options of calls with one reply of each node.
macro_rules! retry_option {
    () => {
        /// Asks nodes again that have failed transiently, where that is safe. See [`Retry`](crate::Retry).
        pub fn retry(mut self, retry: crate::call::retry::Retry) -> Self {
            self.description.options.retry = Some(::std::sync::Arc::new(retry));
            self
        }
    };
}
pub(crate) use retry_option;

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(entries: &[(&'static str, &str)]) -> MetadataMap {
        let mut map = MetadataMap::new();
        for (key, value) in entries {
            map.append(*key, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn what_is_said_about_a_call_is_stronger() {
        let second = Duration::from_secs(1);
        let configuration =
            CallOptions::new().timeout(second).wait_for_ready(true).priority(Priority::Control);
        let call = CallOptions::new().timeout(2 * second).or(&configuration);
        assert!(matches!(call.timeout, Some(Timeout::After(timeout)) if timeout == 2 * second));
        assert_eq!((call.wait_for_ready, call.priority), (Some(true), Some(Priority::Control)));
        assert!(call.retry.is_none() && call.overflow.is_none());
    }

    #[test]
    fn metadata_is_joined_and_keys_of_the_call_win() {
        let configuration =
            CallOptions::new().metadata(metadata(&[("tenant", "a"), ("tenant", "b"), ("user", "c")]));
        let call = CallOptions::new().metadata(metadata(&[("user", "d"), ("trace", "e")])).or(&configuration);
        let headers = call.metadata.unwrap().into_headers();
        let values =
            |key| headers.get_all(key).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(values("tenant"), ["a", "b"]);
        assert_eq!((values("user"), values("trace")), (vec!["d"], vec!["e"]));
    }
}

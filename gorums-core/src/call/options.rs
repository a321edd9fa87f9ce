//! What a caller may say about one call.

use std::time::Duration;

use tonic::metadata::MetadataMap;

use crate::channel::queue::Overflow;
use crate::router::entry::MailboxOverflow;

/// How long a call may take.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Timeout {
    /// As long as the configuration says.
    #[default]
    Default,
    After(Duration),
    /// Only streaming calls may opt out.
    Never,
}

/// Replies of a streaming call that wait to be taken.
pub(crate) const MAILBOX: usize = 1024;

#[derive(Debug)]
pub(crate) struct CallOptions {
    pub(crate) timeout: Timeout,
    pub(crate) metadata: Option<Box<MetadataMap>>,
    pub(crate) wait_for_ready: bool,
    pub(crate) overflow: Overflow,
    pub(crate) mailbox: (usize, MailboxOverflow),
}

impl Default for CallOptions {
    fn default() -> Self {
        Self {
            timeout: Timeout::Default,
            metadata: None,
            wait_for_ready: false,
            overflow: Overflow::Fail,
            mailbox: (MAILBOX, MailboxOverflow::Fail),
        }
    }
}

/// The options that every kind of call has, as methods of a type with a field `description`.
macro_rules! common_options {
    () => {
        /// Ends the call after this time. Without it, the configuration's default holds, 5 s unless it was
        /// changed. The remaining time travels with the request.
        pub fn timeout(mut self, timeout: ::std::time::Duration) -> Self {
            self.description.options.timeout = crate::call::options::Timeout::After(timeout);
            self
        }

        /// Metadata for the handlers. ASCII keys and values; a binary one travels in base64.
        pub fn metadata(mut self, metadata: ::tonic::metadata::MetadataMap) -> Self {
            self.description.options.metadata = Some(::std::boxed::Box::new(metadata));
            self
        }

        /// Whether the request waits, within its deadline, for a node that has been down for a while. By
        /// default it fails at once on such a node, so that quorum calls decide early.
        pub fn wait_for_ready(mut self, wait: bool) -> Self {
            self.description.options.wait_for_ready = wait;
            self
        }
    };
}
pub(crate) use common_options;

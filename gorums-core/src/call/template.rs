//! What the requests of one call have in common, and what each of them is made of.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tonic::metadata::MetadataMap;

use crate::channel::queue::{Awaits, Body, LocalRequest, Outgoing, Overflow, Priority};
use crate::id::MessageId;
use crate::payload::Payload;
use crate::wire;

/// What all requests of a call have in common, whatever they say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Template {
    pub(super) method: &'static str,
    pub(crate) idempotent: bool,
    pub(super) overflow: Overflow,
    pub(super) wait_for_ready: bool,
    pub(super) priority: Priority,
}

impl Template {
    #[inline]
    pub(crate) fn outgoing(&self, id: MessageId, body: Body, awaits: Awaits, timing: Timing) -> Outgoing {
        Outgoing {
            id,
            body,
            deadline: timing.deadline,
            awaits,
            overflow: self.overflow,
            priority: self.priority,
            idempotent: self.idempotent,
            wait_for_ready: self.wait_for_ready,
            sent_before: false,
            place: 0,
        }
    }

    #[inline]
    pub(crate) fn outline<'a>(
        &self,
        id: MessageId,
        timing: Timing,
        metadata: Option<&'a MetadataMap>,
    ) -> wire::Outline<'a> {
        wire::Outline::request(id.to_wire(), self.method, timing.timeout(), metadata)
    }

    /// A message for another process that was encoded before, behind the head of this attempt.
    pub(crate) fn copied(
        &self,
        id: MessageId,
        timing: Timing,
        metadata: Option<&MetadataMap>,
        message: &[u8],
    ) -> Body {
        let outline = self.outline(id, timing, metadata);
        Body::encode(outline.encoded_len(message.len()), |buf| {
            wire::encode(buf, &outline, message.len(), |buf| buf.extend_from_slice(message));
        })
    }

    /// A message for this process, which would be `len` long if it were encoded.
    #[inline]
    pub(crate) fn local(
        &self,
        payload: Payload,
        timing: Timing,
        metadata: Option<&MetadataMap>,
        len: usize,
    ) -> Body {
        let metadata = metadata.cloned().map(Arc::new);
        Body::Local(Box::new(LocalRequest {
            method: self.method,
            payload,
            deadline: timing.deadline,
            metadata,
            len,
        }))
    }
}

/// When a call starts, and when it ends at the latest.
#[derive(Clone, Copy)]
pub(crate) struct Timing {
    pub(super) deadline: Option<Instant>,
    now: Instant,
}

impl Timing {
    pub(crate) fn new(deadline: Option<Instant>, now: Instant) -> Self {
        Self { deadline, now }
    }

    fn timeout(self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(self.now))
    }
}

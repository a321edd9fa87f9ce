//! A handler that waits for its own node while it keeps that node's turn: nothing but a deadline would end the wait.

use crate::call::flight::Call;
use crate::error::{Fault, NodeErrorKind};
use crate::router::entry::{Entry, Progress};
use crate::server::nested;

impl<Resp> Call<Resp> {
    /// Fails the call at the own node, if that is all that it still waits for and it cannot start before the handler
    /// that waits has returned or released. True if it has failed.
    pub(crate) fn fail_if_own_turn_is_held(&self) -> bool {
        let Some((own, status)) = nested::own_turn_held() else { return false };
        let waits = |entry: &mut Entry| {
            let target = entry.only_open()?;
            (entry.position(own.ordinal()) == Some(target)).then(|| entry.progress(target))
        };
        let Some(progress) = self.with(waits).flatten() else { return false };
        let Some(id) = self.id() else { return false };
        own.pool().pending().fail(id, own.ordinal(), Fault::unsent(NodeErrorKind::Status(status), None));
        own.give_up(id, matches!(progress, Progress::Sent(_)));
        true
    }
}

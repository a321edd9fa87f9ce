//! Sessions, in which writes are numbered.

use std::sync::{Mutex, PoisonError};

use crate::proto::Session;

/// The sessions of a client that no write is using.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    idle: Mutex<Vec<Session>>,
}

impl Sessions {
    /// One that is not in use, or a new one.
    pub(crate) fn take(&self) -> Session {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| Session { client: rand::random(), sequence: 0 })
    }

    /// Lets another write use it.
    pub(crate) fn give_back(&self, session: Session) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }
}

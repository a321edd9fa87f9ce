//! Sessions, in which writes are numbered.

use std::sync::{Mutex, PoisonError};

use rand::RngExt;

use crate::chance::Chance;
use crate::proto::Session;

/// The sessions of a client, or of a node for writes that come without one, that no write is using.
#[derive(Debug)]
pub(crate) struct Sessions {
    chance: Chance,
    idle: Mutex<Vec<Session>>,
}

impl Sessions {
    pub(crate) fn new(seed: u64) -> Self {
        Self { chance: Chance::new(seed), idle: Mutex::default() }
    }

    /// The next number of a session that is not in use, or the first one of a new session.
    pub(crate) fn next(&self) -> Session {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Session { client, sequence } =
            idle.unwrap_or_else(|| Session { client: self.chance.rng().random(), sequence: 0 });
        Session { client, sequence: sequence + 1 }
    }

    /// Lets another write use the session of one that was answered. After a failure or without an answer, it is not certain
    /// what the number stands for, and the session is not used again.
    pub(crate) fn done(&self, session: Session) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }
}

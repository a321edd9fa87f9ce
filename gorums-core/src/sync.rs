//! The lock that concurrent parts are built from.

use std::sync::{self, MutexGuard, PoisonError};

/// A mutex that ignores poisoning: no code of a user runs while one is held, and what it guards is
/// consistent between any two statements.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

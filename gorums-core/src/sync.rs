//! What concurrent parts are built from: of the standard library, or of loom where they are model-checked.

#[cfg(gorums_model)]
use loom::sync as model;
#[cfg(not(gorums_model))]
use std::sync as model;
use std::sync::PoisonError;

pub(crate) use model::MutexGuard;
pub(crate) use model::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A mutex that ignores poisoning: no code of a user runs while one is held, and what it guards is
/// consistent between any two statements.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(model::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(model::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value in cache lines of its own: what many threads write keeps them from what they only read beside it. 128 bytes, as
/// processors fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Apart<T>(pub(crate) T);

impl<T> std::ops::Deref for Apart<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

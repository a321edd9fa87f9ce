//! Three protocols to read beside their papers: the ABD register, single-decree Paxos, and Bracha's reliable broadcast.

pub mod abd;
pub mod bracha;
pub mod paxos;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks what a handler keeps. It is changed by whole assignments, so that a panic leaves nothing half done.
fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

//! A disk in memory that forgets what was not synced when it loses power.

use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// A disk that survives the node that uses it.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    state: Arc<Mutex<State>>,
    changed: Arc<Condvar>,
}

#[derive(Default)]
struct State {
    data: Vec<u8>,
    /// How to get back to what was synced: the length then, and what was overwritten since, oldest first.
    synced_len: usize,
    undo: Vec<(usize, Vec<u8>)>,
    /// Grows when power is lost: whoever used the disk before has lost it.
    boots: u64,
    syncs: u64,
    /// Syncs do not end.
    held: bool,
}

impl Disk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// The disk, for a database. It stops working when power is lost.
    pub fn backend(&self) -> DiskBackend {
        DiskBackend { disk: self.clone(), boot: self.state().boots }
    }

    /// Forgets what was not synced, and takes the disk away from whoever uses it.
    pub fn lose_power(&self) {
        let mut state = self.state();
        let State { data, synced_len, undo, boots, .. } = &mut *state;
        for (offset, old) in undo.drain(..).rev() {
            let end = offset + old.len();
            if data.len() < end {
                data.resize(end, 0);
            }
            data[offset..end].copy_from_slice(&old);
        }
        data.resize(*synced_len, 0);
        *boots += 1;
        state.held = false;
        self.changed.notify_all();
    }

    /// Lets no sync end from now on until power is lost. Whoever syncs is blocked: the storage has to use
    /// [threads](crate::Storage::with_threads).
    pub fn hold_syncs(&self) {
        self.state().held = true;
    }

    /// How often it was synced.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("len", &self.data.len())
            .field("boots", &self.boots)
            .finish_non_exhaustive()
    }
}

/// A [`Disk`] in use.
#[derive(Debug)]
pub struct DiskBackend {
    disk: Disk,
    boot: u64,
}

impl DiskBackend {
    fn state(&self) -> Result<MutexGuard<'_, State>, io::Error> {
        let state = self.disk.state();
        if state.boots == self.boot { Ok(state) } else { Err(io::Error::other("the power was lost")) }
    }
}

impl StorageBackend for DiskBackend {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.state()?.data.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let state = self.state()?;
        let from = offset as usize;
        let data = state.data.get(from..from + out.len());
        out.copy_from_slice(data.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut state = self.state()?;
        let len = len as usize;
        if len < state.data.len() {
            let cut = state.data[len..].to_vec();
            state.undo.push((len, cut));
        }
        state.data.resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let held = |state: &mut State| state.held && state.boots == self.boot;
        drop(self.disk.changed.wait_while(self.state()?, held).unwrap_or_else(PoisonError::into_inner));
        let mut state = self.state()?;
        state.undo.clear();
        state.synced_len = state.data.len();
        state.syncs += 1;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut state = self.state()?;
        let (from, to) = (offset as usize, offset as usize + data.len());
        if to > state.data.len() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let old = state.data[from..to].to_vec();
        state.undo.push((from, old));
        state.data[from..to].copy_from_slice(data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_synced_is_gone() {
        let disk = Disk::new();
        let before = disk.backend();
        before.set_len(4).unwrap();
        before.write(0, b"abcd").unwrap();
        before.sync_data().unwrap();
        before.set_len(2).unwrap();
        before.write(0, b"x").unwrap();
        before.set_len(6).unwrap();
        before.write(3, b"yz").unwrap();
        disk.lose_power();
        assert!(before.write(0, b"q").is_err(), "it belongs to the next boot");
        let after = disk.backend();
        let mut data = [0; 4];
        after.read(0, &mut data).unwrap();
        assert_eq!((after.len().unwrap(), &data), (4, b"abcd"));
    }
}

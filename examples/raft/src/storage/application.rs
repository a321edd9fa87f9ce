//! The part of the state that belongs to the application on top of the node.

use std::io;

use bytes::Bytes;
use redb::{ReadableTable, Table};

/// A state machine of an application, in the same log as the store.
///
/// Commands come from [`Node::propose`](crate::Node::propose), and are applied on every node in the same order. The state
/// is a table of bytes, which snapshots contain.
pub trait Application: Send + Sync + 'static {
    /// Applies a command and answers whoever proposed it. It has to be deterministic: without a clock, without chance, and
    /// without anything but the state and the command. It runs in a transaction; what it wrote is undone if it fails.
    ///
    /// # Errors
    ///
    /// Those of the state itself, and nothing else: a node that cannot read or write its state stops for good. A command
    /// that makes no sense is answered so.
    fn apply(&self, state: &mut ApplicationState<'_, '_>, command: Bytes) -> io::Result<Bytes>;
}

/// No application: commands are ignored.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoApplication;

impl Application for NoApplication {
    fn apply(&self, _: &mut ApplicationState<'_, '_>, _: Bytes) -> io::Result<Bytes> {
        Ok(Bytes::new())
    }
}

/// The state of the application while a command is applied.
#[derive(Debug)]
pub struct ApplicationState<'s, 't> {
    table: &'s mut Table<'t, &'static [u8], &'static [u8]>,
}

impl<'s, 't> ApplicationState<'s, 't> {
    pub(crate) fn new(table: &'s mut Table<'t, &'static [u8], &'static [u8]>) -> Self {
        Self { table }
    }

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// The disk cannot be read.
    pub fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        let value = self.table.get(key).map_err(io::Error::other)?;
        Ok(value.map(|value| Bytes::copy_from_slice(value.value())))
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    ///
    /// The disk cannot be written.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.table.insert(key, value).map(drop).map_err(io::Error::other)
    }

    /// Removes a key.
    ///
    /// # Errors
    ///
    /// The disk cannot be written.
    pub fn remove(&mut self, key: &[u8]) -> io::Result<()> {
        self.table.remove(key).map(drop).map_err(io::Error::other)
    }
}

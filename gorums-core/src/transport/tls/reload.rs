//! What can be replaced while it is in use.

use std::fmt;
use std::sync::Arc;

use crate::sync::Mutex;
use crate::transport::tls::TlsError;

/// Material, and what is made of it for the connections to come.
pub(super) struct Reloadable<M, T> {
    build: fn(&M) -> Result<T, TlsError>,
    /// Held while something new is made, so that the newest change wins.
    changing: Mutex<()>,
    current: Mutex<(M, Arc<T>)>,
}

impl<M: Clone, T> Reloadable<M, T> {
    pub(super) fn new(material: M, build: fn(&M) -> Result<T, TlsError>) -> Result<Self, TlsError> {
        let made = Arc::new(build(&material)?);
        Ok(Self { build, changing: Mutex::default(), current: Mutex::new((material, made)) })
    }

    pub(super) fn current(&self) -> Arc<T> {
        self.current.lock().1.clone()
    }

    pub(super) fn material(&self) -> M {
        self.current.lock().0.clone()
    }

    /// Builds anew after a change to the material. If that fails, all stays as it was.
    pub(super) fn change(&self, change: impl FnOnce(&mut M)) -> Result<(), TlsError> {
        let _changing = self.changing.lock();
        let mut material = self.material();
        change(&mut material);
        let made = Arc::new((self.build)(&material)?);
        *self.current.lock() = (material, made);
        Ok(())
    }
}

impl<M: fmt::Debug, T> fmt::Debug for Reloadable<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.current.lock().0.fmt(f)
    }
}

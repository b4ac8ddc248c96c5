//! One writer at a time.

use std::fs;

use diagnostic::{Error, Result};
use process::Lock;

use crate::Store;
use crate::remove::sweep;

/// The right to change a store, given by [`Store::lock`] and held until this is dropped.
#[derive(Debug)]
pub struct Writer<'s> {
    pub(crate) store: &'s Store,
    _lock: Lock,
}

impl Store {
    /// Creates the store if need be, waits for its lock, and removes what a killed writer left behind.
    ///
    /// `on_wait` is called once if another process holds the lock, with its process id where known. The kernel drops the
    /// lock of a process that dies. A thread that already holds a [`Writer`] of this store must not call this.
    ///
    /// # Errors
    /// The store cannot be created or written, or we were interrupted while waiting.
    pub fn lock(&self, on_wait: impl FnOnce(Option<u32>)) -> Result<Writer<'_>> {
        let builds = self.builds();
        fs::create_dir_all(&builds).map_err(|error| {
            Error::io("cannot create", &builds, error).hint("`CARAVAN_HOME` puts the store into another directory")
        })?;
        let lock = Lock::acquire(&self.lock_path(), on_wait)?;
        sweep(self);
        Ok(Writer { store: self, _lock: lock })
    }
}

impl Writer<'_> {
    /// The store that this writer may change.
    pub fn store(&self) -> &Store {
        self.store
    }
}

//! One writer at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use diagnostic::{Error, Result};
use process::interrupt;

use crate::Store;
use crate::remove::sweep;

/// How often a waiting writer looks again, and at Ctrl-C.
const POLL: Duration = Duration::from_millis(50);

/// The right to change a store, given by [`Store::lock`] and held until this is dropped.
#[derive(Debug)]
pub struct Writer<'s> {
    pub(crate) store: &'s Store,
    file: File,
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
        let path = self.lock_path();
        let fail = |error| Error::io("cannot lock", &path, error);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(fail)?;
        let mut on_wait = Some(on_wait);
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(fail(error)),
            }
            if let Some(on_wait) = on_wait.take() {
                on_wait(holder(&file));
            }
            interrupt::check()?;
            thread::sleep(POLL);
        }
        // Only for the message of those who wait; a full disk must not keep anyone from uninstalling.
        let pid = format!("{}\n", std::process::id());
        let _ = file.set_len(0).and_then(|()| file.write_all_at(pid.as_bytes(), 0));
        sweep(self);
        Ok(Writer { store: self, file })
    }
}

impl Writer<'_> {
    /// The store that this writer may change.
    pub fn store(&self) -> &Store {
        self.store
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
        // Closing is not enough: a child that another thread is just starting holds the same open file until it execs.
        let _ = self.file.unlock();
    }
}

/// The process id that the holder wrote.
fn holder(file: &File) -> Option<u32> {
    let mut text = [0; 32];
    let length = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok()
}

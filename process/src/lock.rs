//! One process at a time: a lock file that the kernel releases when its holder dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;

use diagnostic::{Error, Result};

use crate::{POLL, interrupt};

/// A held lock; dropped, it is free. The file stays: removing it would let two processes lock two files of one name.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Waits for the lock on `path`, which is created if need be; its directory must exist.
    ///
    /// `on_wait` is called once if another process holds the lock, with its process id where known. A thread that already
    /// holds this lock must not ask again.
    ///
    /// # Errors
    /// The file cannot be created or locked, or we were interrupted while waiting.
    pub fn acquire(path: &Path, on_wait: impl FnOnce(Option<u32>)) -> Result<Lock> {
        let fail = |error| Error::io("cannot lock", path, error);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(fail)?;
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
        // Only for the message of those who wait; a full disk must not keep anyone out.
        let pid = format!("{}\n", std::process::id());
        let _ = file.set_len(0).and_then(|()| file.write_all_at(pid.as_bytes(), 0));
        Ok(Lock { file })
    }
}

impl Drop for Lock {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn the_second_waits_for_the_first_and_knows_who_it_is() {
        let path = std::env::temp_dir().join(format!("caravan-lock-{}", std::process::id()));
        let first = Lock::acquire(&path, |_| panic!("nobody holds it")).unwrap();
        let released = AtomicBool::new(false);
        thread::scope(|scope| {
            let second = scope.spawn(|| {
                let mut holder = None;
                let lock = Lock::acquire(&path, |pid| holder = pid).unwrap();
                assert!(released.load(Ordering::SeqCst), "two held the lock at once");
                drop(lock);
                holder
            });
            thread::sleep(POLL * 5);
            released.store(true, Ordering::SeqCst);
            drop(first);
            assert_eq!(second.join().unwrap(), Some(std::process::id()));
        });
        std::fs::remove_file(&path).unwrap();
    }
}

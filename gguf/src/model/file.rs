//! Writes a planned model to a file: all of it, or nothing.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::{self, Scope, ScopedJoinHandle};

use diagnostic::{Error, Result, codes};
use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::{Errno, retry_on_intr};

use super::plan::ModelPlan;
use super::stream::write_named;

/// How much is synced at a time; twice as much at most waits in the page cache.
const SYNC_BYTES: usize = 128 << 20;

/// Writes the model beside `path`, syncs it, and renames it into place, over a file that may be there. On any failure
/// the half-written file is removed and what was at `path` stays.
///
/// Progress and stopping are those of [`super::write()`].
///
/// # Errors
/// [`diagnostic::codes::DISK_FULL`] before anything is written when the model does not fit, other errors of the file
/// system, and whatever `on_progress` returns.
pub fn write_file(plan: &ModelPlan, path: &Path, on_progress: impl FnMut(u64) -> Result<()>) -> Result<()> {
    let failed = |error: io::Error| Error::io("cannot write model", path, error);
    // Renaming over a device such as `/dev/null` would work, for root, and leave a machine without it.
    let in_the_way = fs::metadata(path).is_ok_and(|there| !there.is_file());
    let Some(name) = path.file_name().filter(|_| !in_the_way) else {
        let message = format!("cannot write model `{}`: not a file", path.display());
        return Err(Error::new(codes::IO, message).hint("name a new file, or one to replace"));
    };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    let staged = tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(".part")
        // As any new file: readable by all that the umask allows. Temporary files are private by default.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)
        .map_err(failed)?;
    let file = staged.as_file();
    reserve(file, path, plan.file_bytes)?;
    thread::scope(|scope| write_named(plan, path, &mut Steady::new(file, scope), on_progress))?;
    file.sync_all().map_err(failed)?;
    staged.persist(path).map_err(|error| failed(error.error))?;
    // Only now is the new name on disk.
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

/// Takes the space of the whole file before the first byte, so that a full disk is found in milliseconds.
fn reserve(file: &File, path: &Path, bytes: u64) -> Result<()> {
    // Asked first, because some file systems fill the disk to the brim before they find that it does not suffice.
    if let Ok(stat) = fstatvfs(file) {
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < bytes {
            let [needed, free] = [bytes, free].map(|bytes| format!("{:.1} MB", bytes as f64 / 1e6));
            let message = format!("cannot write model `{}`: it takes {needed} and {free} are free", path.display());
            return Err(Error::new(codes::DISK_FULL, message));
        }
    }
    match retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, bytes)) {
        Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => {
            Err(Error::io("cannot write model", path, error.into()))
        }
        // Not every file system can; there a full disk is met while writing.
        _ => Ok(()),
    }
}

/// Syncs what it has written while it goes on writing. Otherwise gigabytes pile up in the page cache, progress races
/// ahead of the disk, and the last sync takes a minute during which nobody can stop it.
struct Steady<'scope, 'file> {
    file: &'file File,
    scope: &'scope Scope<'scope, 'file>,
    unsynced: usize,
    syncing: Option<ScopedJoinHandle<'scope, io::Result<()>>>,
}

impl<'scope, 'file> Steady<'scope, 'file> {
    fn new(file: &'file File, scope: &'scope Scope<'scope, 'file>) -> Steady<'scope, 'file> {
        Steady { file, scope, unsynced: 0, syncing: None }
    }

    /// Waits for the sync that is under way.
    fn settle(&mut self) -> io::Result<()> {
        self.syncing.take().map_or(Ok(()), |thread| thread.join().expect("a sync does not panic"))
    }
}

impl Write for Steady<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.unsynced += count;
        if self.unsynced >= SYNC_BYTES {
            self.settle()?;
            let file = self.file;
            self.syncing = Some(self.scope.spawn(|| file.sync_data()));
            self.unsynced = 0;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.settle()
    }
}

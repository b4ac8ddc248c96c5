//! Writes a planned model to a file: all of it, or nothing.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use diagnostic::{Error, Result};
use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::{Errno, retry_on_intr};

use super::plan::ModelPlan;
use super::stream::write_named;

/// Writes the model beside `path`, syncs it, and renames it into place, over a file that may be there. On any failure
/// the half-written file is removed and what was at `path` stays.
///
/// Progress and stopping are those of [`super::write`].
///
/// # Errors
/// [`diagnostic::codes::DISK_FULL`] before anything is written when the model does not fit, other errors of the file
/// system, and whatever `on_progress` returns.
pub fn write_file(plan: &ModelPlan, path: &Path, on_progress: impl FnMut(u64) -> Result<()>) -> Result<()> {
    let failed = |error: io::Error| Error::io("cannot write model", path, error);
    let Some(name) = path.file_name().filter(|_| !path.is_dir()) else {
        return Err(failed(io::ErrorKind::IsADirectory.into()).hint("name the file to write"));
    };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    let mut staged = tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(".part")
        // As any new file: readable by all that the umask allows. Temporary files are private by default.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)
        .map_err(failed)?;
    reserve(staged.as_file(), plan.file_bytes)
        .map_err(|error| failed(error).hint(space(staged.as_file(), plan.file_bytes)))?;
    write_named(plan, path, staged.as_file_mut(), on_progress)?;
    staged.as_file().sync_all().map_err(failed)?;
    staged.persist(path).map_err(|error| failed(error.error))?;
    // Only now is the new name on disk.
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

/// Takes the space of the whole file before the first byte, so that a full disk is found in milliseconds.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, bytes)) {
        Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(error.into()),
        // Not every file system can; there a full disk is met while writing.
        _ => Ok(()),
    }
}

fn space(file: &File, needed: u64) -> String {
    let free = fstatvfs(file).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    format!("the model takes {:.1} MB and {:.1} MB are free", needed as f64 / 1e6, free as f64 / 1e6)
}

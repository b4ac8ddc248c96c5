//! Files that are whole or absent.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use diagnostic::{Error, Result};

/// Writes `path` so that a reader sees the old content or the new, also after a crash or a full disk: a temporary file
/// `.<name>.*` in the same directory is written, synced and renamed. The directory must exist.
///
/// # Errors
/// The file cannot be written, or `path` is there and no file: a rename would replace a device or a link by a file. What
/// was there stays.
pub fn write_atomic(path: &Path, content: &[u8]) -> Result<()> {
    let fail = |source| Error::io("cannot write", path, source);
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(fail(io::Error::other("it is there and is not a file")));
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!(".{name}.");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix);
    // The umask takes its share, as for any new file. Where there is none, nobody writes these files.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(directory).map_err(fail)?;
    file.write_all(content).and_then(|()| file.as_file().sync_all()).map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(fail)
}

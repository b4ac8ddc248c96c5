//! Taking builds away, and what killed writers left.

use std::fs;
use std::io;
use std::path::Path;

use build_info::BuildId;
use diagnostic::{Error, Result, codes};

use crate::layout::{HISTORY_TEMP, LINK, STAGING, TRASH};
use crate::{Store, Writer, tree};

/// A build that was uninstalled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Its name.
    pub id: BuildId,
    /// Bytes of the files that are gone.
    pub size_bytes: u64,
}

impl Writer<'_> {
    /// Removes an installed build, damaged or not; `text` as for [`Store::find`]. What was measured for it stays: the
    /// same id is the same files. Where it came from is forgotten.
    ///
    /// # Errors
    /// No such build, it is the active one ([`codes::BUILD_ACTIVE`]), or the store cannot be written.
    pub fn uninstall(&self, text: &str) -> Result<Removed> {
        let id = self.store.find(text)?;
        if self.store.current_id()?.as_ref() == Some(&id) {
            return Err(Error::new(codes::BUILD_ACTIVE, format!("`{id}` is the active build"))
                .hint("activate another one first, with `cargo xtask use ID` or `cargo xtask rollback`"));
        }
        let path = self.store.build(&id);
        let size_bytes = tree::size(&path);
        discard(self.store, &id).map_err(|error| Error::io("cannot remove", &path, error))?;
        self.forget_origin(&id)?;
        Ok(Removed { id, size_bytes })
    }
}

/// Takes a build away: renamed first, so that a crash in the middle leaves no half build, only a hidden rest for the next
/// writer.
pub(crate) fn discard(store: &Store, id: &BuildId) -> io::Result<()> {
    let path = store.build(id);
    let trash = store.builds().join(format!("{TRASH}{id}"));
    match fs::rename(&path, &trash) {
        Ok(()) => remove(&trash),
        // A directory from a lower layer of a container image cannot be renamed, only removed.
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => remove(&path),
        Err(error) => Err(error),
    }
}

/// Removes what earlier writers left when they were killed. Only under the lock: then nobody needs it. What cannot be
/// removed stays for the next writer; it takes space and does no harm.
pub(crate) fn sweep(store: &Store) {
    let left = [(store.builds(), [STAGING, TRASH]), (store.root().to_owned(), [LINK, HISTORY_TEMP])];
    for (directory, prefixes) in left {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if prefixes.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                let _ = remove(&entry.path());
            }
        }
    }
}

/// Removes a directory with its content, or whatever else it is; never follows a link.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

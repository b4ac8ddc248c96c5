//! A private place beside the tree, where a new one is made, and the rename that puts it in place.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use diagnostic::{Error, Result};
use process::{Lock, interrupt};
use tempfile::TempDir;

use super::Progress;

const LOCK: &str = ".llama.cpp.lock";
const PREFIX: &str = ".llama.cpp.staging-";

/// A staging directory, and the lock that makes us the only writer of `vendor/llama.cpp`. Dropped: both are gone.
pub(super) struct Staging {
    // Fields are dropped in this order: the directory must be gone before another run may sweep.
    dir: TempDir,
    _lock: Lock,
}

impl Staging {
    /// Waits for other writers, then removes what runs that were killed have left.
    pub(super) fn open(vendor: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Staging> {
        let lock = Lock::acquire(&vendor.join(LOCK), |_| {
            progress(Progress::Note("waiting for another run that fetches llama.cpp".to_owned()));
        })?;
        let cannot_read = |error| Error::io("cannot read", vendor, error);
        for entry in fs::read_dir(vendor).map_err(cannot_read)? {
            let entry = entry.map_err(cannot_read)?;
            if entry.file_name().to_string_lossy().starts_with(PREFIX) {
                let path = entry.path();
                fs::remove_dir_all(&path).map_err(|error| Error::io("cannot remove", &path, error))?;
            }
        }
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(vendor);
        Ok(Staging { dir: dir.map_err(|error| Error::io("cannot write in", vendor, error))?, _lock: lock })
    }

    /// A new empty directory in the staging place.
    pub(super) fn slot(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.path().join(name);
        fs::create_dir(&path).map_err(|error| Error::io("cannot create", &path, error))?;
        Ok(path)
    }

    /// Renames a finished tree into its place. Files are not synced one by one: a tree that a power cut has damaged is
    /// found by the next run, which hashes it whole.
    pub(super) fn put_in_place(&self, staged: &Path, place: &Path) -> Result<()> {
        interrupt::check()?;
        let old = self.dir.path().join("old");
        let moved_away = match fs::rename(place, &old) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(Error::io("cannot replace", place, error)),
        };
        fs::rename(staged, place).map_err(|error| {
            if moved_away {
                // The first failure is the one to report.
                let _ = fs::rename(&old, place);
            }
            Error::io("cannot write", place, error)
        })
    }
}

/// Copies a local source directory without its `.git`, modes and links as they are.
pub(super) fn copy_source(from: &Path, to: &Path) -> Result<()> {
    copy_dir(from, to)?;
    remove_git(to)
}

fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    interrupt::check()?;
    let cannot_read = |error| Error::io("cannot read", from, error);
    for entry in fs::read_dir(from).map_err(cannot_read)? {
        let entry = entry.map_err(cannot_read)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(cannot_read)?;
        let cannot_copy = |error| Error::io("cannot copy", &source, error);
        if kind.is_dir() && entry.file_name() == ".git" {
            continue;
        } else if kind.is_dir() {
            fs::create_dir(&target).map_err(cannot_copy)?;
            copy_dir(&source, &target)?;
        } else if kind.is_symlink() {
            fs::read_link(&source).and_then(|link| symlink(link, &target)).map_err(cannot_copy)?;
        } else if kind.is_file() {
            fs::copy(&source, &target).map_err(cannot_copy)?;
        }
        // A socket or pipe cannot belong to a source tree; leaving it out cannot make a wrong tree right.
    }
    Ok(())
}

/// Removes `.git` at the top of a delivered tree: a directory in a clone, a file in a submodule. Git never records one.
pub(super) fn remove_git(dir: &Path) -> Result<()> {
    let git = dir.join(".git");
    let removed = match fs::symlink_metadata(&git) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&git),
        Ok(_) => fs::remove_file(&git),
        Err(_) => return Ok(()),
    };
    removed.map_err(|error| Error::io("cannot remove", &git, error))
}

//! Directories as maps from path to digest, copied, replaced and swept.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use build_info::Sha256Digest;
use diagnostic::{Error, Result, codes};
use process::interrupt;
use sha2::{Digest, Sha256};

/// What building leaves in upstream's source directory: no part of the source.
pub(super) const RESULTS: &[&str] = &["dist", "node_modules", ".svelte-kit"];

/// The digest of every file below `root`, by its path with `/` between the parts. Entries of `root` itself that are
/// `left_out` are.
pub(super) fn digests(root: &Path, left_out: &[&str]) -> Result<BTreeMap<String, Sha256Digest>> {
    let mut digests = BTreeMap::new();
    walk(root, "", left_out, &mut |path, name| {
        let content = fs::read(path).map_err(|error| Error::io("cannot read", path, error))?;
        digests.insert(name.to_owned(), sha256(&content));
        Ok(())
    })?;
    Ok(digests)
}

/// Calls `file` with each file below `root` and its name. Directories come before what is in them, and no link is
/// followed.
fn walk(root: &Path, prefix: &str, left_out: &[&str], file: &mut dyn FnMut(&Path, &str) -> Result<()>) -> Result<()> {
    interrupt::check()?;
    let fail = |error| Error::io("cannot read", root, error);
    for entry in fs::read_dir(root).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(fail(io::Error::other("it holds a name that is not UTF-8")));
        };
        if left_out.contains(&name.as_str()) {
            continue;
        }
        let (path, name) = (entry.path(), format!("{prefix}{name}"));
        let kind = entry.file_type().map_err(fail)?;
        if kind.is_dir() {
            walk(&path, &format!("{name}/"), &[], file)?;
        } else if kind.is_file() {
            file(&path, &name)?;
        } else {
            return Err(Error::new(codes::TREE_MISMATCH, format!("`{}` is not a regular file", path.display())));
        }
    }
    Ok(())
}

/// SHA-256 of bytes.
pub(super) fn sha256(bytes: impl AsRef<[u8]>) -> Sha256Digest {
    Sha256Digest::new(Sha256::digest(bytes).into())
}

/// One digest for many files: SHA-256 over the sorted lines that `sha256sum` would print.
pub(super) fn one_digest(files: &BTreeMap<String, Sha256Digest>) -> Sha256Digest {
    let lines: String = files.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect();
    sha256(lines)
}

/// Copies the source into the new directory `to`.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    walk(from, "", RESULTS, &mut |path, name| {
        let target = to.join(name);
        let parent = target.parent().unwrap_or(to);
        fs::create_dir_all(parent).map_err(|error| Error::io("cannot create", parent, error))?;
        fs::copy(path, &target).map(drop).map_err(|error| Error::io("cannot write", &target, error))
    })
}

/// Renames `new` to `place`; what was there moves to `old`.
pub(super) fn replace(new: &Path, place: &Path, old: &Path) -> Result<()> {
    let moved_away = match fs::rename(place, old) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(Error::io("cannot replace", place, error)),
    };
    fs::rename(new, place).map_err(|error| {
        if moved_away {
            // The first failure is the one to report.
            let _ = fs::rename(old, place);
        }
        Error::io("cannot write", place, error)
    })
}

/// Removes what builds that were killed have left in `dir`; called under the lock.
pub(super) fn sweep(dir: &Path, prefix: &str) -> Result<()> {
    let fail = |error| Error::io("cannot read", dir, error);
    for entry in fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            fs::remove_dir_all(entry.path()).map_err(|error| Error::io("cannot remove", &entry.path(), error))?;
        }
    }
    Ok(())
}

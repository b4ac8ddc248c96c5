//! Where things are. The root comes from the manifest, never from the working directory.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use diagnostic::{Error, Result, codes};
use store::Store;

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the manifest of xtask lies one level below the root")
}

/// Cargo's target directory, where everything goes that can be made again.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The store: in `CARAVAN_HOME`, otherwise in `.local` in the repository.
pub(crate) fn store() -> Store {
    Store::at(match env::var_os("CARAVAN_HOME") {
        Some(home) if !home.is_empty() => std::path::absolute(&home).unwrap_or_else(|_| home.into()),
        _ => root().join(".local"),
    })
}

/// Where fetched build tools are kept.
pub(crate) fn tools_dir() -> PathBuf {
    store().cache().join("tools")
}

/// Refuses paths that JSON, and with it every plan and report, cannot hold.
pub(crate) fn check() -> Result<()> {
    let target = target_dir();
    let store = store();
    match [root(), &target, store.root()].into_iter().find(|path| path.to_str().is_none()) {
        None => Ok(()),
        Some(path) => Err(Error::new(codes::IO, format!("path `{}` is not valid UTF-8", path.display()))
            .hint("move the repository, or set `CARGO_TARGET_DIR` and `CARAVAN_HOME` to other directories")),
    }
}

/// Fails unless a directory can be created and written, and its file system has that many bytes left.
pub(crate) fn check_space(dir: &Path, bytes: u64) -> Result<()> {
    let hint = "`CARAVAN_HOME` and `CARGO_TARGET_DIR` put the store and the build into other directories";
    let unusable = |error| Error::io("cannot write in", dir, error).hint(hint);
    fs::create_dir_all(dir).map_err(unusable)?;
    drop(tempfile::tempfile_in(dir).map_err(unusable)?);
    let free = rustix::fs::statvfs(dir).map_err(|error| unusable(error.into()))?;
    let free = free.f_bavail * free.f_frsize;
    if free < bytes {
        let message =
            format!("`{}` has {} MB left, and up to {} are needed", dir.display(), free / 1_000_000, bytes / 1_000_000);
        return Err(Error::new(codes::DISK_FULL, message).hint(hint));
    }
    Ok(())
}

/// Fails unless a report can be written there later, after minutes of measuring.
pub(crate) fn check_report(path: Option<&Path>) -> Result<()> {
    match path.and_then(Path::parent) {
        Some(dir) if !dir.as_os_str().is_empty() && !dir.is_dir() => {
            let message = format!("`{}` is not a directory: the report cannot be written", dir.display());
            Err(Error::new(codes::IO, message))
        }
        _ => Ok(()),
    }
}

/// The cargo that runs us.
pub(crate) fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// A path as a person would write it from the root of the repository.
pub(crate) fn short(path: &Path) -> String {
    let relative = path.strip_prefix(root()).unwrap_or(path);
    if relative.as_os_str().is_empty() { ".".to_owned() } else { relative.display().to_string() }
}

/// Where llama.cpp is patched and compiled.
pub(crate) fn llama_target_dir() -> PathBuf {
    target_dir().join("llama")
}

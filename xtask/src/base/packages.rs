//! Brings pinned packages here: through apt, which knows its mirrors, and checked by our own digest, whoever delivers them.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use build_info::Sha256Digest;
use diagnostic::{Error, Result, codes};
use oci::Digest;

use super::deb;
use super::pins::{self, Moved, Package, Pins};
use crate::{apt, ui, workspace};

/// More than any of these packages has.
const LIMIT: u64 = 64 << 20;

/// Where packages are kept, so that an image can be made again when the mirrors have dropped them.
fn dir() -> PathBuf {
    workspace::store().cache().join("packages")
}

/// The `.deb` of a pinned package, with the digest that it must have.
///
/// # Errors
/// [`codes::BASE_UNAVAILABLE`].
pub(super) fn fetch(package: &Package, architecture: &str) -> Result<PathBuf> {
    let dir = dir();
    let kept = dir.join(package.file(architecture));
    if kept.exists() && digest(&kept)? == package.sha256 {
        return Ok(kept);
    }
    let wanted = format!("{}:{architecture}={}", package.name, package.version);
    let deb = download(&wanted, &dir).map_err(|error| {
        if error.code() == codes::INTERRUPTED {
            return error;
        }
        Error::new(codes::BASE_UNAVAILABLE, format!("the package `{package}` cannot be fetched: {error}"))
            .hint("`cargo xtask image --bump-base` pins what apt offers now, where a newer version has replaced it")
            .hint(format!("or put the pinned file, from an archive of Debian, at `{}`", kept.display()))
            .hint("on another system than Debian, build `images/Containerfile`, whose base is pulled")
    })?;
    let found = digest(&deb.path)?;
    if found != package.sha256 {
        let message =
            format!("the package `{package}` is not the pinned one: sha256 {found} instead of {}", package.sha256);
        return Err(Error::new(codes::BASE_UNAVAILABLE, message)
            .hint("a mirror that serves something else under the same version is not to be trusted"));
    }
    fs::rename(&deb.path, &kept).map_err(|error| Error::io("cannot write", &kept, error))?;
    Ok(kept)
}

/// Pins what apt offers now. Says which packages have moved.
///
/// # Errors
/// apt offers none of that name; the file of pins cannot be written.
pub(crate) fn bump(pins: &Pins) -> Result<()> {
    let mut moved = Vec::new();
    for package in pins.packages() {
        let deb = download(&format!("{}:{}", package.name, pins.architecture), &dir())?;
        let (version, sha256) = (deb::version(&deb.path)?, digest(&deb.path)?);
        if (&version, &sha256) != (&package.version, &package.sha256) {
            ui::note(format!("moved     {} {} -> {version}", package.name, package.version));
            moved.push(Moved { name: package.name.clone(), version, sha256 });
        }
    }
    if moved.is_empty() {
        ui::note("unchanged every package is the newest that apt offers");
        return Ok(());
    }
    pins::write(&moved)?;
    ui::note("written   images/base.toml");
    Ok(())
}

/// A file that was downloaded; removed with its directory unless it is taken out.
struct Downloaded {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

/// Has apt download one package, as apt names it.
fn download(what: &str, below: &Path) -> Result<Downloaded> {
    let cannot_write = |error| Error::io("cannot write in", below, error);
    fs::create_dir_all(below).map_err(cannot_write)?;
    let staging = tempfile::Builder::new().prefix(".staging-").tempdir_in(below).map_err(cannot_write)?;
    apt::download(what, staging.path())?;
    let mut files = crate::image::files_of(staging.path())?;
    match (files.pop(), files.is_empty()) {
        (Some(path), true) => Ok(Downloaded { path, _dir: staging }),
        _ => Err(Error::new(codes::BASE_UNAVAILABLE, format!("`apt-get download {what}` did not write one file"))),
    }
}

fn digest(path: &Path) -> Result<Sha256Digest> {
    let fail = |error| Error::io("cannot read", path, error);
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes)).map_err(fail)?;
    if bytes.len() as u64 > LIMIT {
        let message = format!("`{}` has more than {LIMIT} bytes", path.display());
        return Err(Error::new(codes::BASE_UNAVAILABLE, message));
    }
    Ok(Digest::of(&bytes).sha256())
}

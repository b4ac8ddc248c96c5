//! The pristine source tree of llama.cpp in `vendor/llama.cpp`: present, verified, or fetched from the first mirror that
//! delivers it.
//!
//! The tree is hashed whole on every call (0.2 s for its 3,665 files), so a damaged one is never built. A new tree is
//! staged beside its place and takes it by renaming, so no half tree is ever seen, whenever we are stopped.

mod bump;
mod mirror;
mod staging;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use diagnostic::{Error, Result, codes};

pub use bump::{Bumped, bump};

use crate::archive::{self, Bounds, Wanted};
use crate::http;
use crate::manifest;
use crate::pin::{self, Mirror, Pin};
use staging::Staging;

/// Name of the pristine tree inside `vendor/`.
pub const TREE: &str = "llama.cpp";
/// Name of our patches' directory inside `vendor/`.
pub const PATCHES: &str = "patches";

/// Ten times what the archives of the pinned commit need (the source distribution unpacks to 190 MB, 3,900 entries).
const BOUNDS: Bounds = Bounds { entries: 40_000, file: 256 << 20, total: 2 << 30 };

/// What will be done to have the pinned source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorPlan {
    /// The source that is wanted.
    pub pin: Pin,
    /// The directory `vendor/` of the workspace.
    pub vendor: PathBuf,
    /// Where it comes from if it is not there yet.
    pub origin: Origin,
}

/// Where a source tree comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The pin's mirrors, in their order.
    Mirrors,
    /// A local directory; a `.git` in it is left out.
    Directory(PathBuf),
    /// A local `.tar.gz`: an upstream archive, or the pinned source distribution.
    Tarball(PathBuf),
}

/// What [`run`] tells while it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Something a person may want to know; may have several lines.
    Note(String),
    /// Bytes received so far, and of how many when that is known.
    Bytes(u64, Option<u64>),
}

/// How [`run`] ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The tree was there, and is the pinned one.
    Present {
        /// How many files it has.
        files: usize,
    },
    /// The tree was fetched, verified and put in place.
    Installed {
        /// How many files it has.
        files: usize,
        /// Where it came from, in words.
        from: String,
    },
}

/// Reads the pin in `vendor` and decides where the source comes from; looks only at files.
///
/// # Errors
/// The pin is invalid, or `source` does not exist.
pub fn plan(vendor: &Path, source: Option<&Path>) -> Result<VendorPlan> {
    let pin = Pin::read(&vendor.join(pin::FILE))?;
    let origin = match source {
        None => Origin::Mirrors,
        Some(path) => {
            let metadata = fs::metadata(path).map_err(|error| Error::io("cannot read", path, error))?;
            if metadata.is_dir() {
                Origin::Directory(path.to_owned())
            } else if metadata.is_file() {
                Origin::Tarball(path.to_owned())
            } else {
                let why = io::Error::other("it is neither a directory nor a file");
                return Err(Error::io("cannot take the source from", path, why));
            }
        }
    };
    Ok(VendorPlan { pin, vendor: vendor.to_owned(), origin })
}

/// Only verifies: is the source there, and is it the pinned one? Returns how many files it has.
///
/// # Errors
/// [`codes::TREE_MISMATCH`], naming what differs.
pub fn check(plan: &VendorPlan) -> Result<usize> {
    let tree = plan.tree();
    if !tree.is_dir() {
        return Err(Error::new(codes::TREE_MISMATCH, format!("`{}` does not exist", tree.display()))
            .hint("fetch it with `cargo xtask vendor`"));
    }
    plan.verify(&tree, &format!("`{}`", tree.display()))
        .map_err(|error| error.hint("`cargo xtask vendor` replaces it by the pinned one"))
}

/// Sees to it that the pinned source is there. A tree that is not the pinned one is replaced.
///
/// # Errors
/// No mirror delivers the pinned tree (one error that tells why for each), the local source is not the pinned tree, the
/// disk refuses, or we were interrupted. Whatever fails, `vendor/llama.cpp` is what it was before.
pub fn run(plan: &VendorPlan, progress: &mut dyn FnMut(Progress)) -> Result<Outcome> {
    match check(plan) {
        Ok(files) => return Ok(Outcome::Present { files }),
        Err(error) if error.code() == codes::TREE_MISMATCH => {
            if plan.tree().exists() {
                progress(Progress::Note(format!("replacing a damaged tree: {error}")));
            }
        }
        Err(error) => return Err(error),
    }
    let staging = Staging::open(&plan.vendor, progress)?;
    if let Ok(files) = check(plan) {
        // Another run has put it there while we waited for the lock.
        return Ok(Outcome::Present { files });
    }
    let (staged, files, from) = match &plan.origin {
        Origin::Mirrors => mirror::first_that_delivers(plan, &staging, progress)?,
        Origin::Directory(dir) => {
            let staged = staging.slot("tree")?;
            let name = format!("`{}`", dir.display());
            staging::copy_source(dir, &staged)?;
            let files = plan.verify(&staged, &name).map_err(|error| {
                error.hint(format!("a clean checkout of commit {} is needed, without build results", plan.pin.commit))
            })?;
            (staged, files, name)
        }
        Origin::Tarball(tarball) => {
            let staged = staging.slot("tree")?;
            let name = format!("`{}`", tarball.display());
            let files = plan.unpack(tarball, &plan.wanted_in(tarball)?, &staged, &name)?;
            (staged, files, name)
        }
    };
    staging.put_in_place(&staged, &plan.tree())?;
    Ok(Outcome::Installed { files, from })
}

impl VendorPlan {
    /// Where the pristine tree lies.
    pub fn tree(&self) -> PathBuf {
        self.vendor.join(TREE)
    }

    /// Where our patches lie.
    pub fn patches(&self) -> PathBuf {
        self.vendor.join(PATCHES)
    }

    fn verify(&self, dir: &Path, name: &str) -> Result<usize> {
        manifest::compare(dir, name, self.pin.tree, &self.vendor.join(manifest::FILE))
    }

    /// Unpacks an archive and verifies what came out of it.
    fn unpack(&self, archive: &Path, wanted: &Wanted, into: &Path, name: &str) -> Result<usize> {
        archive::extract(archive, wanted, BOUNDS, into)?;
        staging::remove_git(into)?;
        self.verify(into, name)
    }

    /// A local archive is taken for the pinned source distribution when its digest says so.
    fn wanted_in(&self, tarball: &Path) -> Result<Wanted> {
        let digest = http::sha256_of(tarball)?;
        let inside = self.pin.mirrors.iter().find_map(|mirror| match mirror {
            Mirror::PypiSdist { sha256, directory, .. } if *sha256 == digest => Some(directory),
            _ => None,
        });
        Ok(inside.map_or(Wanted::BelowSingleTop, |directory| Wanted::Below(directory.into())))
    }
}

impl fmt::Display for VendorPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pin { upstream, commit, tree, date, version, mirrors } = &self.pin;
        writeln!(f, "llama.cpp {version}+ of {date}, {upstream}")?;
        writeln!(f, "  commit  {commit}")?;
        writeln!(f, "  tree    {tree}")?;
        writeln!(f, "  into    {}", self.tree().display())?;
        match &self.origin {
            Origin::Mirrors => mirrors
                .iter()
                .enumerate()
                .try_for_each(|(n, mirror)| writeln!(f, "  {} {mirror}", if n == 0 { "from   " } else { "or from" })),
            Origin::Directory(dir) => writeln!(f, "  from    directory `{}`", dir.display()),
            Origin::Tarball(tarball) => writeln!(f, "  from    archive `{}`", tarball.display()),
        }
    }
}

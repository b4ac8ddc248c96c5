//! An artefact in a directory of its own, for whoever looks at it without installing it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use artefact::{Bounds, Offer};
use build_info::BuildInfo;
use diagnostic::{Error, Result};
use oci::{Cache, Resolved, Source};

use crate::ui::{Progress, Unit};

/// An artefact whose blobs and files are here, every one of them checked.
pub(crate) struct Unpacked {
    /// The blobs, as they were fetched.
    pub(crate) cache: Cache,
    /// The build.
    pub(crate) tree: PathBuf,
    pub(crate) info: BuildInfo,
}

/// Fetches all blobs and unpacks the layers below `dir`, which is empty.
///
/// # Errors
/// Those of [`oci::fetch`] and [`artefact::unpack`]; the artefact is not what its manifest offers.
pub(crate) fn unpack(source: &Source, resolved: &Resolved, offer: &Offer, dir: &Path) -> Result<Unpacked> {
    let cache = Cache::open(&dir.join("cache"))?;
    let blobs: Vec<_> = resolved.manifest.blobs().cloned().collect();
    let mut progress = Progress::new("fetching", Unit::Bytes);
    oci::fetch(source, &blobs, &cache, &mut |done, total| progress.set(done, total, ""))?;
    drop(progress);
    let mut open = |blob: &oci::Descriptor| Ok(Box::new(cache.open_blob(blob)?) as Box<dyn Read + Send>);
    let tree = dir.join("tree");
    fs::create_dir(&tree).map_err(|error| Error::io("cannot create", &tree, error))?;
    let info = artefact::unpack(&resolved.manifest, &mut open, Bounds::of(offer), &tree)?;
    offer.check(&info)?;
    Ok(Unpacked { cache, tree, info })
}

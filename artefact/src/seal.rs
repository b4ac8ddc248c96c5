//! The last step of a build: what it is made of, and the digest of every file.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use build_info::{BuildInfo, Sha256Digest, write_atomic};
use diagnostic::{Error, Result};
use process::interrupt;
use sha2::{Digest as _, Sha256};

use crate::tree::{self, Node};
use crate::{BUILD_INFO, SBOM, licence, sbom};

/// Writes `share/sbom.cdx.json` and `lib/build_info.json` into a staged build; `lib/` and `share/` exist. Returns `info`
/// with the digests of all files.
///
/// Sealing again gives the same bytes, as long as the other files are the same.
///
/// # Errors
/// [`codes::GATE_FAILED`](diagnostic::codes::GATE_FAILED): the tree holds links or devices, or a licence that belongs to
/// no component; files cannot be read or written; or we were interrupted.
pub fn seal(root: &Path, info: BuildInfo) -> Result<BuildInfo> {
    let mut digests = BTreeMap::new();
    for (path, node) in tree::list(root)? {
        // Those are what is written here: the one holds the digests, the other lists all files but these two.
        if matches!(node, Node::File { .. }) && path != BUILD_INFO && path != SBOM {
            let digest = digest(root, &path)?;
            digests.insert(path, digest);
        }
    }
    let document = sbom::document(&info, &licence::read(root)?, &digests);
    write_atomic(&root.join(SBOM), document.as_bytes())?;
    digests.insert(SBOM.to_owned(), Sha256Digest::new(Sha256::digest(&document).into()));
    let info = BuildInfo { digests, ..info };
    info.write(&root.join(BUILD_INFO))?;
    Ok(info)
}

fn digest(root: &Path, path: &str) -> Result<Sha256Digest> {
    let fail = |error| Error::io("cannot read", &root.join(path), error);
    let mut file = tree::open(root, path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        interrupt::check()?;
        match file.read(&mut buffer).map_err(fail)? {
            0 => return Ok(Sha256Digest::new(hasher.finalize().into())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

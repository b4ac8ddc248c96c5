//! `origin.json`: where an installed build came from.

use std::path::Path;

use diagnostic::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Extra;
use crate::document::{self, Format};

const FORMAT: Format =
    Format { name: "origin.json", version: Origin::SCHEMA_VERSION, repair: "remove it; the build is not affected" };

/// Where an installed build came from. Lies in the store, not in the build: the same bytes may come from several places.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub struct Origin {
    /// Counts breaking changes of this format.
    pub schema_version: u32,
    /// Every name under which these bytes were installed, each once; the last installation is last.
    pub arrivals: Vec<Arrival>,
    /// Keys of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// An installation under one name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub struct Arrival {
    /// The name by which it was asked for, such as `ghcr.io/owner/name:1.0`.
    pub reference: String,
    /// What that name stood for then: `sha256:` and the digest of an image index or manifest.
    pub digest: String,
    /// The manifest whose files were compared with those of the build.
    pub manifest: String,
    /// Who vouches for it: the id of the key that signed it, 16 hexadecimal digits. Null when nobody does.
    pub signed_by: Option<String>,
    /// Whether it was built on this machine, because the name could not be reached.
    pub built_here: bool,
    /// When it was installed (RFC 3339).
    pub date: Timestamp,
    /// Keys of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Origin {
    /// The version of the format that this code writes, and the newest that it reads.
    pub const SCHEMA_VERSION: u32 = 1;

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is damaged ([`BUILD_CORRUPT`](diagnostic::codes::BUILD_CORRUPT)) or newer than this code
    /// ([`SCHEMA_NEWER`](diagnostic::codes::SCHEMA_NEWER)).
    pub fn read(path: &Path) -> Result<Origin> {
        document::read(&FORMAT, path)
    }

    /// Writes the file atomically.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        crate::write_atomic(path, document::encode(&FORMAT, self)?.as_bytes())
    }
}

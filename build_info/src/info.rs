//! `build_info.json`: how a build was made.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;

use diagnostic::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document::{self, Format};
use crate::{BuildKind, Extra, Sha256Digest};

const FORMAT: Format = Format {
    name: "build_info.json",
    version: BuildInfo::SCHEMA_VERSION,
    repair: "install this build again, or go back with `cargo xtask rollback`",
};

/// How a build of llama.cpp was made. Lies in the build as `lib/build_info.json` and never changes after installation.
///
/// A portable build holds nothing of the machine that made it: `date` is the source's date, and `hostname`, `cpu_model`,
/// `cpu_flags` and `optimal_threads` are null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub struct BuildInfo {
    /// Counts breaking changes of this format.
    pub schema_version: u32,
    /// `portable` or `native_optimized`.
    pub build_type: BuildKind,
    /// When it was built (RFC 3339).
    pub date: Timestamp,
    /// Where it was built.
    pub hostname: Option<String>,
    /// The CPU that it was built on and for.
    pub cpu_model: Option<String>,
    /// The features of that CPU, by the kernel's names.
    pub cpu_flags: Option<Vec<String>>,
    /// Every option that cmake was given: `-DNAME=VALUE`.
    pub cmake_flags: Vec<String>,
    /// The version of llama.cpp, such as `0.5.0`.
    pub llama_version: String,
    /// The commit of llama.cpp: 40 hexadecimal digits.
    pub llama_commit: String,
    /// The git tree of that commit, which is what was verified: 40 hexadecimal digits.
    pub llama_tree: String,
    /// Our changes to that tree, in the order in which they were applied.
    pub patches: Vec<Patch>,
    /// Name and version of the compiler.
    pub compiler: String,
    /// Versions of the other tools that took part, by name: `cmake`, `ninja`.
    #[serde(default)]
    pub tools: BTreeMap<String, String>,
    /// Whether building again from the same source gives the same bytes.
    pub reproducible: bool,
    /// Generation threads chosen for the machine it was built on; per phase and measured: see `tuning.json`.
    pub optimal_threads: Option<NonZeroU32>,
    /// The CPU backends of a portable build, by ggml's names; empty for a native build.
    pub variants: Vec<String>,
    /// The oldest glibc that can run it, such as `2.27`; null when it needs the one it was built with.
    pub glibc_floor: Option<String>,
    /// OpenBLAS: whether it is used, and why.
    pub blas: Blas,
    /// Whether it was optimised at link time.
    pub lto: bool,
    /// The version of OpenSSL that it links; null without HTTPS.
    pub openssl: Option<String>,
    /// SHA-256 of every file of the build but this one, by path relative to the build.
    #[serde(default)]
    pub digests: BTreeMap<String, Sha256Digest>,
    /// Keys of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A change of ours to llama.cpp.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub struct Patch {
    /// File name under `vendor/patches/`.
    pub name: String,
    /// SHA-256 of that file.
    pub sha256: Sha256Digest,
    /// Keys of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The part that OpenBLAS plays in a build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub struct Blas {
    /// Whether the build uses it.
    pub enabled: bool,
    /// Who made the library, such as `OpenBLAS`; null when none was found.
    pub vendor: Option<String>,
    /// Its version, where known.
    pub version: Option<String>,
    /// Why it is on or off, in one sentence.
    pub reason: String,
    /// What was measured with and without it; null when that was not measured.
    pub measured: Option<BlasFigures>,
    /// Keys of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The same build measured with and without OpenBLAS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub struct BlasFigures {
    /// With it.
    pub on: Rates,
    /// Without it.
    pub off: Rates,
    /// Keys of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Median speeds of the two phases, in tokens per second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub struct Rates {
    /// Reading the prompt.
    pub prompt: f64,
    /// Generating.
    pub generation: f64,
    /// Keys of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

impl BuildInfo {
    /// The version of the format that this code writes, and the newest that it reads.
    pub const SCHEMA_VERSION: u32 = 1;

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is damaged ([`BUILD_CORRUPT`](diagnostic::codes::BUILD_CORRUPT)) or newer than this code
    /// ([`SCHEMA_NEWER`](diagnostic::codes::SCHEMA_NEWER)).
    pub fn read(path: &Path) -> Result<BuildInfo> {
        document::read(&FORMAT, path)
    }

    /// Understands the bytes of a file that came from elsewhere; `path` is only named in errors.
    ///
    /// # Errors
    /// As [`BuildInfo::read`].
    pub fn from_json(json: &[u8], path: &Path) -> Result<BuildInfo> {
        document::decode(&FORMAT, json, path)
    }

    /// The text of the file: indented JSON with a final newline.
    ///
    /// # Errors
    /// A figure is not finite, so that reading would fail.
    pub fn to_json(&self) -> Result<String> {
        document::encode(&FORMAT, self)
    }

    /// Writes the file atomically.
    ///
    /// # Errors
    /// As [`BuildInfo::to_json`], or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        crate::write_atomic(path, self.to_json()?.as_bytes())
    }
}

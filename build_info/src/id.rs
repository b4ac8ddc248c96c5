//! Names of builds: their kind, and the id that is their directory in the store.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::BuildInfo;
use crate::text::{Malformed, Sha256Digest, is_lower_hex, json_text};

/// How a build relates to machines. Displayed as `portable` or `native`; `build_info.json` says `native_optimized`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum BuildKind {
    /// Picks its CPU backend at run time, is reproducible, and runs on any x86-64.
    #[serde(rename = "portable")]
    Portable,
    /// Compiled for the CPU of the machine that made it.
    #[serde(rename = "native_optimized")]
    Native,
}

impl fmt::Display for BuildKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            BuildKind::Portable => "portable",
            BuildKind::Native => "native",
        })
    }
}

impl FromStr for BuildKind {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<BuildKind, Malformed> {
        match text {
            "portable" => Ok(BuildKind::Portable),
            "native" => Ok(BuildKind::Native),
            _ => Err(Malformed::new(text, "a build kind, `portable` or `native`")),
        }
    }
}

/// Hexadecimal digits kept of the commit and of the content hash.
const SHORT: usize = 8;
const EXPECTED: &str = "a build id `<kind>-<llama version>-<commit8>-<content hash8>`";

/// The name of an installed build: `<kind>-<llama version>-<commit8>-<content hash8>`, such as
/// `native-0.5.0-0c1e5709-8f14e45f`.
///
/// It is used as a directory name and therefore holds nothing that a path could misread: the version is 1 to 64 of
/// letters, digits, `.`, `_`, `+`, `-`, and begins with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildId {
    kind: BuildKind,
    llama_version: String,
    commit: String,
    content: String,
}

/// One digest for all files of a build: SHA-256 over the sorted lines that `sha256sum` would print.
pub fn content_digest(digests: &BTreeMap<String, Sha256Digest>) -> Sha256Digest {
    let mut hasher = Sha256::new();
    for (path, digest) in digests {
        hasher.update(format!("{digest}  {path}\n"));
    }
    Sha256Digest::new(hasher.finalize().into())
}

impl BuildInfo {
    /// The id of the build whose files have these `digests`.
    ///
    /// # Errors
    /// The version or the commit cannot be part of an id.
    pub fn id(&self) -> Result<BuildId, Malformed> {
        BuildId::new(self.build_type, &self.llama_version, &self.llama_commit, &content_digest(&self.digests))
    }
}

impl BuildId {
    /// The id of a build of `commit` (at least 8 lower-case hexadecimal digits) whose files hash to `content`.
    ///
    /// # Errors
    /// The version or the commit cannot be part of an id.
    pub fn new(
        kind: BuildKind,
        llama_version: &str,
        commit: &str,
        content: &Sha256Digest,
    ) -> Result<BuildId, Malformed> {
        if !is_version(llama_version) {
            return Err(Malformed::new(llama_version, "a llama.cpp version that can be part of a build id"));
        }
        let commit = commit.get(..SHORT).filter(|short| short.bytes().all(is_lower_hex));
        let Some(commit) = commit else {
            return Err(Malformed::new(commit.unwrap_or_default(), "a commit of 8 or more hexadecimal digits"));
        };
        let content = content.to_string()[..SHORT].to_owned();
        Ok(BuildId { kind, llama_version: llama_version.to_owned(), commit: commit.to_owned(), content })
    }

    /// Portable or native.
    pub fn kind(&self) -> BuildKind {
        self.kind
    }

    /// The version of llama.cpp, such as `0.5.0`.
    pub fn llama_version(&self) -> &str {
        &self.llama_version
    }

    /// The first 8 digits of llama.cpp's commit.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// The first 8 digits of the hash over all files of the build.
    pub fn content(&self) -> &str {
        &self.content
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{}-{}-{}", self.kind, self.llama_version, self.commit, self.content))
    }
}

impl FromStr for BuildId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<BuildId, Malformed> {
        // The version may hold dashes; the fields around it do not.
        let fields = || {
            let (kind, rest) = text.split_once('-')?;
            let (rest, content) = rest.rsplit_once('-')?;
            let (llama_version, commit) = rest.rsplit_once('-')?;
            Some((kind.parse().ok()?, llama_version, commit, content))
        };
        match fields() {
            Some((kind, version, commit, content)) if is_version(version) && is_short(commit) && is_short(content) => {
                Ok(BuildId {
                    kind,
                    llama_version: version.to_owned(),
                    commit: commit.to_owned(),
                    content: content.to_owned(),
                })
            }
            _ => Err(Malformed::new(text, EXPECTED)),
        }
    }
}

json_text!(
    BuildId,
    "^(portable|native)-[0-9A-Za-z][0-9A-Za-z._+-]{0,63}-[0-9a-f]{8}-[0-9a-f]{8}$",
    "<kind>-<llama version>-<commit8>-<content hash8>"
);

fn is_version(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'+' | b'-');
    (1..=64).contains(&text.len()) && text.as_bytes()[0].is_ascii_alphanumeric() && text.bytes().all(inner)
}

fn is_short(text: &str) -> bool {
    text.len() == SHORT && text.bytes().all(is_lower_hex)
}

//! Digests as OCI writes them: `sha256:` and 64 hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use build_info::Sha256Digest;
use diagnostic::{Error, codes};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Digest as _;

const PREFIX: &str = "sha256:";

/// The SHA-256 digest by which content is named.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(Sha256Digest);

impl Digest {
    /// The digest as OCI names it.
    pub const fn new(sha256: Sha256Digest) -> Digest {
        Digest(sha256)
    }

    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest::finish(sha2::Sha256::new_with_prefix(bytes))
    }

    /// The digest without its prefix; its `Display` is the file name below `blobs/sha256/`.
    pub const fn sha256(&self) -> Sha256Digest {
        self.0
    }

    /// The tag that lists what refers to this digest, in registries without a referrers API: `sha256-<64 hex>`.
    pub fn fallback_tag(&self) -> String {
        format!("sha256-{}", self.0)
    }

    pub(crate) fn finish(hasher: sha2::Sha256) -> Digest {
        Digest(Sha256Digest::new(hasher.finalize().into()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Digest, Error> {
        text.strip_prefix(PREFIX).and_then(|hex| hex.parse().ok()).map(Digest).ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            let message =
                format!("`{}` is not a digest of `sha256:` and 64 lower-case hexadecimal digits", shown.escape_debug());
            Error::new(codes::MANIFEST_INVALID, message)
        })
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

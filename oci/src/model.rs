//! Manifests and indexes: what OCI's image specification calls them, as plain data.
//!
//! What others wrote is bounded before it is parsed and checked after. A manifest is named by the digest of its bytes,
//! so the bytes that were read are what is kept and passed on; our own are written compactly, keys in the order of the
//! types and annotations sorted, so that equal values give equal digests.

use std::collections::BTreeMap;
use std::fmt;

use build_info::Extra;
use diagnostic::{Error, Result, codes};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::media_type::{EMPTY_CONFIG, IMAGE_INDEX, IMAGE_MANIFEST, is_index, is_manifest};

/// Bytes of the largest manifest or index that we read; registries accept no more either.
pub const MANIFEST_LIMIT: u64 = 4 << 20;
/// The content that [`EMPTY_CONFIG`] stands for.
pub const EMPTY_JSON: &[u8] = b"{}";

const SCHEMA_VERSION: u32 = 2;
const LAYERS_LIMIT: usize = 1024;
const ENTRIES_LIMIT: usize = 4096;
const ANNOTATIONS_LIMIT: usize = 1024;

/// Names content: its type, digest and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// Bytes of the content.
    pub size: u64,
    /// Free text by key; standard keys begin with `org.opencontainers.image.`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Which machines the content is for; in the entries of an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What kind of artefact a manifest describes; in the entries of an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Keys that this version does not know.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Descriptor {
    /// A descriptor of content that is known by type, digest and size alone.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Descriptor {
        Descriptor {
            media_type: media_type.into(),
            digest,
            size,
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
            extra: Extra::new(),
        }
    }

    /// The descriptor of these bytes.
    pub fn of(media_type: impl Into<String>, bytes: &[u8]) -> Descriptor {
        Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// The configuration of an artefact that has none; its content is [`EMPTY_JSON`].
    pub fn empty_config() -> Descriptor {
        Descriptor::of(EMPTY_CONFIG, EMPTY_JSON)
    }

    /// Adds an annotation.
    #[must_use]
    pub fn annotate(mut self, key: impl Into<String>, value: impl Into<String>) -> Descriptor {
        self.annotations.insert(key.into(), value.into());
        self
    }

    fn check(&self, what: &str) -> Result<()> {
        if self.size > i64::MAX as u64 {
            return Err(invalid(what, &format!("`{}` has an impossible size", self.digest)));
        }
        check_annotations(&self.annotations, what)
    }
}

/// Which machines something runs on, in Go's words: `linux/amd64`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64` ...
    pub architecture: String,
    /// `linux` ...
    pub os: String,
    /// A level of the architecture: `v8`, `v3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Keys that this version does not know.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Platform {
    /// A platform without a variant.
    pub fn new(os: impl Into<String>, architecture: impl Into<String>) -> Platform {
        Platform { architecture: architecture.into(), os: os.into(), variant: None, extra: Extra::new() }
    }

    /// The platform that this program was compiled for.
    pub fn current() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            other => other,
        };
        Platform::new(std::env::consts::OS, architecture)
    }

    /// Attestations of build tools hide in an index under this platform.
    fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }

    /// The variant as it counts: every arm64 is `v8`, every amd64 `v1`, said or not.
    fn level(&self) -> Option<&str> {
        match (self.architecture.as_str(), self.variant.as_deref()) {
            ("arm64", Some("v8")) | ("amd64", Some("v1")) | (_, Some("")) => None,
            (_, variant) => variant,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

/// An image or artefact: a configuration and layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// [`IMAGE_MANIFEST`]; old manifests do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What kind of artefact this is; where it is missing, the configuration's type says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The content, in order.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one says something about, as a signature does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free text by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// A manifest of this configuration and these layers.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Manifest {
        Manifest {
            schema_version: SCHEMA_VERSION,
            media_type: Some(IMAGE_MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Reads a manifest; `what` names it in errors.
    ///
    /// # Errors
    /// [`codes::MANIFEST_INVALID`]: it is too large, no JSON, or no image manifest.
    pub fn parse(bytes: &[u8], what: &str) -> Result<Manifest> {
        match Document::parse(bytes, None, what)? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => Err(invalid(what, "it is an index where a manifest is needed")),
        }
    }

    /// The bytes that are stored and signed.
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }

    /// What kind of artefact this is, also where only the configuration's type says so.
    pub fn kind(&self) -> &str {
        self.artifact_type.as_deref().unwrap_or(&self.config.media_type)
    }

    /// The configuration and the layers: every blob that belongs to the manifest.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    fn check(&self, what: &str) -> Result<()> {
        if self.layers.len() > LAYERS_LIMIT {
            return Err(invalid(what, &format!("it has more than {LAYERS_LIMIT} layers")));
        }
        check_annotations(&self.annotations, what)?;
        self.blobs().chain(&self.subject).try_for_each(|descriptor| descriptor.check(what))?;
        let total = self.blobs().try_fold(0u64, |sum, blob| sum.checked_add(blob.size));
        total.map(|_| ()).ok_or_else(|| invalid(what, "its sizes do not add up"))
    }
}

/// A list of manifests: one per platform, the tags of a layout, or what refers to a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// [`IMAGE_INDEX`]; old indexes do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What kind of artefact this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The entries, the first that fits counts.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this index says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free text by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Keys that this version does not know.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Index {
    /// An index of these entries.
    pub fn new(manifests: Vec<Descriptor>) -> Index {
        Index {
            schema_version: SCHEMA_VERSION,
            media_type: Some(IMAGE_INDEX.to_owned()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
            extra: Extra::new(),
        }
    }

    /// Reads an index; `what` names it in errors.
    ///
    /// # Errors
    /// [`codes::MANIFEST_INVALID`]: it is too large, no JSON, or no index.
    pub fn parse(bytes: &[u8], what: &str) -> Result<Index> {
        match Document::parse(bytes, None, what)? {
            Document::Index(index) => Ok(index),
            Document::Manifest(_) => Err(invalid(what, "it is a manifest where an index is needed")),
        }
    }

    /// The bytes that are stored and signed.
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }

    /// The entry for a platform. One without a variant comes first: it is what runs everywhere, and our artefact chooses
    /// among CPU levels by itself.
    ///
    /// # Errors
    /// [`codes::NO_PLATFORM`], naming the platforms that there are.
    pub fn select(&self, platform: &Platform, what: &str) -> Result<&Descriptor> {
        let known = || {
            let entries = self.manifests.iter();
            entries.filter_map(|entry| Some((entry, entry.platform.as_ref().filter(|found| !found.is_unknown())?)))
        };
        let fits = |found: &Platform| found.os == platform.os && found.architecture == platform.architecture;
        let entry = known()
            .find(|(_, found)| fits(found) && found.level().is_none())
            .or_else(|| known().find(|(_, found)| fits(found) && found.level() == platform.level()));
        if let Some((entry, _)) = entry {
            return Ok(entry);
        }
        let mut there: Vec<String> = known().map(|(_, found)| format!("`{}`", printable(&found.to_string()))).collect();
        there.sort();
        there.dedup();
        there.truncate(16);
        let there =
            if there.is_empty() { "names no platform at all".to_owned() } else { format!("has {}", there.join(", ")) };
        Err(Error::new(codes::NO_PLATFORM, format!("{what} has no entry for `{platform}`; it {there}")))
    }

    fn check(&self, what: &str) -> Result<()> {
        if self.manifests.len() > ENTRIES_LIMIT {
            return Err(invalid(what, &format!("it has more than {ENTRIES_LIMIT} entries")));
        }
        check_annotations(&self.annotations, what)?;
        self.manifests.iter().chain(&self.subject).try_for_each(|descriptor| descriptor.check(what))
    }
}

/// What a reference or an entry of an index leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there are one or two of them at a time")]
pub enum Document {
    /// A list to choose from.
    Index(Index),
    /// One manifest.
    Manifest(Manifest),
}

impl Document {
    /// Reads either. `told` is the type that a descriptor or a header gave; it must not contradict the content.
    ///
    /// # Errors
    /// [`codes::MANIFEST_INVALID`]: it is too large, no JSON, of another type, or both at once. The last is an attack: two
    /// readers would see two things under one digest.
    pub fn parse(bytes: &[u8], told: Option<&str>, what: &str) -> Result<Document> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Outline {
            schema_version: Option<u32>,
            media_type: Option<String>,
            manifests: Option<serde::de::IgnoredAny>,
            config: Option<serde::de::IgnoredAny>,
            layers: Option<serde::de::IgnoredAny>,
        }
        if bytes.len() as u64 > MANIFEST_LIMIT {
            return Err(invalid(what, &format!("it is larger than {MANIFEST_LIMIT} bytes")));
        }
        let outline: Outline = from_json(bytes, what)?;
        if outline.schema_version != Some(SCHEMA_VERSION) {
            return Err(invalid(what, "its `schemaVersion` is not 2"));
        }
        let (index, manifest) = (outline.manifests.is_some(), outline.config.is_some() || outline.layers.is_some());
        if index && manifest {
            return Err(invalid(what, "it is an index and a manifest at once"));
        }
        let own = outline.media_type.as_deref();
        for media_type in [own, told].into_iter().flatten() {
            let contradicts = (is_index(media_type) && manifest) || (is_manifest(media_type) && index);
            if contradicts {
                return Err(invalid(what, &format!("it is called `{media_type}` but has the content of another type")));
            }
        }
        match own.or(told) {
            Some(media_type) if !is_index(media_type) && !is_manifest(media_type) && own.is_some() => {
                let message = format!("its type `{}` is neither a manifest nor an index", printable(media_type));
                Err(invalid(what, &message))
            }
            media_type if index || media_type.is_some_and(is_index) => {
                let index: Index = from_json(bytes, what)?;
                index.check(what)?;
                Ok(Document::Index(index))
            }
            _ => {
                let manifest: Manifest = from_json(bytes, what)?;
                manifest.check(what)?;
                Ok(Document::Manifest(manifest))
            }
        }
    }
}

/// The error of content that is not what it should be; `why` begins with `it` or `its`.
pub(crate) fn invalid(what: &str, why: &str) -> Error {
    Error::new(codes::MANIFEST_INVALID, format!("{what} is refused: {why}"))
}

/// Text of others, shortened and without control characters, for a message.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

pub(crate) fn from_json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        let why = printable_line(&error.to_string());
        invalid(what, &format!("its JSON is damaged: {why}")).source(error)
    })
}

/// A parser's message, which may quote what it found.
fn printable_line(text: &str) -> String {
    let mut line: String = text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() < text.len() {
        line.push_str(" ...");
    }
    line
}

fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("manifests have only text keys, and a vector takes all that is written")
}

fn check_annotations(annotations: &BTreeMap<String, String>, what: &str) -> Result<()> {
    if annotations.len() > ANNOTATIONS_LIMIT {
        return Err(invalid(what, &format!("it has more than {ANNOTATIONS_LIMIT} annotations in one place")));
    }
    Ok(())
}

/// Go programs write empty lists and maps as `null`.
fn null_is_empty<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

//! What an artefact says of itself before it is downloaded.

use std::fmt;

use build_info::{BuildId, BuildInfo};
use diagnostic::{Error, Result, codes};
use oci::{Digest, Manifest, Platform};

use crate::{ARTIFACT_TYPE, annotation, printable};

/// The version of llama.cpp in an artefact, or in an image made of one.
///
/// # Errors
/// [`codes::MANIFEST_INVALID`]: the manifest is damaged, or is neither.
pub fn version(manifest: &[u8], what: &str) -> Result<String> {
    let parsed = Manifest::parse(manifest, what)?;
    let is_image = parsed.kind() == oci::IMAGE_CONFIG && parsed.annotations.contains_key(annotation::BUILD_ID);
    match parsed.annotations.get(annotation::VERSION) {
        Some(version) if is_image => Ok(version.clone()),
        _ => Offer::of(&parsed, Digest::of(manifest), what).map(|offer| offer.version),
    }
}

/// What a manifest of ours offers. All of it is what the manifest says: true when its digest is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The manifest's own digest: what to pin and to sign.
    pub manifest: Digest,
    /// Which machines it is for.
    pub platform: Platform,
    /// The version of llama.cpp.
    pub version: String,
    /// The commit of llama.cpp: 40 hexadecimal digits.
    pub commit: String,
    /// The CPU backends inside, by ggml's names.
    pub variants: Vec<String>,
    /// The oldest glibc that can run it, such as `2.27`.
    pub glibc_floor: Option<String>,
    /// The id under which it will be installed.
    pub build_id: BuildId,
    /// Bytes to download: all layers and the configuration.
    pub compressed_size: u64,
    /// Bytes of all layers after decompression: what [`unpack`](crate::unpack()) may write at most.
    pub uncompressed_size: u64,
}

impl Offer {
    /// Reads the bytes of a manifest; `what` names it in errors.
    ///
    /// # Errors
    /// [`codes::MANIFEST_INVALID`]: it is no manifest, not one of ours, or does not say what ours say.
    pub fn read(manifest: &[u8], what: &str) -> Result<Offer> {
        Offer::of(&Manifest::parse(manifest, what)?, Digest::of(manifest), what)
    }

    /// As [`Offer::read`], of a manifest that is parsed already.
    ///
    /// # Errors
    /// As [`Offer::read`].
    pub fn of(manifest: &Manifest, digest: Digest, what: &str) -> Result<Offer> {
        if manifest.kind() != ARTIFACT_TYPE {
            return Err(not_ours(what, &format!("it is of the type `{}`", printable(manifest.kind()))));
        }
        let refused = |key: &str, why: &str| {
            let message = format!("{what} is refused: its annotation `{key}` {why}");
            Error::new(codes::MANIFEST_INVALID, message)
        };
        let optional = |key: &str| manifest.annotations.get(key).map(String::as_str);
        let text = |key: &str| match optional(key) {
            None => Err(refused(key, "is missing")),
            // They are shown to people and compared with what people type.
            Some(text) if text.is_empty() || text.len() > 1024 || text.chars().any(char::is_control) => {
                Err(refused(key, "is empty, too long or not printable"))
            }
            Some(text) => Ok(text),
        };
        let list = |text: &str| text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let commit = text(annotation::REVISION)?;
        if commit.len() != 40 || !commit.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(refused(annotation::REVISION, "is not a commit of 40 hexadecimal digits"));
        }
        let uncompressed = text(annotation::UNCOMPRESSED_SIZE)?.parse();
        let build_id: BuildId = text(annotation::BUILD_ID)?
            .parse()
            .map_err(|error| refused(annotation::BUILD_ID, &format!("is wrong: {error}")))?;
        let (os, architecture) = text(annotation::PLATFORM)?
            .split_once('/')
            .ok_or_else(|| refused(annotation::PLATFORM, "is not `<system>/<architecture>`"))?;
        Ok(Offer {
            manifest: digest,
            platform: Platform::new(os, architecture),
            version: text(annotation::VERSION)?.to_owned(),
            commit: commit.to_owned(),
            variants: list(text(annotation::VARIANTS)?),
            glibc_floor: optional(annotation::GLIBC_FLOOR)
                .map(|_| text(annotation::GLIBC_FLOOR).map(str::to_owned))
                .transpose()?,
            build_id,
            compressed_size: manifest.blobs().fold(0, |sum, blob| sum.saturating_add(blob.size)),
            uncompressed_size: uncompressed
                .map_err(|_| refused(annotation::UNCOMPRESSED_SIZE, "is not a number of bytes"))?,
        })
    }

    /// Whether what was unpacked is what was offered.
    ///
    /// # Errors
    /// [`codes::ARCHIVE_INVALID`] when it is a build with another id.
    pub fn check(&self, info: &BuildInfo) -> Result<()> {
        match info.id() {
            Ok(id) if id == self.build_id => Ok(()),
            found => {
                let found = found.map_or_else(|_| "has no id".to_owned(), |id| format!("is `{id}`"));
                let message =
                    format!("the artefact is refused: it promises `{}`, but its build {found}", self.build_id);
                Err(Error::new(codes::ARCHIVE_INVALID, message))
            }
        }
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(f, "llama.cpp {} ({}) for {}", self.version, &self.commit[..8], self.platform)?;
        writeln!(f, "  build     {}", self.build_id)?;
        writeln!(f, "  variants  {}", self.variants.join(", "))?;
        if let Some(glibc) = &self.glibc_floor {
            writeln!(f, "  glibc     {glibc} or newer")?;
        }
        let (compressed, uncompressed) = (mebibytes(self.compressed_size), mebibytes(self.uncompressed_size));
        writeln!(f, "  size      {compressed:.1} MiB to download, {uncompressed:.1} MiB on disk")?;
        write!(f, "  digest    {}", self.manifest)
    }
}

fn not_ours(what: &str, why: &str) -> Error {
    let message = format!("{what} is not a Caravan artefact: {why}");
    Error::new(codes::MANIFEST_INVALID, message)
        .hint("artefacts of Caravan are built with `cargo xtask package` and pushed with `cargo xtask push`")
}

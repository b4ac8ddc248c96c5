//! The annotations of our manifests: what a puller must know before it downloads.

/// Where the packed software is published from.
pub(crate) const SOURCE: &str = "org.opencontainers.image.source";
/// The commit of llama.cpp.
pub(crate) const REVISION: &str = "org.opencontainers.image.revision";
/// The version of llama.cpp.
pub(crate) const VERSION: &str = "org.opencontainers.image.version";
/// The licences of all that is inside, as an SPDX expression.
pub(crate) const LICENSES: &str = "org.opencontainers.image.licenses";
/// The date of the source (RFC 3339).
pub(crate) const CREATED: &str = "org.opencontainers.image.created";
/// What it is, in a sentence.
pub(crate) const DESCRIPTION: &str = "org.opencontainers.image.description";
/// The name of an image; the file name that tools give to a blob.
pub(crate) const TITLE: &str = "org.opencontainers.image.title";
/// The oldest glibc that can run it, such as `2.27`.
pub(crate) const GLIBC_FLOOR: &str = "dev.caravan.glibc-floor";
/// The CPU backends inside, separated by commas.
pub(crate) const VARIANTS: &str = "dev.caravan.variants";
/// Bytes of all layers after decompression.
pub(crate) const UNCOMPRESSED_SIZE: &str = "dev.caravan.uncompressed-size";
/// The id under which it will be installed.
pub(crate) const BUILD_ID: &str = "dev.caravan.build-id";
/// The platform, `linux/amd64`: a manifest that is copied alone does not say it elsewhere.
pub(crate) const PLATFORM: &str = "dev.caravan.platform";

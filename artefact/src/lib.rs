//! Caravan's artefact: the portable build of llama.cpp, packed as an OCI image.
//!
//! A staged build (`bin/`, `lib/`, `share/`) becomes an artefact in four steps, and a build again in three:
//!
//! * [`seal`](fn@seal) writes the bill of materials and `lib/build_info.json` with the digest of every file;
//! * [`pack::Plan`] says what would be packed, and packs it into an [`oci::Layout`]: the same tree always gives the same
//!   digests;
//! * [`pack::publish`] writes the index and tags it;
//! * [`signature::sign`] and [`signature::attach`] sign it;
//! * [`Offer::of`] reads from a manifest what a puller must know before it downloads;
//! * [`signature::verify`] accepts it when a trusted key has signed it;
//! * [`unpack`](fn@unpack) writes its files into a staging directory, bounded, and checked against `lib/build_info.json`.
//!
//! An [`image::Image`] is a [`Base`] with a build's own layers on top, and runs by itself.
//!
//! Nothing here talks to a registry: that is the job of [`oci`].
#![forbid(unsafe_code)]

mod annotation;
mod base;
mod config;
mod contents;
pub mod image;
mod layer;
mod layer_writer;
mod licence;
mod offer;
pub mod pack;
mod referrer;
mod sbom;
mod seal;
pub mod signature;
mod tree;
mod unpack;

pub use base::{Base, Entry};
pub use contents::Contents;
pub use layer::Split;
pub use offer::{Offer, version};
pub use sbom::MEDIA_TYPE as SBOM_TYPE;
pub use seal::seal;
pub use unpack::{Bounds, unpack};

/// What kind of artefact a manifest of ours says it is.
pub const ARTIFACT_TYPE: &str = "application/vnd.caravan.llama.cpp.v1";
/// Where the files of a build lie in an image, without the first `/`.
pub const ROOT: &str = "opt/caravan";

/// How a build was made, by its path in the build; the only file that has no digest, because it holds them.
pub const BUILD_INFO: &str = "lib/build_info.json";
/// The bill of materials, by its path in the build.
pub const SBOM: &str = "share/sbom.cdx.json";

/// Text of others for a message: shortened, and without characters that a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().take(120).flat_map(char::escape_debug).collect()
}

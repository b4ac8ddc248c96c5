//! OCI distribution: references, manifests, layouts and registries. Nothing here knows what our artefact holds.
//!
//! A [`Reference`] names an artefact, a [`Source`] opens it, [`Source::resolve`] finds the manifest for a [`Platform`],
//! [`fetch`] brings its blobs into a [`Cache`]. A [`Layout`] is what we write; a [`PushPlan`] says what of it goes into a
//! [`Registry`], and [`push`] does it.
//!
//! ```
//! use oci::{Digest, Reference};
//!
//! let name: Reference = "ghcr.io/owner/llama:v1".parse()?;
//! let pinned = name.pinned(Digest::of(b"{}"));
//! assert!(pinned.to_string().starts_with("ghcr.io/owner/llama@sha256:44136fa3"));
//! # Ok::<(), diagnostic::Error>(())
//! ```
//!
//! Everything blocks, and everything ends soon after Ctrl-C. The one environment that is read is where docker and podman
//! keep credentials ([`Credentials::Stored`]), and the usual variables for proxies.
#![forbid(unsafe_code)]

mod archive;
mod cache;
mod credentials;
mod digest;
mod layout;
mod media_type;
mod model;
mod pull;
mod push;
mod reference;
mod registry;
mod retry;
mod source;
mod stream;

pub use archive::Archive;
pub use cache::Cache;
pub use credentials::Credentials;
pub use digest::Digest;
pub use layout::{Layout, ReadLayout};
pub use media_type::*;
pub use model::{Descriptor, Document, EMPTY_JSON, Index, MANIFEST_LIMIT, Manifest, Platform};
pub use pull::{Progress, fetch, pull};
pub use push::{PushPlan, Pushed, push};
pub use reference::{LayoutReference, Reference, RegistryReference};
pub use registry::{Mirror, Registry};
pub use retry::Limits;
pub use source::{Access, Resolved, Source};
pub use stream::VerifiedReader;

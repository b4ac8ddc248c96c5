//! OCI distribution: references, manifests, layouts and registries. Nothing here knows what our artefact holds.
#![forbid(unsafe_code)]

mod archive;
mod digest;
mod layout;
mod media_type;
mod model;
mod reference;
mod stream;

pub use archive::Archive;
pub use digest::Digest;
pub use layout::{Layout, ReadLayout};
pub use media_type::*;
pub use model::{Descriptor, Document, EMPTY_JSON, Index, MANIFEST_LIMIT, Manifest, Platform};
pub use reference::{LayoutReference, Reference, RegistryReference};
pub use stream::VerifiedReader;

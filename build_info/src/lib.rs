//! The schema of `build_info.json`, `tuning.json` and `origin.json`, shared by every writer and reader.
//!
//! A build carries two kinds of knowledge. How it was made never changes and lies inside it: [`BuildInfo`]. How fast it
//! is on a host is learned later, by measurement, and lies outside it: [`Tuning`]. So does where it came from: [`Origin`].
//!
//! All three files keep these promises:
//!
//! * **Keys stay.** A key that was written once keeps its name and type; new keys may join at any time.
//! * **Unknown keys are kept.** What a later writer added survives being read and written here: each object has an
//!   `extra` map.
//! * **`schema_version` counts breaking changes only.** A file with a newer version than ours is refused
//!   ([`SCHEMA_NEWER`](diagnostic::codes::SCHEMA_NEWER)) instead of being misread.
//! * **Damage is named.** A file that is truncated or wrongly typed is refused with the file, the key and what was
//!   expected ([`BUILD_CORRUPT`](diagnostic::codes::BUILD_CORRUPT)).
//! * **Never half a file.** Writing goes through [`write_atomic`].
//!
//! The JSON Schemas in `docs/` come from these types, with the feature `schema`.
//!
//! ```
//! use build_info::BuildId;
//!
//! let id: BuildId = "native-0.5.0-0c1e5709-8f14e45f".parse()?;
//! assert_eq!(id.llama_version(), "0.5.0");
//! # Ok::<(), build_info::Malformed>(())
//! ```
#![forbid(unsafe_code)]

mod atomic;
mod document;
mod id;
mod info;
mod origin;
#[cfg(feature = "schema")]
pub mod schema;
mod text;
mod tuning;

pub use atomic::write_atomic;
pub use id::{BuildId, BuildKind, content_digest};
pub use info::{Blas, BlasFigures, BuildInfo, Patch, Rates};
pub use jiff::Timestamp;
pub use origin::{Arrival, Origin};
pub use text::{HostFingerprint, Malformed, Sha256Digest};
pub use tuning::{ClassTuning, Figure, ModelClass, PhaseTuning, Search, Trial, Tuning};

/// Keys that this version does not know, in the order in which they were read.
pub type Extra = serde_json::Map<String, serde_json::Value>;

/// The current time in whole seconds, for the `date` keys.
pub fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).expect("the current time in seconds is in range")
}

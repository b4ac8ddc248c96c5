//! Installed builds side by side, activated atomically.
//!
//! ```text
//! .local/
//!   builds/<id>/{bin,lib,share}     every installed build; lib/build_info.json says how it was made
//!   current -> builds/<id>          the active build
//!   bin -> current/bin              so that PATH needs one entry
//!   lib -> current/lib
//!   tuning/<host>/<id>.json         what was measured for a build on a host
//!   origins/<id>.json               where a build came from, if it was not compiled here
//!   history                         what was active before, newest first, one id per line
//!   .lock                           held by the one writer
//! ```
//!
//! **Readers** need no lock: [`Store::list`], [`Store::active`], [`Store::find`], [`Store::verify`], [`Store::tuning`],
//! [`Store::origin`] and every program below `current` see the old build or the new one, never a mixture.
//!
//! **Writers** take turns: [`Store::lock`] gives a [`Writer`], and only a writer can [`stage`](Writer::stage) and
//! [`commit`](Writer::commit) a build, [`use_build`](Writer::use_build), [`rollback`](Writer::rollback),
//! [`uninstall`](Writer::uninstall), [`record_tuning`](Writer::record_tuning) or
//! [`record_arrival`](Writer::record_arrival). Each change becomes visible by one
//! rename, and what was written is synced before it. A writer that is killed leaves at most hidden entries, which the
//! next writer sweeps.
//!
//! All links are relative: a store that is moved keeps working.
//!
//! ```
//! use store::Store;
//!
//! let home = tempfile::tempdir()?;
//! let store = Store::at(home.path().join(".local"));
//! assert!(store.list()?.is_empty());
//! assert_eq!(store.active()?, None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod activate;
mod build;
mod install;
mod inventory;
mod layout;
mod lock;
mod measured;
mod origin;
mod parallel;
mod remove;
mod smoke;
mod tree;
mod verify;

pub use activate::{Activation, Rollback};
pub use build::{Build, Measured};
pub use install::{Outcome, Receipt, Staging};
pub use inventory::Installed;
pub use layout::Store;
pub use lock::Writer;
pub use remove::Removed;
pub use smoke::{Smoke, SmokePlan};
pub use verify::Verification;

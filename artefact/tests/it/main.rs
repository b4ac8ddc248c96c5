//! The artefact, through the public surface of the crate.

#![expect(clippy::unwrap_used, reason = "helpers of tests, as the tests themselves, fail by panicking")]

mod archives;
mod bombs;
mod offer;
mod pack;
mod sbom;
mod signature;
mod support;
mod unpack;

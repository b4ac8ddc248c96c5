//! The crate through its public surface, in one binary.

#![expect(clippy::unwrap_used, reason = "helpers of tests, as the tests themselves, fail by panicking")]

mod archive;
mod layout;
mod model;
mod reference;

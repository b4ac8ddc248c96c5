//! The crate through its public surface, in one binary.

#![expect(clippy::unwrap_used, reason = "helpers of tests, as the tests themselves, fail by panicking")]

mod archive;
mod auth;
mod child;
mod credentials;
mod faults;
mod layout;
mod local;
mod model;
mod processes;
mod push;
mod reference;
mod skopeo;
mod support;

//! What the two files promise: they come back as they were, they outlive their version, and damage is named.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod arbitrary;
mod atomic;
mod damage;
mod future;
mod names;
mod round_trip;
#[cfg(feature = "schema")]
mod schema;

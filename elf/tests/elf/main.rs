//! The crate's behaviour, on files that the system's compiler made.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[cfg(target_arch = "x86_64")]
mod code;
mod diff;
mod facts;
#[cfg(target_arch = "x86_64")]
mod gate;
mod hostile;
mod strip;
mod support;

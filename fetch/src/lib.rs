//! Verified downloads and safe extraction: the pinned source tree of llama.cpp.
#![forbid(unsafe_code)]

pub mod archive;
pub mod http;
pub mod manifest;
pub mod patch;
pub mod pin;
pub mod tree;
pub mod vendor;

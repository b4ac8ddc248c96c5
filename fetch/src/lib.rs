//! Verified downloads and safe extraction: the pinned source tree of llama.cpp.
//!
//! ```text
//! pin        what we build and where it may come from       vendor/llama.cpp.toml
//! tree       git tree ids of directories, recomputed        what is trusted
//! manifest   which file differs, when a tree id does        vendor/llama.cpp.files
//! http       bounded, resumable downloads
//! archive    extraction of archives that are not trusted
//! vendor     plan, run, check, bump: the pristine tree      vendor/llama.cpp
//! patch      our changes, in a copy of it                   vendor/patches
//! ```
//!
//! Invariant: nothing that a mirror delivers reaches `vendor/llama.cpp` before its tree id was computed here and found
//! equal to the pinned one.
#![forbid(unsafe_code)]

pub mod archive;
pub mod http;
pub mod manifest;
pub mod patch;
pub mod pin;
pub mod tree;
pub mod vendor;

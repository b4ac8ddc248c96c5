//! Verified downloads and safe extraction: the pinned source tree of llama.cpp.
#![forbid(unsafe_code)]

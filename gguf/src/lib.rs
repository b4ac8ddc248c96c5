//! Writes generated test models and reads GGUF metadata, bounded against hostile files.
#![forbid(unsafe_code)]

//! What a portable ELF file may hold, and how it is stripped.
#![forbid(unsafe_code)]

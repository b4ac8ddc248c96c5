//! OCI distribution: references, layouts, registries.
#![forbid(unsafe_code)]

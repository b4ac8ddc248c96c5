//! The crate through its public surface, in one binary.

mod archive;
mod layout;
mod model;
mod reference;

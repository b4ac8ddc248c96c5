//! The crate through its public surface, in one binary.

mod figures;
mod generated_models;
mod hostile;
mod support;
mod weights;
mod write_file;

//! The crate through its public surface, in one binary.

#[path = "../common/check.rs"]
mod check;
#[path = "../common/file.rs"]
mod file;

mod figures;
mod files;
mod fuzz;
mod generated_models;
mod hostile;
mod support;
mod weights;
mod write_file;

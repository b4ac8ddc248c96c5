//! Generated test models: the llama architecture with random weights that nobody trained.
//!
//! They cost what a real model of their shape and quantisation costs in memory, bandwidth and arithmetic, which is what
//! tests and benchmarks are about, and they are made here from a seed instead of downloaded. [`plan`] is pure: it lays
//! out the whole file. [`write()`] and [`write_file`] then stream it in constant memory; the same plan gives the same
//! bytes everywhere.
//!
//! [`Sketch`] is the other kind: the header of a model of any architecture and size, without its weights.
//!
//! Text goes in and out: every byte has a token, and what a model generates is printable ASCII (see `vocab.rs`).

mod blocks;
mod file;
mod names;
mod plan;
mod sketch;
mod stream;
mod vocab;

pub use file::write_file;
pub use names::{Quant, Shape};
pub use plan::{ModelPlan, plan};
pub use sketch::Sketch;
pub use stream::write;

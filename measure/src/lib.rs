//! Drives llama-bench, measures read bandwidth, and keeps the statistics honest.
//!
//! The way through it:
//!
//! 1. [`bench::Plan`]: which builds, which model, which thread counts, how many rounds. Pure and printable.
//! 2. [`bench::run`]: runs the plan child by child, builds interleaved, and returns a [`Report`].
//! 3. [`Report`]: raw samples, the [`Figure`]s and [`Comparison`]s made from them, and what they were measured on; it is
//!    the JSON that `--json` writes.
//! 4. [`table::render`] shows a report to a person, [`page::render`] does in a browser, [`winner()`] reads the best thread counts off it, [`compare_two`] decides
//!    whether a costlier build (OpenBLAS) is worth keeping.
//!
//! [`tune`] searches for the best settings with the same instruments.
//!
//! Below these: [`stats`] (median, spread, outliers), [`ratio`] (how much faster, and how sure), [`bandwidth`] (the
//! ceiling of generation).
//!
//! Nothing here knows what a machine, a store or a GGUF file is: thread counts, bytes per token and the machine's
//! description come in as numbers and JSON.
#![forbid(unsafe_code)]

pub mod bandwidth;
pub mod bench;
pub mod page;
pub mod ratio;
pub mod stats;
pub mod table;
pub mod tune;

mod figures;
#[cfg(test)]
mod fixtures;
mod llama_bench;
mod record;
mod report;
mod text;
mod verdict;
mod winner;

pub use llama_bench::Test;
pub use report::{BuildReport, Comparison, Figure, Model, Phase, Report, Run, SCHEMA_VERSION};
pub use verdict::{GENERATION_LOSS_ALLOWED, MIN_ROUNDS, Side, Verdict, compare_two};
pub use winner::{Best, Winners, winner};

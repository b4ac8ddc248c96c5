//! How llama.cpp is compiled.
//!
//! | module | what |
//! |---|---|
//! | [`product`] | which tools a build installs, and how each proves that it runs |
//! | [`toolchain`] | what the machine can build with: probed by running it, completed from PyPI where that needs no root |
//! | [`native`] | flags -> [`CompilePlan`] for `-march=native` |
//! | [`portable`] | scope -> [`CompilePlan`] with zig and every CPU variant |
//! | [`page`] | the web page of `llama-server`, built with npm |
//! | [`plan`] | the plan: plain data, printable, written as JSON for the build script |
//! | [`driver`] | the executor: the `cmake` crate in a child process, its output in a log |
//! | [`log`] | reads that log: progress, and the compiler's first error |
//! | [`gate`] | what a finished build must satisfy |
//! | [`build_script`] | the whole build script of `llama-sys` |
//!
//! The plan is made by `xtask` (or by hand) and executed by the build script of `llama-sys`, so that a Rust dependency
//! on llama.cpp and an installed llama.cpp come from the same code. Architecture invariant: nothing here downloads or
//! patches source; that is the `fetch` crate's, and keeps HTTP and TLS out of build scripts.
#![forbid(unsafe_code)]

pub mod blas;
pub mod build_script;
pub mod driver;
pub mod gate;
pub mod log;
pub mod native;
pub mod page;
pub mod plan;
pub mod portable;
pub mod product;
pub mod toolchain;

pub use plan::CompilePlan;

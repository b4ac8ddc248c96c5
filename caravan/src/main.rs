//! The runtime command, part of every build: it serves models with the llama.cpp that it lies beside, with the settings
//! that are best on this machine, and never with more threads than this process may use.
//!
//! | module | job |
//! |---|---|
//! | `cli` | one row per command |
//! | `installed` | the build that this program is part of, and what was measured for it here |
//! | `environment` | variables, and the directory that Kubernetes mounts in their place |
//! | `serve` | `caravan serve`: plan, then supervise |
//! | `ui` | the only place that prints |
#![forbid(unsafe_code)]

mod cli;
mod environment;
mod installed;
mod serve;
mod ui;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().command.run() {
        Ok(code) => code,
        Err(error) => {
            ui::show_error(&error);
            ExitCode::from(error.code().exit)
        }
    }
}

//! The runtime command, part of every build: it serves models with the llama.cpp that it lies beside, with the settings
//! that are best on this machine, and never with more threads than this process may use.
//!
//! | module | job |
//! |---|---|
//! | `cli` | one row per command |
//! | `environment` | variables, and the directory that Kubernetes mounts in their place |
//! | `threads`, `memory` | how many threads, how long a context |
//! | `hardware`, `subject` | the machine and the model that are asked about, and what was measured there |
//! | `speed` | how fast it would be: measured, modelled, or from a data sheet |
//! | `doctor` | `caravan doctor`: whether a model fits, and what to change |
//! | `plan`, `validate` | configurations: written, and checked |
//! | `watch`, `health` | memory while a server runs |
//! | `serve` | `caravan serve`: plan, then supervise |
//! | `run` | `caravan run`: plan, then become `caravan-run` |
//! | `setting` | a decision with its reason |
//! | `ui` | the only place that prints |
#![forbid(unsafe_code)]

mod cli;
mod doctor;
mod environment;
mod hardware;
mod health;
mod installed;
mod memory;
mod plan;
mod run;
mod serve;
mod setting;
mod speed;
mod subject;
mod threads;
mod ui;
mod validate;
mod watch;

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

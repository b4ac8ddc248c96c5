//! The CLI of the repository: build, install, measure and check llama.cpp.
//!
//! `cargo xtask <command>`; every command is one file in `commands/`: its flags, the plan made of them, and `run`.
//! Library crates do the work and never print; everything that a person reads is printed from here.
#![forbid(unsafe_code)]

mod apt;
mod base;
mod bindings;
mod cli;
mod commands;
mod compile;
mod crates;
mod distribution;
mod environment;
mod image;
mod k8s;
mod layout;
mod machine;
mod measuring;
mod models;
mod openblas;
mod password;
mod performance;
mod portable;
mod proof;
mod publish;
mod python;
mod requirement;
mod runtime;
mod smoke;
mod source;
mod trial;
mod tuning;
mod ui;
mod unpacked;
mod variants;
#[cfg(test)]
mod workflows;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // A portable build is compiled by a child that is this program.
    llama_build::driver::run_if_child();
    process::interrupt::install();
    let command = cli::Cli::parse().command;
    match workspace::check().and_then(|()| command.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::show_error(&error);
            ExitCode::from(error.code().exit)
        }
    }
}

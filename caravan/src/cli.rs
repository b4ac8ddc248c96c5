//! The command line: one row per command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use diagnostic::Result;

use crate::{doctor, plan, run, serve, validate, watch};

/// Serves models with llama.cpp, tuned to this machine.
#[derive(Debug, Parser)]
#[command(name = "caravan", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(serve::Flags),
    Run(run::Flags),
    #[command(visible_alias = "check-requirements")]
    Doctor(doctor::Flags),
    Plan(plan::Flags),
    Validate(validate::Flags),
    Watch(watch::Flags),
}

impl Command {
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self {
            Command::Serve(flags) => flags.run(),
            Command::Run(flags) => flags.run(),
            Command::Doctor(flags) => flags.run(),
            Command::Plan(flags) => flags.run(),
            Command::Validate(flags) => flags.run(),
            Command::Watch(flags) => flags.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn flags_are_consistent() {
        super::Cli::command().debug_assert();
    }
}

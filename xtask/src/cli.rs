//! The command line: one row per command.

use clap::{Parser, Subcommand};
use diagnostic::Result;

use crate::commands;

/// Build, install, measure and check llama.cpp.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(visible_alias = "install")]
    InstallFast(commands::install_fast::Flags),
    InstallOptimized(commands::install_optimized::Flags),
    Bench(commands::bench::Flags),
    Tune(commands::tune::Flags),
    ShowBuild(commands::show_build::Flags),
    List(commands::list::Flags),
    Use(commands::use_build::Flags),
    Rollback(commands::rollback::Flags),
    Uninstall(commands::uninstall::Flags),
    CleanBuild(commands::clean_build::Flags),
    Doctor(commands::doctor::Flags),
    Vendor(commands::vendor::Flags),
    Package(commands::package::Flags),
    Image(commands::image::Flags),
    Push(commands::push::Flags),
    Verify(commands::verify::Flags),
    Keygen(commands::keygen::Flags),
    K8s(commands::k8s::Flags),
    Model(commands::model::Flags),
    Codegen(commands::codegen::Flags),
    Test(commands::test::Flags),
}

impl Command {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Command::InstallFast(flags) => flags.run(),
            Command::InstallOptimized(flags) => flags.run(),
            Command::Bench(flags) => flags.run(),
            Command::Tune(flags) => flags.run(),
            Command::ShowBuild(flags) => flags.run(),
            Command::List(flags) => flags.run(),
            Command::Use(flags) => flags.run(),
            Command::Rollback(flags) => flags.run(),
            Command::Uninstall(flags) => flags.run(),
            Command::CleanBuild(flags) => flags.run(),
            Command::Doctor(flags) => flags.run(),
            Command::Vendor(flags) => flags.run(),
            Command::Package(flags) => flags.run(),
            Command::Image(flags) => flags.run(),
            Command::Push(flags) => flags.run(),
            Command::Verify(flags) => flags.run(),
            Command::Keygen(flags) => flags.run(),
            Command::K8s(flags) => flags.run(),
            Command::Model(flags) => flags.run(),
            Command::Codegen(flags) => flags.run(),
            Command::Test(flags) => flags.run(),
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

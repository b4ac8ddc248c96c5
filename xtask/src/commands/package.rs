//! `package`: the portable build, packed as an OCI artefact.

use std::path::PathBuf;

use clap::Args;
use diagnostic::Result;
use host::Host;
use llama_build::portable::Part;

use crate::{compile, machine, portable, ui};

/// Build the portable llama.cpp with every CPU variant, check it, and pack it as an OCI artefact
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Compilers that run at the same time; otherwise what the CPU budget and memory allow
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096))]
    jobs: Option<u16>,
    /// Take llama.cpp's source from a directory or tarball instead of a mirror; it is verified all the same
    #[arg(long, value_name = "DIR|TARBALL")]
    source: Option<PathBuf>,
    /// Print the plan and stop
    #[arg(long)]
    dry_run: bool,
}

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        let jobs = self.jobs.map_or_else(|| machine::default_jobs(&Host::probe()), usize::from);
        let plan = portable::plan(self.source.as_deref(), jobs)?;
        if self.dry_run {
            return ui::print(plan.to_string());
        }
        let _building = compile::lock()?;
        let compiled = portable::compile(&plan, Part::Whole, &portable::build_dir(), &[])?;
        ui::note(format!("built {}", compiled.plan.bin_dir().display()));
        Ok(())
    }
}

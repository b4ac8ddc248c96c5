//! `vendor`: the pinned source of llama.cpp.

use std::path::PathBuf;

use clap::Args;
use diagnostic::Result;
use fetch::vendor::{self, Progress};

use crate::{source, ui};

/// Fetch and verify the pinned source of llama.cpp
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Fetch nothing; verify what is there
    #[arg(long, conflicts_with_all = ["source", "bump"])]
    check: bool,
    /// Take the source from a directory or a tarball instead of a mirror; it is verified all the same
    #[arg(long, value_name = "DIR|TARBALL", conflicts_with = "bump")]
    source: Option<PathBuf>,
    /// Move the pin to another upstream commit
    #[arg(long, value_name = "COMMIT")]
    bump: Option<String>,
    /// Print the plan and stop
    #[arg(long, conflicts_with_all = ["check", "bump"])]
    dry_run: bool,
}

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        if let Some(commit) = &self.bump {
            return bump(commit);
        }
        let plan = source::plan(self.source.as_deref())?;
        if self.dry_run {
            return ui::print(plan.to_string());
        }
        if self.check {
            let files = vendor::check(&plan)?;
            ui::note(format!("verified  llama.cpp source: {files} files, tree {}", plan.pin.tree));
            return Ok(());
        }
        source::fetch(&plan)
    }
}

fn bump(commit: &str) -> Result<()> {
    let bumped = vendor::bump(&source::plan(None)?, commit, &mut |event| {
        if let Progress::Note(text) = event {
            ui::note(format!("source    {text}"));
        }
    })?;
    ui::note(format!("moved     the pin from {} to {} ({} files)", bumped.old.commit, bumped.new.commit, bumped.files));
    Ok(())
}

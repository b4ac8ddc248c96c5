//! `clean-build`: removes what compiling left below `target/`; installed builds stay.

use std::fs;

use clap::Args;
use diagnostic::{Error, Result};

use crate::{compile, ui, workspace};

/// Remove the build trees of llama.cpp (patched source, objects, logs); installed builds are not touched
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Say what would be removed and stop
    #[arg(long)]
    dry_run: bool,
}

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        let dir = workspace::llama_target_dir();
        if !dir.exists() {
            ui::note("removed   nothing: there is no build tree");
            return Ok(());
        }
        if self.dry_run {
            return ui::print(format!("remove {}", workspace::short(&dir)));
        }
        let _building = compile::lock()?;
        fs::remove_dir_all(&dir).map_err(|error| Error::io("cannot remove", &dir, error))?;
        ui::note(format!("removed   {}", workspace::short(&dir)));
        Ok(())
    }
}

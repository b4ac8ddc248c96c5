//! `use`: activates an installed build.

use clap::Args;
use diagnostic::Result;

use crate::{ui, workspace};

/// Activate an installed build
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Its id, or the beginning of it
    id: String,
}

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        let store = workspace::store();
        let activation = store.lock(ui::waiting("with the store"))?.use_build(&self.id)?;
        ui::activated(&activation);
        Ok(())
    }
}

//! `uninstall`: removes an installed build.

use clap::Args;
use diagnostic::Result;

use crate::{ui, workspace};

/// Remove an installed build; the active one is refused
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Its id, or the beginning of it
    id: String,
}

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        let store = workspace::store();
        let removed = store.lock(ui::waiting("with the store"))?.uninstall(&self.id)?;
        ui::note(format!("removed   {}", removed.id));
        Ok(())
    }
}

//! `rollback`: back to the build that was active before.

use clap::Args;
use diagnostic::Result;

use crate::{ui, workspace};

/// Go back to the build that was active before
#[derive(Debug, Args)]
pub(crate) struct Flags {}

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        let store = workspace::store();
        let rollback = store.lock(ui::waiting("with the store"))?.rollback()?;
        for (id, why) in &rollback.skipped {
            ui::note(format!("skipped   {id}: {why}"));
        }
        ui::activated(&rollback.activation);
        Ok(())
    }
}

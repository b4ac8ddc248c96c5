//! `push`: an artefact from a layout to a registry, signed.

use std::path::PathBuf;

use clap::Args;
use diagnostic::Result;
use oci::{Layout, PushPlan};

use crate::commands::package;
use crate::{publish, ui};

/// Push a packed artefact or an image to a registry, with its bill of materials and a signature
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// `HOST/REPOSITORY:TAG`
    reference: String,
    /// The layout directory to push from; `dist/oci` in the repository when not given
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Sign with this minisign secret key; `CARAVAN_SIGN_PASSWORD` or a question gives its password
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    /// Print the plan and stop
    #[arg(long)]
    dry_run: bool,
}

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        let reference = publish::target(&self.reference)?;
        let from = self.from.unwrap_or_else(package::layout_dir);
        let layout = Layout::open(&from)?;
        if self.dry_run {
            let plan = PushPlan::new(&layout, None)?;
            let signed = if self.sign_key.is_some() { "signed" } else { "not signed" };
            return ui::print(format!(
                "push {} of {} to {}, {signed}\n  {} blobs, {:.1} MB",
                plan.root.digest,
                from.display(),
                self.reference,
                plan.blobs.len(),
                plan.bytes() as f64 / 1e6
            ));
        }
        let pushed = publish::push(&layout, &reference, self.sign_key.as_deref())?;
        ui::print(format!("{reference}@{}", pushed.digest))
    }
}

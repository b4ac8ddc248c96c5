//! The source that is compiled: fetched, verified, patched.

use std::path::{Path, PathBuf};

use build_info::Patch;
use diagnostic::Result;
use fetch::patch::{self, AppliedPatch};
use fetch::vendor::{self, Outcome, Progress as VendorProgress, VendorPlan};

use crate::ui::{self, Progress, Unit};
use crate::workspace;

/// A patched copy of the pinned tree.
pub(crate) struct Source {
    pub(crate) dir: PathBuf,
    pub(crate) commit: String,
    pub(crate) tree: String,
    pub(crate) version: String,
    pub(crate) patches: Vec<AppliedPatch>,
}

impl Source {
    /// What the source is: the tree id and the digests of the patches.
    pub(crate) fn id(&self) -> String {
        let patches = self.patches.iter().map(|patch| patch.sha256.to_string());
        std::iter::once(self.tree.clone()).chain(patches).collect::<Vec<_>>().join("+")
    }

    /// The patches as `build_info.json` names them.
    pub(crate) fn patches(&self) -> Vec<Patch> {
        let patch = |applied: &AppliedPatch| Patch {
            name: applied.name.clone(),
            sha256: applied.sha256,
            extra: Default::default(),
        };
        self.patches.iter().map(patch).collect()
    }
}

/// The plan to fetch what `vendor/llama.cpp.toml` pins.
pub(crate) fn plan(source: Option<&Path>) -> Result<VendorPlan> {
    vendor::plan(&workspace::root().join("vendor"), source)
}

/// Fetches and verifies; says what happened.
pub(crate) fn fetch(plan: &VendorPlan) -> Result<()> {
    let mut progress = Progress::new("fetching", Unit::Bytes);
    let outcome = vendor::run(plan, &mut |event| match event {
        VendorProgress::Note(text) => progress.note(&format!("source    {text}")),
        VendorProgress::Bytes(done, total) => progress.set(done, total.unwrap_or(done), "llama.cpp"),
    })?;
    drop(progress);
    let tree = plan.pin.tree.short();
    match outcome {
        Outcome::Present { files } => ui::note(format!("verified  llama.cpp source: {files} files, tree {tree}")),
        Outcome::Installed { files, from } => {
            ui::note(format!("fetched   llama.cpp source from {from}: {files} files, tree {tree} verified"));
        }
    }
    Ok(())
}

/// Fetches, verifies, and makes `dir` the patched copy.
pub(crate) fn prepare(plan: &VendorPlan, dir: &Path) -> Result<Source> {
    fetch(plan)?;
    let patches = patch::apply(&plan.tree(), &plan.patches(), dir)?;
    Ok(Source {
        dir: dir.to_owned(),
        commit: plan.pin.commit.to_string(),
        tree: plan.pin.tree.to_string(),
        version: plan.pin.version.clone(),
        patches,
    })
}

//! `model`: writes a generated model.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use diagnostic::{Error, Result};
use gguf::model::{self, Quant, Shape};

use crate::{models, ui, workspace};

/// Write a generated model: llama architecture, random but valid weights, no download
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Dimensions: tiny, 1b or solar-10.7b
    #[arg(long, default_value = "tiny")]
    shape: Shape,
    /// Quantisation: q4_k_m, q4_0, q8_0, q6_k or f16
    #[arg(long, default_value = "q4_k_m")]
    quant: Quant,
    /// The same seed gives the same bytes
    #[arg(long, default_value_t = models::SEED)]
    seed: u64,
    /// Where to write; otherwise `models/` in the store
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Say what would be written and stop
    #[arg(long)]
    dry_run: bool,
}

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        let plan = model::plan(self.shape, self.quant, self.seed);
        let path = self.out.unwrap_or_else(|| workspace::store().models().join(plan.file_name()));
        if self.dry_run {
            return ui::print(format!("write {}\n{plan}", workspace::short(&path)));
        }
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            fs::create_dir_all(dir).map_err(|error| Error::io("cannot create", dir, error))?;
        }
        models::write(&plan, &path)
    }
}

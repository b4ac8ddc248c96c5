//! The model that a measurement runs on: a file of the user's, or a generated one.

use std::fs;
use std::path::{Path, PathBuf};

use build_info::ModelClass;
use clap::Args;
use diagnostic::{Error, Result};
use gguf::model::{self, ModelPlan, Quant, Shape};
use gguf::{Arrays, Header, ModelFiles};
use host::Host;
use planner::class;
use planner::memory::{Demand, LogitsRows, Setting};
use process::Lock;

use crate::ui::{self, Progress, Unit};
use crate::{machine, workspace};

/// Generated models are the same everywhere.
pub(crate) const SEED: u64 = 1;

/// Which model: shared by every command that runs one.
#[derive(Debug, Args)]
pub(crate) struct ModelFlags {
    /// A GGUF file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["shape", "quant"])]
    pub(crate) model: Option<PathBuf>,
    /// Shape of a generated model: tiny, 1b or solar-10.7b
    #[arg(long, default_value = "1b")]
    pub(crate) shape: Shape,
    /// Quantisation of a generated model: q4_k_m, q4_0, q8_0, q6_k or f16
    #[arg(long, default_value = "q4_k_m")]
    pub(crate) quant: Quant,
}

/// A model that has been looked at.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) class: ModelClass,
    header: Header,
    /// What must be written first, if it is a generated model that is not there yet.
    to_write: Option<ModelPlan>,
}

impl ModelFlags {
    /// Looks at the model; writes nothing.
    pub(crate) fn look(&self) -> Result<Model> {
        match &self.model {
            Some(path) => of_file(path),
            None => Ok(look_at_generated(self.shape, self.quant)),
        }
    }
}

impl Model {
    /// Writes the model if it is to be generated and still is not there; one process at a time.
    pub(crate) fn ensure(&self) -> Result<()> {
        let Some(plan) = &self.to_write else { return Ok(()) };
        let dir = workspace::store().models();
        fs::create_dir_all(&dir).map_err(|error| Error::io("cannot create", &dir, error))?;
        let _lock = Lock::acquire(&dir.join(".lock"), ui::waiting("a model"))?;
        sweep(&dir)?;
        if is_written(plan, &self.path) { Ok(()) } else { write(plan, &self.path) }
    }

    /// Refuses a model that, with a context of `tokens`, does not fit into the memory that we may take. Nothing is said
    /// where the machine does not say what it has.
    ///
    /// # Errors
    /// [`diagnostic::codes::MODEL_TOO_LARGE`], with the sum.
    pub(crate) fn fits(&self, host: &Host, tokens: u32) -> Result<()> {
        let Some(available) = machine::available_memory(host) else { return Ok(()) };
        // llama-bench has room for the logits of every token.
        let setting = Setting { logits: LogitsRows::EveryToken, ..Setting::single(tokens.into()) };
        Demand::of(&self.header, self.bytes, &setting).check(workspace::short(&self.path), available)
    }

    /// Bytes read for one token when `generate` tokens are generated after an empty prompt: weights, and the KV cache at
    /// the mean depth. `None` when the file's architecture does not tell.
    pub(crate) fn bytes_per_token(&self, generate: u32) -> Option<u64> {
        let cache = self.header.kv_bytes_per_token().ok()?;
        Some(self.header.bytes_per_token().ok()? + cache * u64::from(generate) / 2)
    }
}

/// A generated model, written unless it is there.
pub(crate) fn generated(shape: Shape, quant: Quant) -> Result<Model> {
    let model = look_at_generated(shape, quant);
    model.ensure()?;
    Ok(model)
}

fn look_at_generated(shape: Shape, quant: Quant) -> Model {
    let plan = model::plan(shape, quant, SEED);
    let path = workspace::store().models().join(plan.file_name());
    let header = Header {
        version: gguf::VERSION,
        metadata: plan.metadata.clone(),
        tensors: plan.tensors.clone(),
        data_offset: plan.data_offset,
    };
    Model {
        bytes: plan.file_bytes,
        class: class::of(&header).expect("what we write says its size and quantisation"),
        to_write: (!is_written(&plan, &path)).then_some(plan),
        header,
        path,
    }
}

fn of_file(path: &Path) -> Result<Model> {
    let files = ModelFiles::open_loadable(path)?;
    let bytes = files.bytes().expect("files have sizes");
    // Of a model in parts, llama.cpp wants the first.
    let first = files.paths(path).swap_remove(0);
    let class = class::of(&files.header).map_err(|error| error.context(format_args!("model `{}`", path.display())))?;
    Ok(Model { path: first, bytes, class, header: files.header, to_write: None })
}

/// Whether the file holds this plan's model: same seed and vocabulary (they stand in the metadata), tensors, size.
fn is_written(plan: &ModelPlan, path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.len() == plan.file_bytes)
        && ModelFiles::open(path, Arrays::ALL)
            .is_ok_and(|there| there.header.tensors == plan.tensors && there.header.metadata == plan.metadata)
}

/// Removes models that killed processes have left half-written; called under the lock.
fn sweep(dir: &Path) -> Result<()> {
    let fail = |error| Error::io("cannot read", dir, error);
    for entry in fs::read_dir(dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.extension().is_some_and(|ending| ending == "part") {
            fs::remove_file(&path).map_err(|error| Error::io("cannot remove", &path, error))?;
        }
    }
    Ok(())
}

/// Writes a model and shows how far it is.
pub(crate) fn write(plan: &ModelPlan, path: &Path) -> Result<()> {
    let mut progress = Progress::new("writing", Unit::Bytes);
    let name = workspace::short(path);
    model::write_file(plan, path, |written| {
        progress.set(written, plan.file_bytes, &name);
        process::interrupt::check()
    })?;
    drop(progress);
    ui::note(format!("wrote     {name} ({} MB)", plan.file_bytes / 1_000_000));
    Ok(())
}

//! The model that a measurement runs on: a file of the user's, or a generated one.

use std::fs;
use std::path::{Path, PathBuf};

use build_info::ModelClass;
use clap::Args;
use diagnostic::{Error, Result, codes};
use gguf::Header;
use gguf::model::{self, ModelPlan, Quant, Shape};

use crate::ui::{self, Progress, Unit};
use crate::workspace;

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
    /// Bytes of weights read for one generated token; `None` when the file's architecture does not tell.
    pub(crate) bytes_per_token: Option<u64>,
    pub(crate) class: ModelClass,
}

impl ModelFlags {
    /// The model, generated first if that is what was asked for.
    pub(crate) fn resolve(&self) -> Result<Model> {
        match &self.model {
            Some(path) => of_file(path),
            None => generated(self.shape, self.quant),
        }
    }
}

/// A generated model, written unless it is there.
pub(crate) fn generated(shape: Shape, quant: Quant) -> Result<Model> {
    let plan = model::plan(shape, quant, SEED);
    let path = workspace::models_dir().join(plan.file_name());
    if !is_written(&plan, &path) {
        write(&plan, &path)?;
    }
    let class = ModelClass::new(shape.name(), quant.name()).expect("names of shapes and quants make a class");
    describe(&path, class)
}

fn of_file(path: &Path) -> Result<Model> {
    let header = Header::open(path)?;
    let size = header.metadata.get("general.size_label").and_then(gguf::Value::as_str).map(str::to_owned);
    let size = size.unwrap_or_else(|| parameters(&header));
    // The type of most weights; `general.file_type` is often missing.
    let quant =
        header.tensors.iter().max_by_key(|tensor| tensor.bytes).map_or("f32", |tensor| tensor.tensor_type.name());
    let class =
        ModelClass::new(&size, quant).or_else(|_| ModelClass::new(&parameters(&header), quant)).map_err(|error| {
            Error::new(codes::MODEL_INVALID, format!("model `{}` cannot be classed: {error}", path.display()))
        })?;
    describe(path, class)
}

/// `1.1b`, `360m`: how people name sizes.
fn parameters(header: &Header) -> String {
    let count: u64 = header.tensors.iter().map(|tensor| tensor.dims.iter().product::<u64>()).sum();
    if count >= 1_000_000_000 { format!("{:.1}b", count as f64 / 1e9) } else { format!("{:.0}m", count as f64 / 1e6) }
}

fn describe(path: &Path, class: ModelClass) -> Result<Model> {
    let header = Header::open(path)?;
    let bytes = fs::metadata(path).map_err(|error| Error::io("cannot read", path, error))?.len();
    // An architecture that we do not know can still be measured; only its share of the bandwidth stays unknown.
    Ok(Model { path: path.to_owned(), bytes, bytes_per_token: header.bytes_per_token().ok(), class })
}

/// Whether the file holds this plan's model: same tensors, same size.
fn is_written(plan: &ModelPlan, path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.len() == plan.file_bytes)
        && Header::open(path).is_ok_and(|header| header.tensors == plan.tensors)
}

/// Writes a model and shows how far it is.
pub(crate) fn write(plan: &ModelPlan, path: &Path) -> Result<()> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::create_dir_all(dir).map_err(|error| Error::io("cannot create", dir, error))?;
    }
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

//! GGUF, the file format of llama.cpp's models: a bounded reader, and a writer of generated test models.
//!
//! - [`read`] takes a model apart as far as its header goes: [`Header::open`] gives metadata and tensor descriptions
//!   without touching the weights, and [`Header::bytes_per_token`] and [`Header::kv_bytes_per_token`] say how many bytes
//!   one generated token costs. [`ModelFiles`] does it for any model, in one file or in parts, of either byte order, on a
//!   disk or wherever else ranges of bytes can be read.
//! - [`model`] makes models that nobody trained: [`model::plan`] computes every byte's place, [`model::write_file`]
//!   streams them to disk. Tests and benchmarks run on these, so no weights are ever downloaded.
//! - [`TensorType`], [`Value`], [`Metadata`] and [`TensorInfo`] are the words that both use.
//!
//! ```
//! use gguf::model::{Quant, Shape, plan, write};
//!
//! let plan = plan(Shape::Tiny, Quant::Q4KM, 42);
//! let mut file = Vec::new();
//! write(&plan, &mut file, |_written| Ok(()))?;
//! assert_eq!(file.len() as u64, plan.file_bytes);
//!
//! let header = gguf::Header::from_reader(file.as_slice())?;
//! assert_eq!(header.tensors, plan.tensors);
//! # Ok::<(), diagnostic::Error>(())
//! ```
#![forbid(unsafe_code)]

mod encode;
pub mod model;
pub mod read;
mod tensor;
mod types;
mod value;

pub use read::{Arrays, ByteOrder, Header, MAX_HEADER_BYTES, ModelFile, ModelFiles};
pub use tensor::TensorInfo;
pub use types::TensorType;
pub use value::{Array, ElementType, Metadata, Skipped, Value};

/// The first four bytes of every GGUF file.
pub const MAGIC: [u8; 4] = *b"GGUF";
/// The version that we write; versions 2 and 3 have the same layout and are both read.
pub const VERSION: u32 = 3;
/// Tensor data starts on, and is padded to, multiples of this many bytes unless [`ALIGNMENT_KEY`] says otherwise.
pub const DEFAULT_ALIGNMENT: u64 = 32;
/// The metadata key that overrides [`DEFAULT_ALIGNMENT`].
pub const ALIGNMENT_KEY: &str = "general.alignment";

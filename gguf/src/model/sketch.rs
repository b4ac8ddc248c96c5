//! Files that say everything of a model and hold nothing of it: a header, and a hole where the weights would be.
//!
//! What a model takes, where its layers go, how it is split: all that follows from the header. A sketch of a 600 GB model
//! takes a few hundred kilobytes of disk, so that questions about it can be put to llama.cpp itself, which loads it
//! without its weights (`no_alloc`).

use std::fs::File;
use std::io::Write;
use std::path::Path;

use diagnostic::{Error, Result};

use crate::read::Header;
use crate::tensor::{self, TensorInfo};
use crate::types::TensorType;
use crate::value::{Metadata, Value};
use crate::{DEFAULT_ALIGNMENT, encode};

/// A model's header under construction.
#[derive(Debug, Clone, PartialEq)]
pub struct Sketch {
    architecture: String,
    matrix_type: TensorType,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
}

impl Sketch {
    /// A model of an architecture (`general.architecture`), whose matrices are of this type where their rows are whole
    /// blocks of it.
    pub fn new(architecture: &str, matrix_type: TensorType) -> Sketch {
        let metadata = Metadata(vec![
            ("general.architecture".to_owned(), architecture.into()),
            // Vocabularies take megabytes and change nothing here: llama.cpp takes a model without one.
            ("tokenizer.ggml.model".to_owned(), "no_vocab".into()),
        ]);
        Sketch { architecture: architecture.to_owned(), matrix_type, metadata, tensors: Vec::new() }
    }

    /// Sets a value of the architecture: `block_count` is `llama.block_count` for llama.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) -> &mut Sketch {
        self.metadata.0.push((format!("{}.{key}", self.architecture), value.into()));
        self
    }

    /// Adds a matrix, or a stack of them: `[n_in, n_out]` and perhaps how many. Where rows are no whole blocks of the
    /// sketch's type, they are `q8_0`, and where not of that, `f16`; as llama-quantize falls back.
    pub fn matrix(&mut self, name: impl Into<String>, dims: &[u64]) -> &mut Sketch {
        let whole = |kind: &TensorType| dims[0].is_multiple_of(kind.block_elements());
        let fits = [self.matrix_type, TensorType::Q8_0, TensorType::F16].into_iter().find(whole);
        self.tensor(name, dims, fits.expect("a row of f16 has any length"))
    }

    /// Adds a vector in `f32`, such as a norm or a bias.
    pub fn vector(&mut self, name: impl Into<String>, n: u64) -> &mut Sketch {
        self.tensor(name, &[n], TensorType::F32)
    }

    /// Adds a tensor of any type.
    ///
    /// # Panics
    /// Its rows are not whole blocks of the type, or it is larger than ggml can count: a sketch is written by hand.
    pub fn tensor(&mut self, name: impl Into<String>, dims: &[u64], tensor_type: TensorType) -> &mut Sketch {
        let name = name.into();
        let bytes = tensor::bytes(dims, tensor_type);
        let bytes = bytes.unwrap_or_else(|| panic!("`{name}` has rows of whole blocks, and a size that can be counted"));
        let offset = self.tensors.last().map_or(0, |last| aligned(last.offset + last.bytes));
        self.tensors.push(TensorInfo { name, dims: dims.to_vec(), tensor_type, offset, bytes });
        self
    }

    /// What a reader of the file gets.
    pub fn header(&self) -> Header {
        Header {
            version: crate::VERSION,
            metadata: self.metadata.clone(),
            tensors: self.tensors.clone(),
            data_offset: aligned(encode::header(&self.metadata, &self.tensors).len() as u64),
        }
    }

    /// Writes the file: the header, and a hole.
    ///
    /// # Errors
    /// Those of the file system; one that knows no holes may be full.
    pub fn write(&self, path: &Path) -> Result<()> {
        let failed = |error| Error::io("cannot write model", path, error);
        let mut file = File::create(path).map_err(failed)?;
        file.write_all(&encode::header(&self.metadata, &self.tensors)).map_err(failed)?;
        file.set_len(aligned(self.header().end())).map_err(failed)
    }
}

fn aligned(position: u64) -> u64 {
    tensor::align_up(position, DEFAULT_ALIGNMENT).expect("sizes were checked tensor by tensor")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sketch_is_read_back_and_takes_no_room() {
        let mut sketch = Sketch::new("llama", TensorType::Q4K);
        sketch.set("block_count", 1_u32).matrix("a", &[4096, 1 << 22]).matrix("b", &[96, 8]).matrix("c", &[7, 8]).vector("d", 7);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sketch.gguf");
        sketch.write(&path).unwrap();
        let header = Header::open(&path).unwrap();
        assert_eq!(header, sketch.header());
        let types: Vec<&str> = header.tensors.iter().map(|tensor| tensor.tensor_type.name()).collect();
        assert_eq!(types, ["q4_K", "q8_0", "f16", "f32"]);
        let file = std::os::unix::fs::MetadataExt::blocks(&path.metadata().unwrap()) * 512;
        assert!(path.metadata().unwrap().len() > 9 << 30 && file < 1 << 20, "{file} bytes on disk");
    }
}

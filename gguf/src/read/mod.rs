//! Reads the header of a GGUF file: metadata and tensor descriptions, never the weights.
//!
//! A model file comes from anywhere, so nothing that it says is believed before it is checked: memory grows with the
//! bytes that are really there and not with the lengths they claim, the whole header has a budget
//! ([`MAX_HEADER_BYTES`]), and sizes are computed without overflow. The rules are those of llama.cpp's loader
//! (`ggml/src/gguf.cpp`): what it would refuse is refused here, with a message that says why.

mod figures;
mod parse;
mod source;

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use diagnostic::{Error, Result, codes};

use crate::tensor::TensorInfo;
use crate::value::Metadata;
use source::Source;

/// The most that a header may take, in bytes of memory: strings, arrays and descriptions together. A vocabulary of
/// a quarter of a million tokens with twice as many merges, about the largest there is, takes 30 MiB.
pub const MAX_HEADER_BYTES: u64 = 128 << 20;

/// What a GGUF file says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// Keys and values, in the order of the file.
    pub metadata: Metadata,
    /// The tensors, in the order of the file, which is also the order of their data.
    pub tensors: Vec<TensorInfo>,
    /// Where the data section starts, in bytes from the start of the file.
    pub data_offset: u64,
}

impl Header {
    /// Reads the header of a model file and checks that the file holds all the tensors it describes.
    ///
    /// # Errors
    /// [`codes::MODEL_UNREADABLE`]: it does not exist, is not a file or cannot be read. [`codes::MODEL_INVALID`]: it is
    /// not GGUF, is damaged, or is shorter than its tensors.
    pub fn open(path: &Path) -> Result<Header> {
        let name = path.display();
        let unreadable = |why: &str| Error::new(codes::MODEL_UNREADABLE, format!("model `{name}` {why}"));
        let metadata = fs::metadata(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                unreadable("does not exist").hint("write a test model with `cargo xtask model --shape tiny`")
            }
            _ => cannot_read(path, error),
        })?;
        if metadata.is_dir() {
            return Err(unreadable("is a directory").hint("name the `.gguf` file itself"));
        }
        if !metadata.is_file() {
            // Opening a named pipe would wait for a writer, perhaps for ever.
            return Err(unreadable("is not a regular file"));
        }
        let file = File::open(path).map_err(|error| cannot_read(path, error))?;
        let header = Header::from_reader(file).map_err(|error| error.context(format_args!("model `{name}`")))?;
        let (expected, actual) = (header.end(), metadata.len());
        if actual < expected {
            return Err(Error::new(
                codes::MODEL_INVALID,
                format!("model `{name}` is truncated: its tensors need {expected} bytes, the file has {actual}"),
            )
            .hint("copy or download it again"));
        }
        Ok(header)
    }

    /// Reads a header from a stream, up to and without the padding before the data section.
    ///
    /// # Errors
    /// [`codes::MODEL_INVALID`]: not GGUF, or damaged. [`codes::MODEL_UNREADABLE`]: the stream failed.
    pub fn from_reader(reader: impl Read) -> Result<Header> {
        parse::header(&mut Source::new(reader))
    }

    /// Where the last tensor ends, in bytes from the start of the file; a shorter file is truncated.
    pub fn end(&self) -> u64 {
        self.data_offset + self.tensors.last().map_or(0, |tensor| tensor.offset + tensor.bytes)
    }
}

fn cannot_read(path: &Path, error: io::Error) -> Error {
    let error = Error::io("cannot read model", path, error);
    Error::new(codes::MODEL_UNREADABLE, error.to_string()).source(error)
}

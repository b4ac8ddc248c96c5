//! Reads the headers of GGUF files: metadata and tensor descriptions, never the weights.
//!
//! [`ModelFiles`] reads any model: one file or several parts, versions 2 and 3, either byte order, from a path or from
//! anything that can [`Read`] and [`std::io::Seek`], such as a file on a server. [`Header::open`] is the short way for a
//! model that is to be run on this machine, [`Header::from_reader`] for one file that can only be read on.
//!
//! A model file comes from anywhere, so nothing that it says is believed before it is checked: memory grows with the
//! bytes that are really there and not with the lengths they claim, the whole header has a budget
//! ([`MAX_HEADER_BYTES`]), and sizes are computed without overflow. The rules are those of llama.cpp's loader
//! (`ggml/src/gguf.cpp`): what it would refuse is refused here, with a message that says why. The one exception is the
//! byte order, which [`ModelFiles::check_loadable`] looks at.

mod figures;
mod files;
mod input;
mod metadata;
mod parse;
mod source;
mod split;

use std::fmt;
use std::io::Read;
use std::path::Path;

use diagnostic::Result;

pub use files::{ModelFile, ModelFiles};

use crate::tensor::TensorInfo;
use crate::value::Metadata;
use input::Stream;
use source::Source;

/// The most that the headers of a model may take: in memory (strings, arrays and descriptions of all parts together), and
/// each in its file. A vocabulary of a quarter of a million tokens with twice as many merges, about the largest there is,
/// takes 30 MiB of memory when it is kept.
pub const MAX_HEADER_BYTES: u64 = 128 << 20;

/// Which arrays of the metadata are kept. Of others only type, length and place are known afterwards
/// ([`crate::Array::Skipped`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrays(u64);

impl Arrays {
    /// Those of up to 64 KiB. A number for each layer, of which models have some, takes a few hundred bytes; a vocabulary
    /// some millions.
    pub const SHORT: Arrays = Arrays(64 << 10);
    /// All.
    pub const ALL: Arrays = Arrays(u64::MAX);

    /// Those whose elements take up to so many bytes in the file.
    pub const fn up_to(bytes: u64) -> Arrays {
        Arrays(bytes)
    }

    fn keeps(self, bytes: u64) -> bool {
        bytes <= self.0
    }
}

/// In which order the bytes of a number stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// The lowest first, as on x86 and Arm.
    Little,
    /// The highest first, as on s390x.
    Big,
}

impl ByteOrder {
    /// That of this machine.
    pub const NATIVE: ByteOrder = if cfg!(target_endian = "big") { ByteOrder::Big } else { ByteOrder::Little };
}

impl fmt::Display for ByteOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ByteOrder::Little => "little-endian",
            ByteOrder::Big => "big-endian",
        })
    }
}

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
    /// Reads the header of a model that is to be run on this machine, and checks that its files hold all the tensors they
    /// describe. Of a split model, `path` is any part and the header that of all: [`ModelFiles::header`]. Long arrays are
    /// passed over.
    ///
    /// # Errors
    /// As [`ModelFiles::open_loadable`].
    pub fn open(path: &Path) -> Result<Header> {
        Ok(ModelFiles::open_loadable(path)?.header)
    }

    /// Reads the header of one file from a stream, of either byte order, up to and without the padding before the data
    /// section; a little more may be taken from the stream. Long arrays are passed over.
    ///
    /// # Errors
    /// [`diagnostic::codes::MODEL_INVALID`]: not GGUF, or damaged. [`diagnostic::codes::MODEL_UNREADABLE`]: the stream
    /// failed.
    pub fn from_reader(reader: impl Read) -> Result<Header> {
        Header::from_reader_with(reader, Arrays::SHORT).map(|(header, _)| header)
    }

    /// As [`Header::from_reader`], with a choice of the arrays that are kept, and with the byte order.
    ///
    /// # Errors
    /// As [`Header::from_reader`].
    pub fn from_reader_with(reader: impl Read, arrays: Arrays) -> Result<(Header, ByteOrder)> {
        let mut budget = MAX_HEADER_BYTES;
        parse::header(&mut Source::new(&mut Stream(reader), &mut budget), arrays)
    }

    /// Where the last tensor of its file ends, in bytes from the start; a shorter file is truncated. Of a model in parts,
    /// each has its own: [`ModelFile::end`].
    pub fn end(&self) -> u64 {
        self.data_offset + self.tensors.last().map_or(0, |tensor| tensor.offset + tensor.bytes)
    }
}

/// A name that is there more than once.
fn duplicate<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

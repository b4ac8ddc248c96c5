//! What a portable ELF file may hold, and how it is stripped.
//!
//! A portable build must start on every machine with our oldest glibc and the oldest x86-64 CPU, from whatever
//! directory it was unpacked to. This crate reads what decides that, without running anything:
//!
//! - [`Facts`]: libraries, symbol versions, search paths, stack, position independence;
//! - [`Code`]: which functions hold instructions that not every x86-64 CPU has, and what runs before a CPU backend is
//!   asked for its score;
//! - [`leaks`]: build directories and the like in the bytes of a file;
//! - [`strip`], [`stamp`], [`debug_file`]: what is shipped, what debuggers get, and the build id that joins the two;
//! - [`first_difference`], [`tree_differences`]: where two builds part;
//! - [`gate`]: the rules over all of that, and their findings.
//!
//! Everything but [`read`] and [`tree_differences`] works on bytes. Files may be damaged or hostile: the answer is an
//! error, never a panic, and the work is linear in the file's size. 64-bit little-endian files are read, x86-64 and
//! arm64; [`Code`] knows x86-64 only.
#![forbid(unsafe_code)]

mod build_id;
mod code;
mod debug_file;
mod diff;
mod diff_tree;
mod facts;
pub mod gate;
mod image;
mod isa;
mod leak;
mod pattern;
mod reach;
mod strip;
mod version;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use diagnostic::{Error, Result, codes};

pub use build_id::{BuildId, stamp};
pub use code::{Code, Encoding, Undecoded, Use};
pub use debug_file::debug_file;
pub use diff::{Difference, first_difference};
pub use diff_tree::{TreeDifference, TreeDifferenceKind, tree_differences};
pub use facts::{Facts, Kind, Machine, Required, SearchPath};
pub use isa::{Feature, Isa};
pub use leak::{Leak, leaks};
pub use reach::{Reach, Reached};
pub use strip::strip;
pub use version::Version;

/// Larger files are refused; an unstripped llama.cpp tool has 50 MB.
const FILE_LIMIT: u64 = 1 << 30;

/// The bytes of a file, at most 1 GiB.
///
/// # Errors
/// It cannot be read, or is larger.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_LIMIT + 1).read_to_end(&mut bytes))
        .map_err(|error| Error::io("cannot read", path, error))?;
    if bytes.len() as u64 > FILE_LIMIT {
        let message = format!("`{}` has more than 1 GiB and is not looked at", path.display());
        return Err(Error::new(codes::GATE_FAILED, message));
    }
    Ok(bytes)
}

/// Whether a file claims to be ELF: its first four bytes.
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

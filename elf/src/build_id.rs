//! Build ids: what joins a shipped file and the file that debuggers read beside it.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use diagnostic::Result;
use object::LittleEndian as LE;
use object::elf;
use object::read::elf::ProgramHeader as _;
use sha2::{Digest, Sha256};

use crate::image::{Image, damaged};
use crate::strip::strip;

/// The bytes of an `NT_GNU_BUILD_ID` note.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BuildId(Vec<u8>);

impl BuildId {
    pub(crate) fn of(image: &Image<'_>) -> Result<Option<BuildId>> {
        Ok(range(image)?.map(|range| BuildId(image.bytes[range].to_vec())))
    }

    /// Where debuggers look for the debug file below a debug directory: `.build-id/ab/cdef.debug`. An id of fewer than
    /// two bytes has no such place.
    pub fn debug_path(&self) -> Option<PathBuf> {
        let name = self.to_string();
        let (directory, file) = name.split_at_checked(2).filter(|(_, file)| !file.is_empty())?;
        Some(PathBuf::from(".build-id").join(directory).join(format!("{file}.debug")))
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Replaces the build id of an unstripped file by a digest of what is left of it when stripped, and returns the new id;
/// `None` if the file has no build id (linkers write one with `--build-id`).
///
/// A linker's id is a digest of the whole file, with debug information and the paths in it: the same code built in
/// another directory would get another id, and with it other shipped bytes.
///
/// # Errors
/// [`codes::GATE_FAILED`](diagnostic::codes::GATE_FAILED): not an ELF file that we read, or damaged.
pub fn stamp(bytes: &mut [u8]) -> Result<Option<BuildId>> {
    let Some(range) = range(&Image::parse(bytes)?)? else { return Ok(None) };
    let original = bytes[range.clone()].to_vec();
    bytes[range.clone()].fill(0);
    let stripped = match strip(bytes) {
        Ok(stripped) => stripped,
        Err(error) => {
            bytes[range].copy_from_slice(&original);
            return Err(error);
        }
    };
    // Ids longer than the digest stay zero behind it.
    for (byte, digest) in bytes[range.clone()].iter_mut().zip(Sha256::digest(&stripped)) {
        *byte = digest;
    }
    Ok(Some(BuildId(bytes[range].to_vec())))
}

/// Where the id lies in the file. It is read from the segments, which a debugger sees in memory.
fn range(image: &Image<'_>) -> Result<Option<Range<usize>>> {
    for segment in image.segments {
        let Some(mut notes) = segment.notes(LE, image.bytes).map_err(damaged)? else { continue };
        while let Some(note) = notes.next().map_err(damaged)? {
            if note.name() != elf::ELF_NOTE_GNU || note.n_type(LE) != elf::NT_GNU_BUILD_ID {
                continue;
            }
            let id = note.desc();
            let start = id.as_ptr() as usize - image.bytes.as_ptr() as usize;
            return Ok((!id.is_empty()).then(|| start..start + id.len()));
        }
    }
    Ok(None)
}

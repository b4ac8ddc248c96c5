//! A byte stream that counts, and that allocates for what arrives instead of for what is announced.

use std::io::{BufReader, ErrorKind, Read};

use diagnostic::{Error, Result, codes};

use super::MAX_HEADER_BYTES;

pub(super) struct Source<R> {
    reader: BufReader<R>,
    position: u64,
    budget: u64,
}

/// A file that breaks a rule of the format.
pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(codes::MODEL_INVALID, message)
}

impl<R: Read> Source<R> {
    pub(super) fn new(reader: R) -> Source<R> {
        Source { reader: BufReader::with_capacity(64 << 10, reader), position: 0, budget: MAX_HEADER_BYTES }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Takes `bytes` of memory out of the header's budget.
    pub(super) fn charge(&mut self, bytes: u64) -> Result<()> {
        self.budget = self.budget.checked_sub(bytes).ok_or_else(|| {
            invalid(format!("its header takes more than {} MiB, no real model does", MAX_HEADER_BYTES >> 20))
        })?;
        Ok(())
    }

    /// Up to `wanted` bytes; fewer only at the end of the stream.
    pub(super) fn up_to(&mut self, wanted: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader.by_ref().take(wanted).read_to_end(&mut bytes).map_err(|error| self.failed(error))?;
        self.position += bytes.len() as u64;
        Ok(bytes)
    }

    /// Exactly `count` bytes, charged to the budget before the first one is read.
    pub(super) fn bytes(&mut self, count: u64) -> Result<Vec<u8>> {
        self.charge(count)?;
        let bytes = self.up_to(count)?;
        if bytes.len() as u64 == count { Ok(bytes) } else { Err(self.ended()) }
    }

    /// Exactly `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => self.ended(),
            _ => self.failed(error),
        })?;
        self.position += N as u64;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// The bytes of a string, after its length.
    pub(super) fn string_bytes(&mut self) -> Result<Vec<u8>> {
        // Without this, empty strings would be free: eight bytes in the file, three machine words in memory.
        self.charge(size_of::<String>() as u64)?;
        let length = self.u64()?;
        self.bytes(length)
    }

    fn ended(&self) -> Error {
        invalid(format!("truncated: the file ends inside its header, after byte {}", self.position))
            .hint("copy or download it again")
    }

    fn failed(&self, error: std::io::Error) -> Error {
        let message = format!("cannot be read at byte {}: {error}", self.position);
        Error::new(codes::MODEL_UNREADABLE, message).source(error)
    }
}

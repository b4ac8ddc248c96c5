//! Bytes one after the other, counted, bounded, and in the byte order of the file; memory is taken for what arrives, not
//! for what is announced.

use std::io::ErrorKind;

use diagnostic::{Error, Result, codes};

use super::input::Input;
use super::{ByteOrder, MAX_HEADER_BYTES};

/// How much is asked for at first, and at most. A server needs a request for each, so they grow: a header of 10 MB takes
/// eight, one of 100 kB two, and never much more is read than there is.
const FIRST_CHUNK: usize = 64 << 10;
const LARGEST_CHUNK: usize = 4 << 20;

pub(super) struct Source<'a> {
    input: &'a mut dyn Input,
    /// What was read ahead lies between `at` and `end`.
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    chunk: usize,
    /// Of the next byte to be used, in the file.
    position: u64,
    budget: &'a mut u64,
    order: ByteOrder,
}

/// A file that breaks a rule of the format.
pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(codes::MODEL_INVALID, message)
}

impl<'a> Source<'a> {
    /// `budget` is the memory that may be taken, in bytes.
    pub(super) fn new(input: &'a mut dyn Input, budget: &'a mut u64) -> Source<'a> {
        let (buffer, order) = (Vec::new(), ByteOrder::Little);
        Source { input, buffer, at: 0, end: 0, chunk: FIRST_CHUNK, position: 0, budget, order }
    }

    /// Numbers from here on are in this order.
    pub(super) fn set_order(&mut self, order: ByteOrder) {
        self.order = order;
    }

    /// Bytes used so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Takes `bytes` of memory out of the budget.
    pub(super) fn charge(&mut self, bytes: u64) -> Result<()> {
        *self.budget = self.budget.checked_sub(bytes).ok_or_else(too_large)?;
        Ok(())
    }

    /// Up to `wanted` bytes; fewer only at the end.
    pub(super) fn up_to(&mut self, wanted: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < wanted {
            let ahead = self.ahead()?;
            if ahead.is_empty() {
                break;
            }
            let count = usize::try_from(wanted - bytes.len() as u64).map_or(ahead.len(), |left| left.min(ahead.len()));
            bytes.extend_from_slice(&ahead[..count]);
            self.used(count);
        }
        Ok(bytes)
    }

    /// Exactly `count` bytes, charged to the budget before the first one is read.
    pub(super) fn bytes(&mut self, count: u64) -> Result<Vec<u8>> {
        self.charge(count)?;
        let bytes = self.up_to(count)?;
        if bytes.len() as u64 == count { Ok(bytes) } else { Err(self.ended()) }
    }

    /// Exactly `N` bytes of one number, the lowest first.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        let mut filled = 0;
        while filled < N {
            let ahead = self.ahead()?;
            if ahead.is_empty() {
                return Err(self.ended());
            }
            let count = ahead.len().min(N - filled);
            bytes[filled..filled + count].copy_from_slice(&ahead[..count]);
            self.used(count);
            filled += count;
        }
        Ok(self.lowest_first(bytes))
    }

    /// `count` numbers of `N` bytes each, the lowest first.
    pub(super) fn arrays<const N: usize>(&mut self, count: u64) -> Result<Vec<[u8; N]>> {
        let bytes = self.bytes(count.saturating_mul(N as u64))?;
        Ok(bytes.as_chunks().0.iter().map(|&number| self.lowest_first(number)).collect())
    }

    /// Passes over `count` bytes, without reading them where that can be helped.
    pub(super) fn skip(&mut self, count: u64) -> Result<()> {
        if count > MAX_HEADER_BYTES - self.position {
            return Err(too_large());
        }
        let ahead = self.end - self.at;
        let buffered = usize::try_from(count).map_or(ahead, |count| count.min(ahead));
        self.used(buffered);
        let rest = count - buffered as u64;
        if rest > 0 {
            let skipped = self.input.skip(rest).map_err(|error| self.failed(error))?;
            self.position += skipped;
            if skipped < rest {
                return Err(self.ended());
            }
        }
        Ok(())
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

    /// Whatever was read ahead, at least one byte but at the end.
    fn ahead(&mut self) -> Result<&[u8]> {
        if self.at == self.end {
            self.fill()?;
        }
        Ok(&self.buffer[self.at..self.end])
    }

    fn used(&mut self, count: usize) {
        self.at += count;
        self.position += count as u64;
    }

    fn fill(&mut self) -> Result<()> {
        let left = MAX_HEADER_BYTES - self.position;
        if left == 0 {
            return Err(too_large());
        }
        let wanted = usize::try_from(left).map_or(self.chunk, |left| left.min(self.chunk));
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        (self.at, self.end) = (0, 0);
        self.end = loop {
            match self.input.read(&mut self.buffer[..wanted]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.map_err(|error| self.failed(error))?,
            }
        };
        // What gives little at a time is not asked for more.
        if self.end == wanted {
            self.chunk = (self.chunk * 2).min(LARGEST_CHUNK);
        }
        Ok(())
    }

    fn lowest_first<const N: usize>(&self, mut bytes: [u8; N]) -> [u8; N] {
        if self.order == ByteOrder::Big {
            bytes.reverse();
        }
        bytes
    }

    fn ended(&self) -> Error {
        invalid(format!("truncated: the file ends inside its header, after byte {}", self.position))
            .hint("copy or download it again")
    }

    /// An error of ours that came through a reader of ours is passed on as it was.
    fn failed(&self, error: std::io::Error) -> Error {
        match error.downcast::<Error>() {
            Ok(ours) => ours,
            Err(error) => {
                let message = format!("cannot be read at byte {}: {error}", self.position);
                Error::new(codes::MODEL_UNREADABLE, message).source(error)
            }
        }
    }
}

fn too_large() -> Error {
    invalid(format!("its header takes more than {} MiB, no real model does", MAX_HEADER_BYTES >> 20))
}

//! Readers that know what they should read.

use std::io::{self, Read};

use sha2::Digest as _;

use crate::{Descriptor, Digest};

/// Reads a blob and fails, instead of ending, when its size or digest is not the one that its descriptor names.
///
/// What was read before the error must not be used. Reading must go on to the end for the check to happen.
pub struct VerifiedReader {
    inner: Box<dyn Read + Send>,
    expected: Descriptor,
    hasher: sha2::Sha256,
    read: u64,
}

impl std::fmt::Debug for VerifiedReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifiedReader").field("expected", &self.expected.digest).field("read", &self.read).finish()
    }
}

impl VerifiedReader {
    pub(crate) fn new(inner: Box<dyn Read + Send>, expected: &Descriptor) -> VerifiedReader {
        VerifiedReader { inner, expected: expected.clone(), hasher: sha2::Sha256::new(), read: 0 }
    }
}

impl Read for VerifiedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let n = self.inner.read(buffer)?;
        self.read += n as u64;
        let Descriptor { digest, size, .. } = &self.expected;
        if self.read > *size || (n == 0 && self.read < *size) {
            let read = if n == 0 { self.read.to_string() } else { format!("at least {}", self.read) };
            let message = format!("`{digest}` has {read} bytes, but {size} are expected");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        self.hasher.update(&buffer[..n]);
        // Not only at the end: who has read so many bytes as there should be may not ask for more.
        if self.read == *size {
            let actual = Digest::finish(self.hasher.clone());
            if actual != *digest {
                let message = format!("its content has the digest `{actual}`, but `{digest}` is expected");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        Ok(n)
    }
}

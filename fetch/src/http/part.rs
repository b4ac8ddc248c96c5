//! The file that a download grows in, and digests of files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use build_info::Sha256Digest;
use diagnostic::{Error, Result};
use sha2::{Digest, Sha256 as Hasher};

use super::Downloaded;

/// The file that grows, and the digest of what it holds.
pub(super) struct Part {
    pub(super) path: PathBuf,
    file: File,
    hasher: Hasher,
    pub(super) bytes: u64,
}

impl Part {
    pub(super) fn open(to: &Path, continue_old: bool) -> Result<Part> {
        let mut name = to.as_os_str().to_owned();
        name.push(".part");
        let path = PathBuf::from(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(!continue_old)
            .open(&path)
            .map_err(|error| Error::io("cannot write", &path, error))?;
        let mut part = Part { path, file, hasher: Hasher::new(), bytes: 0 };
        let cannot_read = |error| Error::io("cannot read", &part.path, error);
        part.bytes = io::copy(&mut part.file, &mut HashWriter(&mut part.hasher)).map_err(cannot_read)?;
        Ok(part)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| Error::io("cannot write", &self.path, error))?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn restart(&mut self) -> Result<()> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|error| Error::io("cannot write", &self.path, error))?;
        self.hasher = Hasher::new();
        self.bytes = 0;
        Ok(())
    }

    pub(super) fn digest(&self) -> Downloaded {
        let sha256: [u8; 32] = self.hasher.clone().finalize().into();
        Downloaded { bytes: self.bytes, sha256: Sha256Digest::new(sha256) }
    }

    pub(super) fn keep(&self, to: &Path) -> Result<()> {
        let kept = self.file.sync_all().and_then(|()| fs::rename(&self.path, to));
        kept.map_err(|error| Error::io("cannot write", to, error))
    }

    pub(super) fn remove(&self) {
        // If it stays, the next run drops it or finds that its digest is wrong.
        let _ = fs::remove_file(&self.path);
    }
}

struct HashWriter<'a>(&'a mut Hasher);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The digest of a file.
///
/// # Errors
/// It cannot be read.
pub fn sha256_of(path: &Path) -> Result<Sha256Digest> {
    let mut hasher = Hasher::new();
    let copied = File::open(path).and_then(|mut file| io::copy(&mut file, &mut HashWriter(&mut hasher)));
    copied.map_err(|error| Error::io("cannot read", path, error))?;
    let digest: [u8; 32] = hasher.finalize().into();
    Ok(Sha256Digest::new(digest))
}

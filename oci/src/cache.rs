//! Verified blobs on disk, and downloads that can be continued.
//!
//! `blobs/sha256/<hex>` is whole and has been verified. `<hex>.part` is a beginning: it is kept when a download ends early,
//! and whoever holds its lock (the kernel's, so that it dies with its holder) may add to it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use diagnostic::{Error, Result, codes};
use process::interrupt;
use sha2::Digest as _;

use crate::layout::{BLOBS, read_error};
use crate::{Descriptor, Digest, VerifiedReader};

/// A directory of downloaded blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

/// Who may write a blob.
pub(crate) enum Claim {
    /// Nobody needs to: it is there.
    Present,
    /// Another process or thread is at it.
    Busy,
    /// We may.
    Ours(Box<Part>),
}

impl Cache {
    /// A cache in a directory, which is made if need be.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(root: &Path) -> Result<Cache> {
        let blobs = root.join(BLOBS);
        fs::create_dir_all(&blobs).map_err(|error| Error::io("cannot make", &blobs, error))?;
        Ok(Cache { root: root.to_owned() })
    }

    /// Where a blob lies or would lie.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join(BLOBS).join(digest.sha256().to_string())
    }

    /// Whether a blob is there. It was verified when it came; only its size is looked at again.
    pub fn has(&self, blob: &Descriptor) -> bool {
        fs::symlink_metadata(self.path(&blob.digest)).is_ok_and(|found| found.is_file() && found.len() == blob.size)
    }

    /// A blob, verified once more while it is read.
    ///
    /// # Errors
    /// It is not there or cannot be read.
    pub fn open_blob(&self, blob: &Descriptor) -> Result<VerifiedReader> {
        let path = self.path(&blob.digest);
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Error::new(codes::NOT_FOUND, format!("blob `{}` is not in the cache", blob.digest)).source(error)
            }
            _ => Error::io("cannot read", &path, error),
        })?;
        Ok(VerifiedReader::new(Box::new(file), blob))
    }

    /// Forgets a blob, for example because reading it again found it damaged.
    ///
    /// # Errors
    /// It is there and cannot be removed.
    pub fn remove(&self, digest: &Digest) -> Result<()> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("cannot remove", &path, error)),
            _ => Ok(()),
        }
    }

    /// Forgets everything but what is being downloaded now.
    ///
    /// # Errors
    /// Something is there and cannot be removed.
    pub fn sweep(&self) -> Result<()> {
        let blobs = self.root.join(BLOBS);
        for entry in fs::read_dir(&blobs).map_err(|error| Error::io("cannot read", &blobs, error))? {
            let path = entry.map_err(|error| Error::io("cannot read", &blobs, error))?.path();
            let swept = File::open(&path).and_then(|file| match file.try_lock() {
                // Held until it is gone, so that nobody begins to add to what is going.
                Ok(()) => fs::remove_file(&path),
                Err(TryLockError::WouldBlock) => Ok(()),
                Err(TryLockError::Error(error)) => Err(error),
            });
            match swept {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("cannot remove", &path, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Fails early when what is missing of these blobs does not fit on the disk.
    pub(crate) fn check_space(&self, blobs: &[Descriptor]) -> Result<()> {
        let missing: u64 = blobs.iter().filter(|blob| !self.has(blob)).map(|blob| self.missing(blob)).sum();
        let Ok(found) = rustix::fs::statvfs(&self.root) else { return Ok(()) };
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        if missing <= free {
            return Ok(());
        }
        let message = format!(
            "cannot write to `{}`: {} MB are missing of the artefact, and {} MB are free",
            self.root.display(),
            missing.div_ceil(1_000_000),
            free / 1_000_000
        );
        Err(Error::new(codes::DISK_FULL, message))
    }

    fn missing(&self, blob: &Descriptor) -> u64 {
        let there = fs::metadata(self.part(&blob.digest)).map_or(0, |found| found.len());
        blob.size.saturating_sub(there)
    }

    fn part(&self, digest: &Digest) -> PathBuf {
        self.path(digest).with_extension("part")
    }

    /// Asks for the right to write a blob.
    pub(crate) fn claim(&self, blob: &Descriptor) -> Result<Claim> {
        if self.has(blob) {
            return Ok(Claim::Present);
        }
        let path = self.part(&blob.digest);
        let fail = |error| Error::io("cannot write", &path, error);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Claim::Busy),
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        // Between opening and locking, the one before us may have finished: then our file has another name or none.
        let ours = file.metadata().map_err(fail)?;
        let is_same =
            fs::symlink_metadata(&path).is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino()));
        if !is_same {
            return Ok(Claim::Busy);
        }
        if self.has(blob) {
            let _ = fs::remove_file(&path);
            return Ok(Claim::Present);
        }
        let to = self.path(&blob.digest);
        let mut part = Part { path, to, blob: blob.clone(), file, hasher: sha2::Sha256::new(), bytes: 0 };
        if ours.len() > blob.size {
            part.restart()?;
        }
        part.hash_what_is_there()?;
        Ok(Claim::Ours(Box::new(part)))
    }
}

/// The beginning of a blob, locked; dropped, it stays for another time.
pub(crate) struct Part {
    path: PathBuf,
    to: PathBuf,
    blob: Descriptor,
    file: File,
    hasher: sha2::Sha256,
    bytes: u64,
}

impl Part {
    /// Bytes that are there.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn hash_what_is_there(&mut self) -> Result<()> {
        let mut buffer = vec![0; 256 << 10];
        loop {
            interrupt::check()?;
            match self.file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => {
                    self.hasher.update(&buffer[..n]);
                    self.bytes += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("cannot read", &self.path, error)),
            }
        }
    }

    /// Adds bytes; what goes beyond the blob's size is refused and everything dropped.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.bytes + bytes.len() as u64 > self.blob.size {
            self.remove();
            let message =
                format!("blob `{}` has more than the {} bytes that are expected", self.blob.digest, self.blob.size);
            return Err(Error::new(codes::DIGEST_MISMATCH, message));
        }
        self.file.write_all(bytes).map_err(|error| Error::io("cannot write", &self.path, error))?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    pub(crate) fn restart(&mut self) -> Result<()> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|error| Error::io("cannot write", &self.path, error))?;
        self.hasher = sha2::Sha256::new();
        self.bytes = 0;
        Ok(())
    }

    /// Copies the whole blob from a reader.
    pub(crate) fn fill(&mut self, mut from: VerifiedReader, name: &str, mut on_bytes: impl FnMut(u64)) -> Result<()> {
        self.restart()?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            interrupt::check()?;
            match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => {
                    self.write(&buffer[..n])?;
                    on_bytes(n as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.remove();
                    return Err(read_error(&format!("blob `{}` of {name}", self.blob.digest), error));
                }
            }
        }
    }

    /// The digest of what is there.
    pub(crate) fn digest(&self) -> Digest {
        Digest::finish(self.hasher.clone())
    }

    /// Gives the blob its name.
    ///
    /// # Errors
    /// [`codes::DIGEST_MISMATCH`] when it is not what it should be; it is dropped then.
    pub(crate) fn keep(&mut self, from: &str) -> Result<()> {
        let actual = self.digest();
        if actual != self.blob.digest || self.bytes != self.blob.size {
            self.remove();
            let message = format!("a blob of {from} has the digest `{actual}`, but `{}` is expected", self.blob.digest);
            return Err(Error::new(codes::DIGEST_MISMATCH, message)
                .hint("it was changed on its way or at its source; it was dropped"));
        }
        // The directory is not synced: a power cut that loses the name leaves a whole beginning, or nothing.
        let kept = self.file.sync_all().and_then(|()| fs::rename(&self.path, &self.to));
        kept.map_err(|error| Error::io("cannot write", &self.to, error))
    }

    pub(crate) fn remove(&self) {
        // If it stays, the next run finds that its digest is wrong.
        let _ = fs::remove_file(&self.path);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Closing is not enough: a child that another thread is just starting holds the same open file until it execs.
        let _ = self.file.unlock();
    }
}

//! Writes the files of a build into a directory, and knows all that it has written.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use build_info::Sha256Digest;
use diagnostic::Error;
use process::interrupt;
use sha2::{Digest as _, Sha256};

use super::entry::Name;
use super::{Bounds, damaged};
use crate::BUILD_INFO;

/// Bytes of the largest build information that is read.
const INFO_LIMIT: u64 = 4 << 20;

/// The directory that is being filled.
pub(super) struct Place {
    root: PathBuf,
    bounds: Bounds,
    entries: usize,
    /// Directories have no digest.
    written: BTreeMap<String, Option<Sha256Digest>>,
    info: Option<Vec<u8>>,
    buffer: Vec<u8>,
}

/// Why something was not written.
pub(super) enum Failure {
    /// The entry is to blame; a phrase that follows its name.
    Entry(String),
    /// The archive ends or is damaged within the entry.
    Read(io::Error),
    /// We are.
    Ours(Error),
}

impl Failure {
    pub(super) fn say(self, refused: &dyn Fn(String) -> Error, name: &Name) -> Error {
        match self {
            Failure::Entry(why) => refused(format!("{name} {why}")),
            Failure::Read(error) => refused(damaged(&name.to_string(), &error)),
            Failure::Ours(error) => error,
        }
    }
}

impl Place {
    pub(super) fn new(root: &Path, bounds: Bounds) -> Place {
        let (written, buffer) = (BTreeMap::new(), vec![0; 256 << 10]);
        Place { root: root.to_owned(), bounds, entries: 0, written, info: None, buffer }
    }

    /// Counts an entry, whatever it is.
    pub(super) fn count(&mut self) -> Result<(), String> {
        self.entries += 1;
        if self.entries > self.bounds.entries { Err(self.too_many()) } else { Ok(()) }
    }

    fn too_many(&self) -> String {
        format!("it has more than {} entries", self.bounds.entries)
    }

    /// Makes a directory and those above it, where they are not there yet.
    pub(super) fn directory(&mut self, path: &str) -> Result<(), Failure> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for above in ends.map(|end| &path[..end]) {
            match self.written.get(above) {
                Some(None) => continue,
                Some(Some(_)) => return Err(Failure::Entry("collides with an earlier file".to_owned())),
                None => {}
            }
            // A long name makes many directories: they count as entries do.
            if self.written.len() >= self.bounds.entries {
                return Err(Failure::Entry(format!("is one too many: {}", self.too_many())));
            }
            let full = self.root.join(above);
            let failed = |error| Failure::Ours(Error::io("cannot create", &full, error));
            match fs::create_dir(&full) {
                // The caller may have made it; only a directory is taken, no link to one.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if !fs::symlink_metadata(&full).map_err(failed)?.is_dir() {
                        return Err(failed(error));
                    }
                }
                result => result.map_err(failed)?,
            }
            fs::set_permissions(&full, Permissions::from_mode(0o755)).map_err(failed)?;
            self.written.insert(above.to_owned(), None);
        }
        Ok(())
    }

    /// Writes a file of `size` bytes, which must be new.
    pub(super) fn file(
        &mut self,
        path: &str,
        size: u64,
        executable: bool,
        content: &mut dyn Read,
    ) -> Result<(), Failure> {
        if size > self.bounds.file {
            return Err(Failure::Entry(format!("is larger than {} bytes", self.bounds.file)));
        }
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent)?;
        }
        match self.written.get(path) {
            Some(Some(_)) => return Err(Failure::Entry("appears twice".to_owned())),
            Some(None) => return Err(Failure::Entry("collides with an earlier directory".to_owned())),
            None => {}
        }
        let mut copy = (path == BUILD_INFO).then(Vec::new);
        if copy.is_some() && size > INFO_LIMIT {
            return Err(Failure::Entry(format!("is larger than {INFO_LIMIT} bytes")));
        }
        let full = self.root.join(path);
        let failed = |error| Failure::Ours(Error::io("cannot write", &full, error));
        // New, so no link that might be there is followed.
        let mut file = OpenOptions::new().write(true).create_new(true).open(&full).map_err(failed)?;
        let mut hasher = Sha256::new();
        let mut left = size;
        while left > 0 {
            interrupt::check().map_err(Failure::Ours)?;
            let n = match content.read(&mut self.buffer).map_err(Failure::Read)? {
                0 => return Err(Failure::Read(io::ErrorKind::UnexpectedEof.into())),
                n => n,
            };
            hasher.update(&self.buffer[..n]);
            file.write_all(&self.buffer[..n]).map_err(failed)?;
            if let Some(copy) = &mut copy {
                copy.extend_from_slice(&self.buffer[..n]);
            }
            left = left.saturating_sub(n as u64);
        }
        let mode = if executable { 0o755 } else { 0o644 };
        file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
        self.written.insert(path.to_owned(), Some(Sha256Digest::new(hasher.finalize().into())));
        self.info = copy.or(self.info.take());
        Ok(())
    }

    /// The digests of all files, and the bytes of the build information if there is one.
    pub(super) fn finish(self) -> (BTreeMap<String, Sha256Digest>, Option<Vec<u8>>) {
        let files = self.written.into_iter().filter_map(|(path, digest)| Some((path, digest?)));
        (files.collect(), self.info)
    }
}

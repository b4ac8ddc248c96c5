//! Layouts in a `.tar` file, as `skopeo copy ... oci-archive:FILE` writes them; read-only.
//!
//! Nothing is unpacked: the archive is listed once, and blobs are read where they lie. It is hostile until proven
//! otherwise: only plain files with the names of a layout count, and each of them once.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use diagnostic::{Error, Result, codes};
use process::interrupt;
use tar::{EntryType, PaxExtensions};

use crate::layout::{BLOBS, INDEX, MARKER, check_marker, read_error};
use crate::model::printable;
use crate::{Digest, Index, MANIFEST_LIMIT, ReadLayout};

/// Entries of an archive; a layout with more blobs is not ours to read.
const ENTRIES_LIMIT: usize = 100_000;
/// Bytes of an extended header.
const EXTENSION_LIMIT: u64 = 1 << 20;

/// A layout in an uncompressed tar file.
#[derive(Debug, Clone)]
pub struct Archive {
    path: PathBuf,
    file: Arc<File>,
    entries: HashMap<String, Place>,
}

/// Where in the archive a file lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    size: u64,
}

impl Archive {
    /// Lists an archive.
    ///
    /// # Errors
    /// [`codes::NOT_FOUND`]; [`codes::ARCHIVE_INVALID`] when it is no tar file, damaged, compressed, or has a link or a
    /// second file where a layout has one; [`codes::MANIFEST_INVALID`] when it holds no layout.
    pub fn open(path: &Path) -> Result<Archive> {
        let name = format!("layout archive `{}`", path.display());
        let invalid = |why: String| Error::new(codes::ARCHIVE_INVALID, format!("{name} is refused: {why}"));
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::new(codes::NOT_FOUND, format!("{name} does not exist"))
                .hint("`skopeo copy --all docker://HOST/REPOSITORY:TAG oci-archive:FILE` writes one; a directory is named `oci:DIR`")
                .source(error),
            _ => Error::io("cannot read", path, error),
        })?;
        let cannot_read = |error| Error::io("cannot read", path, error);
        let found = file.metadata().map_err(cannot_read)?;
        if !found.is_file() {
            return Err(invalid("it is not a file".to_owned()));
        }
        let length = found.len();
        let file = Arc::new(file);
        if let Some(tool) = compression(&file).map_err(cannot_read)? {
            return Err(invalid("it is compressed".to_owned()).hint(format!("unpack it with `{tool}` first")));
        }
        let not_whole =
            |why: String| invalid(why).hint("copy it again, and compare its sha256 with that of the original");
        let damaged = |error: &io::Error| not_whole(format!("it is damaged: {}", printable(&error.to_string())));
        let reader = || BufReader::new(Window { file: Arc::clone(&file), at: 0, end: length });
        // Long names and extended headers are read into memory whole, so their sizes are looked at first.
        let mut tar = tar::Archive::new(reader());
        for (count, entry) in tar.entries_with_seek().map_err(|error| damaged(&error))?.raw(true).enumerate() {
            interrupt::check()?;
            let mut entry = entry.map_err(|error| damaged(&error))?;
            if count == ENTRIES_LIMIT {
                return Err(invalid(format!("it has more than {ENTRIES_LIMIT} entries")));
            }
            let kind = entry.header().entry_type();
            let is_extension = kind.is_gnu_longname()
                || kind.is_gnu_longlink()
                || kind.is_pax_global_extensions()
                || kind.is_pax_local_extensions();
            if is_extension && entry.size() > EXTENSION_LIMIT {
                return Err(invalid(format!("it has an extended header of {} bytes", entry.size())));
            }
            // Both would let the second reading find other entries than this one, behind these bounds.
            if kind.is_gnu_sparse() {
                return Err(invalid("it has a sparse file".to_owned()));
            }
            if kind.is_pax_global_extensions() || kind.is_pax_local_extensions() {
                let mut records = Vec::new();
                entry.read_to_end(&mut records).map_err(|error| damaged(&error))?;
                for record in PaxExtensions::new(&records) {
                    if record.map_err(|error| damaged(&error))?.key_bytes() == b"size" {
                        return Err(invalid("an extended header in it gives a file another size".to_owned()));
                    }
                }
            }
        }
        let mut entries = HashMap::new();
        let mut tar = tar::Archive::new(reader());
        for entry in tar.entries_with_seek().map_err(|error| damaged(&error))? {
            interrupt::check()?;
            let entry = entry.map_err(|error| damaged(&error))?;
            let path = entry.path().map_err(|error| damaged(&error))?;
            let Some(name) = layout_name(&path) else { continue };
            let shown = printable(&name);
            match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {}
                EntryType::Directory => continue,
                _ => return Err(invalid(format!("`{shown}` in it is not a plain file"))),
            }
            let place = Place { offset: entry.raw_file_position(), size: entry.size() };
            if place.offset.checked_add(place.size).is_none_or(|end| end > length) {
                return Err(not_whole(format!("it is truncated within `{shown}`")));
            }
            if entries.insert(name, place).is_some() {
                return Err(invalid(format!("`{shown}` is in it twice")));
            }
        }
        let archive = Archive { path: path.to_owned(), file, entries };
        check_marker(&archive.small(MARKER)?, &archive.name())?;
        Ok(archive)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn small(&self, name: &str) -> Result<Vec<u8>> {
        let Some(place) = self.entries.get(name) else {
            return Err(crate::model::invalid(&self.name(), &format!("it has no `{name}`")));
        };
        let mut bytes = Vec::new();
        let read = self.window(*place).take(MANIFEST_LIMIT + 1).read_to_end(&mut bytes);
        read.map_err(|error| read_error(&format!("`{name}` of {}", self.name()), error))?;
        Ok(bytes)
    }

    fn window(&self, place: Place) -> Window {
        Window { file: Arc::clone(&self.file), at: place.offset, end: place.offset + place.size }
    }
}

impl ReadLayout for Archive {
    fn name(&self) -> String {
        format!("layout archive `{}`", self.path.display())
    }

    fn index(&self) -> Result<Index> {
        Index::parse(&self.small(INDEX)?, &format!("`{INDEX}` of {}", self.name()))
    }

    fn raw_blob(&self, digest: &Digest) -> Result<Option<(Box<dyn Read + Send>, u64)>> {
        let place = self.entries.get(&format!("{BLOBS}/{}", digest.sha256()));
        Ok(place.map(|place| (Box::new(self.window(*place)) as _, place.size)))
    }
}

/// A part of a file, read without moving anybody else's position.
struct Window {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX));
        let n = self.file.read_at(&mut buffer[..length], self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl io::Seek for Window {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let at = match to {
            io::SeekFrom::Start(at) => Some(at),
            io::SeekFrom::Current(by) => self.at.checked_add_signed(by),
            io::SeekFrom::End(by) => self.end.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// The name of an entry when a layout has such a one; anything else in the archive does not concern us.
fn layout_name(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => parts.push(name.to_str()?),
            _ => return None,
        }
    }
    let name = parts.join("/");
    let wanted = name == MARKER || name == INDEX || name.strip_prefix(BLOBS).is_some_and(|rest| rest.starts_with('/'));
    wanted.then_some(name)
}

/// The tool that unpacks the file, when it begins like a compressed one.
fn compression(file: &File) -> io::Result<Option<&'static str>> {
    let mut start = [0; 4];
    let n = file.read_at(&mut start, 0)?;
    Ok(match &start[..n] {
        [0x1f, 0x8b, ..] => Some("gunzip"),
        [0x28, 0xb5, 0x2f, 0xfd] => Some("unzstd"),
        [0xfd, b'7', b'z', b'X'] => Some("unxz"),
        _ => None,
    })
}

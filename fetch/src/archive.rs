//! Extraction of `.tar.gz` archives that are hostile until proven otherwise.
//!
//! Only regular files and directories come out. No link of any kind is ever created, so no later entry can be written
//! through an earlier one; names are checked part by part; count and sizes are bounded while reading, before memory or
//! disk is spent on them.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use diagnostic::{Error, Result, codes};
use flate2::read::GzDecoder;
use process::interrupt;
use tar::{Archive, Entry, EntryType};

/// Which entries of an archive are wanted; the part named here is taken off their paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Those below this directory.
    Below(PathBuf),
    /// All; they must lie below one single directory, whatever its name.
    BelowSingleTop,
}

/// What an archive may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Entries, wanted or not.
    pub entries: usize,
    /// Bytes of one file.
    pub file: u64,
    /// Bytes of the whole archive after decompression, headers and unwanted entries included.
    pub total: u64,
}

/// Extracts the wanted files of `archive` into the empty directory `into`; returns how many there were.
///
/// Modes become 644, or 755 when anybody may execute the entry; owners and times are not taken over. On failure `into`
/// holds what came before the bad entry: it is for the caller to stage and drop.
///
/// # Errors
/// [`codes::ARCHIVE_INVALID`], naming the archive and the entry: it is truncated or damaged; holds a link, a device, a
/// name twice, or a name that is absolute or has `..`; exceeds the bounds; or has no wanted file.
pub fn extract(archive: &Path, wanted: &Wanted, bounds: Bounds, into: &Path) -> Result<usize> {
    let file = File::open(archive).map_err(|error| Error::io("cannot open", archive, error))?;
    let invalid =
        |why: String| Error::new(codes::ARCHIVE_INVALID, format!("archive `{}` is refused: {why}", archive.display()));
    let damaged = |at: &str, error: &io::Error| {
        let refused = invalid(damaged(at, error));
        match error.kind() {
            io::ErrorKind::FileTooLarge => refused,
            _ => refused.hint("fetch it again, and compare its sha256 with that of the original"),
        }
    };
    let reader = Bounded { inner: GzDecoder::new(io::BufReader::with_capacity(1 << 20, file)), left: bounds.total };
    let mut tar = Archive::new(reader);
    let mut seen = Seen::default();
    let mut last = String::from("its start");
    for entry in tar.entries().map_err(|error| damaged(&last, &error))? {
        interrupt::check()?;
        let mut entry = entry.map_err(|error| damaged(&last, &error))?;
        seen.entries += 1;
        if seen.entries > bounds.entries {
            return Err(invalid(format!("it has more than {} entries", bounds.entries)));
        }
        if entry.header().entry_type() == EntryType::XGlobalHeader {
            continue;
        }
        let path = checked_path(&entry).map_err(&invalid)?;
        let name = format!("entry `{}`", path.display());
        let kind = entry.header().entry_type();
        let is_file = match kind {
            EntryType::Regular | EntryType::Continuous => true,
            EntryType::Directory => false,
            _ => return Err(invalid(format!("{name} is {}", describe(kind)))),
        };
        if is_file && entry.size() > bounds.file {
            return Err(invalid(format!("{name} is larger than {} bytes", bounds.file)));
        }
        let below = seen.wanted_part(wanted, &path).map_err(&invalid)?;
        if let Some(below) = below.filter(|_| is_file) {
            if !seen.files.insert(below.clone()) {
                return Err(invalid(format!("{name} appears twice")));
            }
            write(&mut entry, &into.join(below)).map_err(|failure| match failure {
                Failure::Read(error) => damaged(&name, &error),
                Failure::Write(_, error) if collides(error.kind()) => {
                    invalid(format!("{name} collides with an earlier entry"))
                }
                Failure::Write(path, error) => Error::io("cannot write", &path, error),
            })?;
        }
        last = name;
    }
    // The checksum of the compressed stream stands at its very end, after the last entry.
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(|error| damaged(&last, &error))?;
    if seen.files.is_empty() {
        return Err(invalid(match wanted {
            Wanted::Below(prefix) => format!("it has no file below `{}`", prefix.display()),
            Wanted::BelowSingleTop => "it has no file".to_owned(),
        }));
    }
    Ok(seen.files.len())
}

/// What has been met so far.
#[derive(Default)]
struct Seen {
    entries: usize,
    files: HashSet<PathBuf>,
    top: Option<PathBuf>,
}

impl Seen {
    /// The part of an entry's path that is wanted, or none.
    fn wanted_part(&mut self, wanted: &Wanted, path: &Path) -> Result<Option<PathBuf>, String> {
        let below = match wanted {
            Wanted::Below(prefix) => path.strip_prefix(prefix).ok(),
            Wanted::BelowSingleTop => {
                let mut parts = path.components();
                let Some(top) = parts.next() else { return Ok(None) };
                let top: &Path = top.as_ref();
                let known = self.top.get_or_insert_with(|| top.to_owned());
                if known != top {
                    return Err(format!("it has two top directories, `{}` and `{}`", known.display(), top.display()));
                }
                Some(parts.as_path())
            }
        };
        Ok(below.filter(|below| !below.as_os_str().is_empty()).map(Path::to_owned))
    }
}

/// The entry's path when each part of it is a plain name.
fn checked_path<R: Read>(entry: &Entry<'_, R>) -> Result<PathBuf, String> {
    let path = entry.path().map_err(|error| format!("an entry has no readable name: {error}"))?;
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return Err(format!("entry `{}` is absolute", path.display())),
            Component::ParentDir => return Err(format!("entry `{}` holds `..`", path.display())),
        }
    }
    Ok(plain)
}

enum Failure {
    Read(io::Error),
    Write(PathBuf, io::Error),
}

/// A file where a directory is needed, or the other way round.
fn collides(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory)
}

/// Writes one file; whether it fails on our side or the archive's decides what a person hears.
fn write<R: Read>(entry: &mut Entry<'_, R>, to: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::Write(to.to_owned(), error);
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let executable = entry.header().mode().map_err(Failure::Read)? & 0o111 != 0;
    let size = entry.size();
    let mut file = OpenOptions::new().write(true).create_new(true).open(to).map_err(failed)?;
    let mut source = Counted { inner: entry, read: 0, error: None };
    if let Err(error) = io::copy(&mut source, &mut file) {
        return Err(match source.error {
            Some(error) => Failure::Read(error),
            None => failed(error),
        });
    }
    if source.read != size {
        return Err(Failure::Read(io::ErrorKind::UnexpectedEof.into()));
    }
    file.set_permissions(Permissions::from_mode(if executable { 0o755 } else { 0o644 })).map_err(failed)
}

/// Counts, and keeps the error that came from reading apart from those of writing.
struct Counted<R> {
    inner: R,
    read: u64,
    error: Option<io::Error>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(n) => {
                self.read += n as u64;
                Ok(n)
            }
            Err(error) => {
                let kind = error.kind();
                self.error = Some(error);
                Err(kind.into())
            }
        }
    }
}

/// Fails, rather than ends, once more than `left` bytes were read.
struct Bounded<R> {
    inner: R,
    left: u64,
}

/// Message of the error that [`Bounded`] raises.
const TOO_LARGE: &str = "it unpacks to more than is allowed";

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left =
            self.left.checked_sub(n as u64).ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, TOO_LARGE))?;
        Ok(n)
    }
}

fn damaged(at: &str, error: &io::Error) -> String {
    // The tar reader wraps errors in its own; the kind is what survives.
    match error.kind() {
        io::ErrorKind::FileTooLarge => format!("{TOO_LARGE} (at {at})"),
        io::ErrorKind::UnexpectedEof => format!("it is truncated at or after {at}"),
        _ => format!("it is damaged at or after {at}: {error}"),
    }
}

fn describe(kind: EntryType) -> String {
    match kind {
        EntryType::Symlink => "a symbolic link".to_owned(),
        EntryType::Link => "a hard link".to_owned(),
        EntryType::Char | EntryType::Block => "a device".to_owned(),
        EntryType::Fifo => "a named pipe".to_owned(),
        other => format!("of the unusual type {:?}", other.as_byte() as char),
    }
}

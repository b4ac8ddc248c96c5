//! Git tree ids of directories, recomputed from the files themselves.
//!
//! A git tree id is the SHA-1 over a directory's sorted entries: mode, name, and the id of the file's content or of the
//! subdirectory. Equal ids therefore mean equal bytes, names and modes. SHA-1 is computed with collision detection.

use std::fs;
use std::io;
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use diagnostic::{Error, Result, codes};
use gix_hash::ObjectId;
use gix_object::bstr::{BString, ByteSlice};
use gix_object::tree::{Entry as TreeEntry, EntryKind};
use gix_object::{Kind, Tree, WriteTo};
use process::interrupt;

use crate::pin::GitId;

/// More files than this below one directory are not a source tree (the pinned one has 3,665).
const FILE_LIMIT: usize = 200_000;
/// Directories deeper than this are not a source tree; keeps the walk from running away.
pub(crate) const DEPTH_LIMIT: usize = 64;

/// One file of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Path below the tree's root, `/` between its parts.
    pub path: BString,
    /// How git records its mode.
    pub mode: Mode,
    /// Git id of its content.
    pub id: ObjectId,
}

/// The modes that git records for files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A file that nobody may run, `100644`.
    Plain,
    /// A file that somebody may run, `100755`.
    Executable,
    /// A symbolic link, `120000`; its content is its target.
    Link,
}

impl Mode {
    /// The six digits that git prints.
    pub fn octal(self) -> &'static str {
        match self {
            Mode::Plain => "100644",
            Mode::Executable => "100755",
            Mode::Link => "120000",
        }
    }

    /// How git sees a file with these permissions.
    pub fn of(permissions: &fs::Permissions) -> Mode {
        if permissions.mode() & 0o111 == 0 { Mode::Plain } else { Mode::Executable }
    }

    fn kind(self) -> EntryKind {
        match self {
            Mode::Plain => EntryKind::Blob,
            Mode::Executable => EntryKind::BlobExecutable,
            Mode::Link => EntryKind::Link,
        }
    }
}

/// Every file below `dir`, sorted by path, each with its mode and content id.
///
/// Empty directories are not listed: git does not record them. Nothing is left out, not even `.git`.
///
/// # Errors
/// A file cannot be read, something is neither file nor directory nor link, or we were interrupted.
pub fn list(dir: &Path) -> Result<Vec<File>> {
    let mut paths = Vec::new();
    walk(dir, &mut BString::default(), 0, &mut paths)?;
    // Threads take every n-th path, so that the large files, which lie together, are shared out.
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(4);
    let mut files = thread::scope(|scope| {
        let paths = &paths;
        let workers: Vec<_> = (0..threads)
            .map(|n| scope.spawn(move || paths.iter().skip(n).step_by(threads).map(|path| read(dir, path)).collect()))
            .collect();
        let mut files = Vec::with_capacity(paths.len());
        for worker in workers {
            let part: Result<Vec<File>> = worker.join().expect("hashing a file does not panic");
            files.append(&mut part?);
        }
        Ok::<_, Error>(files)
    })?;
    files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// The git tree id of files that are sorted by path, as [`list`] returns them.
///
/// # Errors
/// [`codes::TREE_MISMATCH`] when names were made to attack SHA-1.
pub fn id(files: &[File]) -> Result<GitId> {
    subtree(files, 0).map(GitId::from)
}

/// The id of the files that share their first `skip` bytes of path.
fn subtree(files: &[File], skip: usize) -> Result<ObjectId> {
    let mut entries = Vec::new();
    let mut rest = files;
    while let Some(first) = rest.first() {
        let name = &first.path[skip..];
        let (entry, taken) = match name.find_byte(b'/') {
            None => (TreeEntry { mode: first.mode.kind().into(), filename: name.into(), oid: first.id }, 1),
            Some(slash) => {
                let prefix = &first.path[..=skip + slash];
                let taken = rest.iter().take_while(|file| file.path.starts_with(prefix)).count();
                let oid = subtree(&rest[..taken], prefix.len())?;
                (TreeEntry { mode: EntryKind::Tree.into(), filename: name[..slash].into(), oid }, taken)
            }
        };
        entries.push(entry);
        rest = &rest[taken..];
    }
    // Git sorts a directory as if its name ended in a slash, which sorting whole paths has done already; sorting again
    // costs nothing and keeps this right for any caller.
    entries.sort();
    let mut data = Vec::new();
    Tree { entries }.write_to(&mut data).expect("file names hold no zero byte, and a vector takes all that is written");
    hash(Kind::Tree, &data, Path::new("a directory"))
}

fn walk(root: &Path, below: &mut BString, depth: usize, paths: &mut Vec<BString>) -> Result<()> {
    interrupt::check()?;
    let dir = root.join(below.to_path().map_err(|_| not_a_tree(root, "a name is not valid here"))?);
    if depth > DEPTH_LIMIT {
        return Err(not_a_tree(&dir, "its directories are nested too deep"));
    }
    let cannot_read = |error: io::Error| Error::io("cannot read", &dir, error);
    for entry in fs::read_dir(&dir).map_err(cannot_read)? {
        let entry = entry.map_err(cannot_read)?;
        let parent = below.len();
        below.extend_from_slice(entry.file_name().as_bytes());
        if entry.file_type().map_err(cannot_read)?.is_dir() {
            below.push(b'/');
            walk(root, below, depth + 1, paths)?;
        } else if paths.len() == FILE_LIMIT {
            return Err(not_a_tree(root, "it holds too many files"));
        } else {
            paths.push(below.clone());
        }
        below.truncate(parent);
    }
    Ok(())
}

fn read(root: &Path, path: &BString) -> Result<File> {
    interrupt::check()?;
    let full = root.join(path.to_path().map_err(|_| not_a_tree(root, "a name is not valid here"))?);
    let cannot_read = |error: io::Error| Error::io("cannot read", &full, error);
    let metadata = fs::symlink_metadata(&full).map_err(cannot_read)?;
    let (mode, content) = if metadata.is_symlink() {
        (Mode::Link, fs::read_link(&full).map_err(cannot_read)?.into_os_string().as_bytes().to_vec())
    } else if metadata.is_file() {
        (Mode::of(&metadata.permissions()), fs::read(&full).map_err(cannot_read)?)
    } else {
        return Err(not_a_tree(&full, "it is neither a file, a directory nor a link"));
    };
    let id = hash(Kind::Blob, &content, &full)?;
    Ok(File { path: path.clone(), mode, id })
}

/// Fails only on data that was made to collide under SHA-1.
fn hash(kind: Kind, data: &[u8], path: &Path) -> Result<ObjectId> {
    gix_object::compute_hash(gix_hash::Kind::Sha1, kind, data).map_err(|error| not_a_tree(path, &error.to_string()))
}

fn not_a_tree(path: &Path, why: &str) -> Error {
    Error::new(codes::TREE_MISMATCH, format!("`{}` is not part of a source tree: {why}", path.display()))
}

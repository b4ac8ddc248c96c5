//! The committed list of the pinned tree's files: it names what differs where a tree id can only say that something does.
//!
//! `vendor/llama.cpp.files` is what `git ls-tree -r COMMIT` prints. It is not trusted by itself: it counts only while its
//! own tree id is the pinned one.

use std::cmp::Ordering;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use diagnostic::{Error, Result, codes};
use gix_hash::ObjectId;
use gix_object::bstr::{BStr, BString, ByteSlice};

use crate::pin::GitId;
use crate::tree::{self, DEPTH_LIMIT, File, Mode};

/// File name of the manifest inside `vendor/`.
pub const FILE: &str = "llama.cpp.files";

/// How many differences a message names; it counts the rest.
const NAMED: usize = 10;

/// What is read of a manifest (the pinned one has 350 KB); a longer one ends in the middle and fails by its tree id.
const SIZE_LIMIT: u64 = 32 << 20;

/// One way in which a file differs from the pinned one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Its bytes are others.
    Content(BString),
    /// Its mode is another: the one it has, the one it should have.
    Mode(BString, Mode, Mode),
    /// It should exist.
    Missing(BString),
    /// It should not exist.
    Extra(BString),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Content(path) => write!(f, "`{path}` has other bytes"),
            Difference::Mode(path, is, should) => {
                write!(f, "`{path}` has mode {}, not {}", is.octal(), should.octal())
            }
            Difference::Missing(path) => write!(f, "`{path}` is missing"),
            Difference::Extra(path) => write!(f, "`{path}` does not belong there"),
        }
    }
}

/// Checks that a directory is the pinned tree, byte for byte; returns how many files it holds.
///
/// `name` is what messages call the directory. `manifest` only serves to name what differs; without a usable one the ids alone are reported.
///
/// # Errors
/// [`codes::TREE_MISMATCH`], naming at most ten differences and the count of all.
pub fn compare(dir: &Path, name: &str, expected: GitId, manifest: &Path) -> Result<usize> {
    let files = tree::list(dir)?;
    let actual = tree::id(&files)?;
    if actual == expected {
        return Ok(files.len());
    }
    let mut message = format!("{name} is not the pinned source tree");
    match read(manifest, expected) {
        Ok(pinned) => {
            let all = differences(&files, &pinned);
            for difference in all.iter().take(NAMED) {
                message += &format!("\n  {difference}");
            }
            if all.len() > NAMED {
                message += &format!("\n  and {} more differences", all.len() - NAMED);
            }
        }
        Err(_) => message += &format!(": its tree id is {actual}, the pin says {expected}"),
    }
    Err(Error::new(codes::TREE_MISMATCH, message))
}

/// Reads the manifest, and trusts it only when it describes the pinned tree.
///
/// # Errors
/// [`codes::PIN_INVALID`]: it cannot be read, or it is not the list of this tree.
pub fn read(path: &Path, expected: GitId) -> Result<Vec<File>> {
    let invalid = |why: String| Error::new(codes::PIN_INVALID, format!("`{}` {why}", path.display()));
    let cannot_read =
        |error: io::Error| invalid(format!("cannot be read: {}", diagnostic::plain(&error))).source(error);
    let mut text = Vec::new();
    fs::File::open(path).map_err(cannot_read)?.take(SIZE_LIMIT).read_to_end(&mut text).map_err(cannot_read)?;
    let files =
        parse(&text).map_err(|line| invalid(format!("has a line that `git ls-tree -r` would not print: {line}")))?;
    let actual = tree::id(&files)?;
    if actual == expected {
        Ok(files)
    } else {
        Err(invalid(format!("lists the tree {actual}, but the pin says {expected}")))
    }
}

/// The text of a manifest: `MODE blob ID<tab>PATH` per file.
pub fn print(files: &[File]) -> Vec<u8> {
    let mut text = Vec::new();
    for File { path, mode, id } in files {
        text.extend_from_slice(format!("{} blob {id}\t", mode.octal()).as_bytes());
        text.extend_from_slice(path);
        text.push(b'\n');
    }
    text
}

/// The files of a manifest; the number of the first bad line otherwise.
fn parse(text: &[u8]) -> Result<Vec<File>, usize> {
    text.lines().enumerate().map(|(n, line)| parse_line(line.as_bstr()).ok_or(n + 1)).collect()
}

fn parse_line(line: &BStr) -> Option<File> {
    let (head, path) = line.split_once_str("\t")?;
    let mut words = head.split_str(" ");
    let mode = match words.next()? {
        b"100644" => Mode::Plain,
        b"100755" => Mode::Executable,
        b"120000" => Mode::Link,
        _ => return None,
    };
    let kind = words.next()?;
    let id = ObjectId::from_hex(words.next()?).ok()?;
    let parts_sound = path.split_str("/").all(|part| !part.is_empty()) && path.find_iter("/").count() < DEPTH_LIMIT;
    let sound = kind == b"blob" && words.next().is_none() && parts_sound;
    sound.then(|| File { path: path.into(), mode, id })
}

/// Merges two lists that are sorted by path.
fn differences(actual: &[File], pinned: &[File]) -> Vec<Difference> {
    let mut found = Vec::new();
    let (mut actual, mut pinned) = (actual.iter().peekable(), pinned.iter().peekable());
    loop {
        let order = match (actual.peek(), pinned.peek()) {
            (None, None) => return found,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(is), Some(should)) => is.path.cmp(&should.path),
        };
        let is = actual.next_if(|_| order.is_le());
        let should = pinned.next_if(|_| order.is_ge());
        match (is, should) {
            (Some(is), Some(should)) => {
                if is.id != should.id {
                    found.push(Difference::Content(is.path.clone()));
                }
                if is.mode != should.mode {
                    found.push(Difference::Mode(is.path.clone(), is.mode, should.mode));
                }
            }
            (Some(is), None) => found.push(Difference::Extra(is.path.clone())),
            (None, Some(should)) => found.push(Difference::Missing(should.path.clone())),
            (None, None) => return found,
        }
    }
}

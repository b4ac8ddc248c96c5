//! Where two directory trees that should be the same part.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use diagnostic::{Error, Result, codes};

use crate::diff::{Difference, first_difference};

/// Deeper trees are refused.
const DEPTH_LIMIT: usize = 64;
/// More differences are not collected: the trees have nothing to do with one another.
const LIMIT: usize = 1000;

/// What differs about one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeDifferenceKind {
    /// Only the first tree has it.
    OnlyInFirst,
    /// Only the second tree has it.
    OnlyInSecond,
    /// A file in one, a directory or a link in the other.
    Type(&'static str, &'static str),
    /// Permission bits.
    Mode(u32, u32),
    /// Targets of links.
    Link(PathBuf, PathBuf),
    /// Contents of files.
    Content(Box<Difference>),
}

/// One path that is not the same in two trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeDifference {
    /// The path, relative to both trees.
    pub path: PathBuf,
    /// What differs.
    pub kind: TreeDifferenceKind,
}

impl fmt::Display for TreeDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ", self.path.display())?;
        match &self.kind {
            TreeDifferenceKind::OnlyInFirst => f.write_str("is only in the first tree"),
            TreeDifferenceKind::OnlyInSecond => f.write_str("is only in the second tree"),
            TreeDifferenceKind::Type(first, second) => write!(f, "is {first} against {second}"),
            TreeDifferenceKind::Mode(first, second) => write!(f, "has mode {first:04o} against {second:04o}"),
            TreeDifferenceKind::Link(first, second) => {
                write!(f, "is a link to `{}` against `{}`", first.display(), second.display())
            }
            TreeDifferenceKind::Content(difference) => difference.fmt(f),
        }
    }
}

/// Compares two directory trees: names, types, permission bits, links, contents; not times and owners. The result is
/// sorted by path, a directory before what is in it, with at most 1000 entries; empty: the trees are equal.
///
/// # Errors
/// A file or directory cannot be read, or the trees are more than 64 directories deep.
pub fn tree_differences(first: &Path, second: &Path) -> Result<Vec<TreeDifference>> {
    let mut found = Vec::new();
    compare_directories(first, second, Path::new(""), 0, &mut found)?;
    Ok(found)
}

fn compare_directories(
    first: &Path,
    second: &Path,
    path: &Path,
    depth: usize,
    found: &mut Vec<TreeDifference>,
) -> Result<()> {
    if depth > DEPTH_LIMIT {
        return Err(Error::new(codes::IO, format!("`{}` is too deep a directory", first.join(path).display())));
    }
    let mut entries: BTreeMap<OsString, (Option<Metadata>, Option<Metadata>)> = BTreeMap::new();
    let at = |root: &Path| if depth == 0 { root.to_owned() } else { root.join(path) };
    for (name, metadata) in list(&at(first))? {
        entries.entry(name).or_default().0 = Some(metadata);
    }
    for (name, metadata) in list(&at(second))? {
        entries.entry(name).or_default().1 = Some(metadata);
    }
    for (name, both) in entries {
        if found.len() >= LIMIT {
            return Ok(());
        }
        let path = path.join(name);
        let mut add = |kind| found.push(TreeDifference { path: path.clone(), kind });
        match both {
            (Some(left), Some(right)) if type_name(&left) != type_name(&right) => {
                add(TreeDifferenceKind::Type(type_name(&left), type_name(&right)));
            }
            (Some(left), Some(right)) => {
                let mode = |metadata: &Metadata| metadata.permissions().mode() & 0o7777;
                // A link's own bits mean nothing.
                if mode(&left) != mode(&right) && !left.is_symlink() {
                    add(TreeDifferenceKind::Mode(mode(&left), mode(&right)));
                }
                if left.is_dir() {
                    compare_directories(first, second, &path, depth + 1, found)?;
                } else {
                    compare_contents(&left, &first.join(&path), &second.join(&path))?.into_iter().for_each(add);
                }
            }
            (Some(_), None) => add(TreeDifferenceKind::OnlyInFirst),
            (None, _) => add(TreeDifferenceKind::OnlyInSecond),
        }
    }
    Ok(())
}

fn compare_contents(metadata: &Metadata, first: &Path, second: &Path) -> Result<Option<TreeDifferenceKind>> {
    if metadata.is_symlink() {
        let target = |link: &Path| fs::read_link(link).map_err(|error| Error::io("cannot read", link, error));
        let (first, second) = (target(first)?, target(second)?);
        return Ok((first != second).then_some(TreeDifferenceKind::Link(first, second)));
    }
    if !metadata.is_file() {
        return Ok(None);
    }
    let difference = first_difference(&crate::read(first)?, &crate::read(second)?);
    Ok(difference.map(|difference| TreeDifferenceKind::Content(Box::new(difference))))
}

fn list(directory: &Path) -> Result<Vec<(OsString, Metadata)>> {
    let fail = |error| Error::io("cannot read", directory, error);
    let entries = fs::read_dir(directory).map_err(fail)?;
    entries
        .map(|entry| {
            let entry = entry.map_err(fail)?;
            // Of a link, the link.
            Ok((entry.file_name(), entry.metadata().map_err(fail)?))
        })
        .collect()
}

fn type_name(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    match () {
        () if kind.is_dir() => "a directory",
        () if kind.is_file() => "a file",
        () if kind.is_symlink() => "a link",
        () if kind.is_fifo() || kind.is_socket() => "a pipe or socket",
        () => "a device",
    }
}

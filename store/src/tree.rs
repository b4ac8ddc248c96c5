//! The files of one build, as a map from path to digest.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use build_info::Sha256Digest;
use diagnostic::{Error, Result};
use process::interrupt;
use sha2::{Digest, Sha256};

use crate::layout::INFO;
use crate::parallel;

/// One entry of a build that is not a directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// A regular file, or a relative link to one inside the build.
    File,
    /// Something that cannot be part of a build, and why.
    Foreign(&'static str),
}

/// Every entry below `root` except its build information, by its path relative to `root` with `/` between the parts.
pub(crate) fn walk(root: &Path) -> Result<BTreeMap<String, Node>> {
    let canonical = root.canonicalize().map_err(|error| Error::io("cannot read", root, error))?;
    let mut nodes = BTreeMap::new();
    descend(root, &canonical, "", &mut nodes)?;
    nodes.remove(INFO);
    Ok(nodes)
}

fn descend(directory: &Path, root: &Path, prefix: &str, nodes: &mut BTreeMap<String, Node>) -> Result<()> {
    let fail = |error| Error::io("cannot read", directory, error);
    for entry in fs::read_dir(directory).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let path = entry.path();
        let file_type = entry.file_type().map_err(fail)?;
        let name = entry.file_name();
        let relative = format!("{prefix}{}", name.to_string_lossy());
        let node = if name.to_str().is_none() {
            Node::Foreign("its name is not UTF-8")
        } else if file_type.is_dir() {
            descend(&path, root, &format!("{relative}/"), nodes)?;
            continue;
        } else if file_type.is_symlink() {
            follow(&path, root)
        } else if file_type.is_file() {
            Node::File
        } else {
            Node::Foreign("it is neither a file nor a link")
        };
        nodes.insert(relative, node);
    }
    Ok(())
}

/// Judges a link: the store may be moved, and a build must not depend on what lies around it.
fn follow(link: &Path, root: &Path) -> Node {
    if fs::read_link(link).is_ok_and(|target| target.is_absolute()) {
        return Node::Foreign("it is an absolute link");
    }
    match link.canonicalize() {
        Ok(target) if !target.starts_with(root) => Node::Foreign("it is a link that leaves the build"),
        Ok(target) if !target.is_file() => Node::Foreign("it is a link to something that is not a file"),
        Ok(_) => Node::File,
        Err(_) => Node::Foreign("it is a link to nothing"),
    }
}

/// SHA-256 of a file's content; a link counts as the file that it leads to.
pub(crate) fn digest(path: &Path) -> Result<Sha256Digest> {
    let fail = |error| Error::io("cannot read", path, error);
    let mut file = File::open(path).map_err(fail)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 17];
    loop {
        interrupt::check()?;
        match file.read(&mut buffer).map_err(fail)? {
            0 => return Ok(Sha256Digest::new(hasher.finalize().into())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// Bytes of all regular files below `root`; what cannot be read counts as nothing.
pub(crate) fn size(root: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(root) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) if metadata.is_file() => metadata.len(),
            _ => 0,
        })
        .sum()
}

/// How many files are brought to the disk at the same time: a journal commits for all who wait for it together.
const SYNCED_AT_ONCE: usize = 8;

/// Makes all files and directories below `root` survive a power cut.
///
/// File by file, and not the whole file system with one `syncfs`. Alone both take the same (36 files of 1 MB: 38 and 36 ms,
/// one after the other 116 ms), but `syncfs` waits for what everybody has written: beside 1.5 GB of others 840 ms, and this
/// 50 ms.
pub(crate) fn sync(root: &Path) -> Result<()> {
    let mut paths = Vec::new();
    list(root, &mut paths)?;
    parallel::for_each(&paths, SYNCED_AT_ONCE, |path| sync_one(path))
}

/// `directory` and all files and directories below it.
fn list(directory: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let fail = |error| Error::io("cannot sync", directory, error);
    for entry in fs::read_dir(directory).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let file_type = entry.file_type().map_err(fail)?;
        if file_type.is_dir() {
            list(&entry.path(), paths)?;
        } else if file_type.is_file() {
            paths.push(entry.path());
        }
    }
    paths.push(directory.to_owned());
    Ok(())
}

/// Syncs one file, or the entries of one directory.
pub(crate) fn sync_one(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| Error::io("cannot sync", path, error))
}

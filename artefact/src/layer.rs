//! Files of a staged build as a layer: which go into which, and what each must hold.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;

use build_info::Sha256Digest;
use diagnostic::{Error, Result, codes};
use process::interrupt;
use sha2::{Digest as _, Sha256};

use crate::layer_writer::{BLOCK, LayerWriter, TRAILER, Written};
use crate::tree::{self, Node, Tree};
use crate::{BUILD_INFO, ROOT};

/// Which files go to which layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// All in one layer, which compresses best.
    One,
    /// The CPU backends in a layer below the rest: it stays the same, and is not pulled again, when only tools change.
    Backends,
}

impl Split {
    /// The trees of the layers, the lowest first. Each holds the directories above its files.
    pub(crate) fn apply(self, tree: &Tree) -> Vec<(&'static str, Tree)> {
        let (backends, rest): (Tree, Tree) = tree
            .iter()
            .map(|(path, node)| (path.clone(), *node))
            .partition(|(path, node)| matches!(node, Node::File { .. }) && self == Split::Backends && is_backend(path));
        if backends.is_empty() {
            return vec![("everything", rest)];
        }
        let parents = tree
            .iter()
            .filter(|(path, node)| **node == Node::Directory && backends.keys().any(|backend| is_below(backend, path)));
        let parents: Tree = parents.map(|(path, node)| (path.clone(), *node)).collect();
        vec![("CPU backends", backends.into_iter().chain(parents).collect()), ("the rest", rest)]
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Split::One => "one layer",
            Split::Backends => "CPU backends apart from the rest",
        })
    }
}

fn is_backend(path: &str) -> bool {
    path.strip_prefix("lib/libggml-cpu-").is_some_and(|name| name.ends_with(".so") && !name.contains('/'))
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// Bytes of the tar of a tree.
pub(crate) fn tar_size(tree: &Tree) -> u64 {
    let parents = ROOT.split('/').count() as u64;
    let blocks = |node: &Node| match node {
        Node::Directory => 1,
        Node::File { size, .. } => 1 + size.div_ceil(BLOCK),
    };
    (parents + tree.values().map(blocks).sum::<u64>()) * BLOCK + TRAILER
}

/// Writes a layer to `out`. Every file but the build information must have the digest that `digests` says.
///
/// # Errors
/// A file cannot be read, has another content or size than expected ([`codes::GATE_FAILED`]); `out` fails; or we were
/// interrupted.
pub(crate) fn write(
    root: &Path,
    tree: &Tree,
    digests: &BTreeMap<String, Sha256Digest>,
    mtime: u64,
    out: &mut dyn Write,
) -> Result<Written> {
    let mut tar = LayerWriter::new(out, mtime, tar_size(tree))?;
    let mut parent = String::new();
    for part in ROOT.split('/') {
        parent.push_str(part);
        tar.directory(&parent, 0o755)?;
        parent.push('/');
    }
    for (path, node) in tree {
        interrupt::check()?;
        let name = format!("{ROOT}/{path}");
        match *node {
            Node::Directory => tar.directory(&name, 0o755)?,
            Node::File { size, executable } => {
                tar.file(&name, if executable { 0o755 } else { 0o644 }, size)?;
                let digest = content(&mut tar, root, path, size)?;
                if path != BUILD_INFO && digests.get(path) != Some(&digest) {
                    return Err(changed(path));
                }
            }
        }
    }
    tar.finish()
}

/// The content of a file and its padding; returns its digest.
fn content(tar: &mut LayerWriter<'_>, root: &Path, path: &str, size: u64) -> Result<Sha256Digest> {
    let fail = |error| Error::io("cannot read", &root.join(path), error);
    // One byte more than expected would show that it grew.
    let mut file = tree::open(root, path)?.take(size + 1);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut read = 0;
    loop {
        interrupt::check()?;
        let n = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(fail(error)),
        };
        read += n as u64;
        if read > size {
            break;
        }
        hasher.update(&buffer[..n]);
        tar.bytes(&buffer[..n])?;
    }
    if read != size {
        return Err(changed(path));
    }
    tar.pad(size)?;
    Ok(Sha256Digest::new(hasher.finalize().into()))
}

fn changed(path: &str) -> Error {
    let message =
        format!("`{path}` is not the file that `{BUILD_INFO}` describes: it was changed after the build was sealed");
    Error::new(codes::GATE_FAILED, message)
}

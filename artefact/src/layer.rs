//! Files of a staged build as a layer: tar, compressed with zstd. The same files always give the same bytes.
//!
//! The tar holds nothing of the machine: entries in the order of their bytes, owner 0 without a name, one time for all,
//! modes 755 or 644, and only the fields of `ustar`. zstd runs on one thread, because its output depends on the number of
//! jobs; its version is pinned by `Cargo.lock`, because its output depends on that too.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;

use build_info::Sha256Digest;
use diagnostic::{Error, Result, codes};
use oci::Digest;
use process::interrupt;
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use crate::tree::{self, Node, Tree};
use crate::{BUILD_INFO, ROOT};

/// The level at which the CPU backends, which are alike, still shrink; measured.
const LEVEL: i32 = 19;
/// 128 MiB, the largest window that decoders accept without being told to: all backends see one another.
const WINDOW_LOG: u32 = 27;

const BLOCK: u64 = 512;
const TRAILER: u64 = 2 * BLOCK;

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

/// A layer that was written.
#[derive(Debug)]
pub(crate) struct Written {
    /// The digest of the uncompressed tar.
    pub(crate) diff_id: Digest,
    /// Bytes of the uncompressed tar.
    pub(crate) uncompressed: u64,
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
    let uncompressed = tar_size(tree);
    let encoder = encoder(out, uncompressed).map_err(|error| cannot_compress(&error))?;
    let mut tar = Tar { encoder, hasher: Sha256::new(), mtime };
    let mut parent = String::new();
    for part in ROOT.split('/') {
        parent.push_str(part);
        parent.push('/');
        tar.header(&parent, Node::Directory)?;
    }
    for (path, node) in tree {
        interrupt::check()?;
        let name = format!("{ROOT}/{path}");
        match *node {
            Node::Directory => tar.header(&format!("{name}/"), *node)?,
            Node::File { size, .. } => {
                tar.header(&name, *node)?;
                let digest = tar.content(root, path, size)?;
                if path != BUILD_INFO && digests.get(path) != Some(&digest) {
                    return Err(changed(path));
                }
            }
        }
    }
    tar.bytes(&[0; TRAILER as usize])?;
    tar.encoder.finish().map_err(|error| cannot_compress(&error))?;
    Ok(Written { diff_id: Digest::new(Sha256Digest::new(tar.hasher.finalize().into())), uncompressed })
}

fn encoder(out: &mut dyn Write, size: u64) -> io::Result<zstd::Encoder<'static, &mut dyn Write>> {
    let mut encoder = zstd::Encoder::new(out, LEVEL)?;
    encoder.long_distance_matching(true)?;
    encoder.window_log(WINDOW_LOG)?;
    encoder.include_checksum(true)?;
    encoder.include_contentsize(true)?;
    encoder.set_pledged_src_size(Some(size))?;
    Ok(encoder)
}

/// A tar that is being written.
struct Tar<'a> {
    encoder: zstd::Encoder<'static, &'a mut dyn Write>,
    hasher: Sha256,
    mtime: u64,
}

impl Tar<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.encoder.write_all(bytes).map_err(|error| cannot_compress(&error))
    }

    fn header(&mut self, name: &str, node: Node) -> Result<()> {
        let (kind, mode, size) = match node {
            Node::Directory => (EntryType::Directory, 0o755, 0),
            Node::File { size, executable } => (EntryType::Regular, if executable { 0o755 } else { 0o644 }, size),
        };
        let mut header = Header::new_ustar();
        header
            .set_path(name)
            .map_err(|error| Error::new(codes::GATE_FAILED, format!("`{name}` cannot be packed: {error}")))?;
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(size);
        header.set_mtime(self.mtime);
        header.set_cksum();
        self.bytes(header.as_bytes())
    }

    /// The content of a file and its padding; returns its digest.
    fn content(&mut self, root: &Path, path: &str, size: u64) -> Result<Sha256Digest> {
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
            self.bytes(&buffer[..n])?;
        }
        if read != size {
            return Err(changed(path));
        }
        let padding = size.next_multiple_of(BLOCK) - size;
        self.bytes(&[0; BLOCK as usize][..usize::try_from(padding).expect("less than a block")])?;
        Ok(Sha256Digest::new(hasher.finalize().into()))
    }
}

fn changed(path: &str) -> Error {
    let message =
        format!("`{path}` is not the file that `{BUILD_INFO}` describes: it was changed after the build was sealed");
    Error::new(codes::GATE_FAILED, message)
}

fn cannot_compress(error: &io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => codes::DISK_FULL,
        _ => codes::IO,
    };
    Error::new(code, format!("cannot write a layer: {}", diagnostic::plain(error)))
}

//! A tar, compressed with zstd. The same entries always give the same bytes.
//!
//! The tar holds nothing of the machine: owner 0 without a name, one time for all, and only the fields of `ustar`; the
//! order is the caller's. zstd runs on one thread, because its output depends on the number of jobs; its version is pinned
//! by `Cargo.lock`, because its output depends on that too.

use std::io::{self, Seek as _, Write};

use build_info::Sha256Digest;
use diagnostic::{Error, Result, codes};
use oci::{Digest, LAYER_TAR_ZSTD, Layout};
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use crate::pack::PackedLayer;

/// The level at which the CPU backends, which are alike, still shrink; measured.
const LEVEL: i32 = 19;
/// 128 MiB, the largest window that decoders accept without being told to: all backends see one another.
const WINDOW_LOG: u32 = 27;

/// The unit of a tar.
pub(crate) const BLOCK: u64 = 512;
/// Zeros at the end of a tar.
pub(crate) const TRAILER: u64 = 2 * BLOCK;

/// A layer that was written.
#[derive(Debug)]
pub(crate) struct Written {
    /// The digest of the uncompressed tar.
    pub(crate) diff_id: Digest,
    /// Bytes of the uncompressed tar.
    pub(crate) uncompressed: u64,
}

/// Stores a layer in a layout: `write` gives its bytes.
///
/// # Errors
/// Those of `write`; the layout cannot be written.
pub(crate) fn store(layout: &Layout, write: impl FnOnce(&mut dyn Write) -> Result<Written>) -> Result<PackedLayer> {
    // Without a name: whatever ends us, nothing is left of it.
    let cannot_write = |error| Error::io("cannot write to", layout.root(), error);
    let mut file = tempfile::tempfile_in(layout.root()).map_err(cannot_write)?;
    let written = write(&mut file)?;
    file.rewind().map_err(cannot_write)?;
    let descriptor = layout.put_stream(LAYER_TAR_ZSTD, &mut file)?;
    Ok(PackedLayer { descriptor, diff_id: written.diff_id, uncompressed_size: written.uncompressed })
}

/// A layer that is being written.
pub(crate) struct LayerWriter<'a> {
    encoder: zstd::Encoder<'static, &'a mut dyn Write>,
    hasher: Sha256,
    mtime: u64,
    uncompressed: u64,
}

impl<'a> LayerWriter<'a> {
    /// Begins a tar of `uncompressed` bytes, whose entries all have the time `mtime`.
    pub(crate) fn new(out: &'a mut dyn Write, mtime: u64, uncompressed: u64) -> Result<LayerWriter<'a>> {
        let encoder = encoder(out, uncompressed).map_err(|error| cannot_compress(&error))?;
        Ok(LayerWriter { encoder, hasher: Sha256::new(), mtime, uncompressed })
    }

    /// A directory; its name has no `/` at its end.
    pub(crate) fn directory(&mut self, name: &str, mode: u32) -> Result<()> {
        self.header(&format!("{name}/"), EntryType::Directory, mode, 0, None)
    }

    /// The header of a file: [`LayerWriter::bytes`] and [`LayerWriter::pad`] follow.
    pub(crate) fn file(&mut self, name: &str, mode: u32, size: u64) -> Result<()> {
        self.header(name, EntryType::Regular, mode, size, None)
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, name: &str, target: &str) -> Result<()> {
        self.header(name, EntryType::Symlink, 0o777, 0, Some(target))
    }

    /// Bytes of a file.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.encoder.write_all(bytes).map_err(|error| cannot_compress(&error))
    }

    /// Zeros up to the next block, after a file of that size.
    pub(crate) fn pad(&mut self, size: u64) -> Result<()> {
        let padding = size.next_multiple_of(BLOCK) - size;
        self.bytes(&[0; BLOCK as usize][..usize::try_from(padding).expect("less than a block")])
    }

    /// Ends the tar. It fails when it has another size than was said at the beginning.
    pub(crate) fn finish(mut self) -> Result<Written> {
        self.bytes(&[0; TRAILER as usize])?;
        self.encoder.finish().map_err(|error| cannot_compress(&error))?;
        let diff_id = Digest::new(Sha256Digest::new(self.hasher.finalize().into()));
        Ok(Written { diff_id, uncompressed: self.uncompressed })
    }

    fn header(&mut self, name: &str, kind: EntryType, mode: u32, size: u64, target: Option<&str>) -> Result<()> {
        let refused = |error: io::Error| Error::new(codes::GATE_FAILED, format!("`{name}` cannot be packed: {error}"));
        let mut header = Header::new_ustar();
        header.set_path(name).map_err(refused)?;
        if let Some(target) = target {
            header.set_link_name(target).map_err(refused)?;
        }
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(size);
        header.set_mtime(self.mtime);
        header.set_cksum();
        self.bytes(header.as_bytes())
    }
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

fn cannot_compress(error: &io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => codes::DISK_FULL,
        _ => codes::IO,
    };
    Error::new(code, format!("cannot write a layer: {}", diagnostic::plain(error)))
}

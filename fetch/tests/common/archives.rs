//! Archives made by hand, and what came out of them.

use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};

/// A tar entry whose name is taken as it is, however hostile.
pub(crate) struct Item<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: EntryType,
    pub(crate) mode: u32,
    pub(crate) link: &'a str,
    pub(crate) data: &'a [u8],
}

pub(crate) fn file<'a>(name: &'a str, data: &'a [u8]) -> Item<'a> {
    Item { name, kind: EntryType::Regular, mode: 0o644, link: "", data }
}

pub(crate) fn tar_gz(items: &[Item<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for item in items {
        let mut header = Header::new_ustar();
        let old = header.as_old_mut();
        old.name[..item.name.len()].copy_from_slice(item.name.as_bytes());
        old.linkname[..item.link.len()].copy_from_slice(item.link.as_bytes());
        header.set_entry_type(item.kind);
        header.set_mode(item.mode);
        header.set_size(item.data.len() as u64);
        header.set_mtime(951_782_400);
        header.set_cksum();
        builder.append(&header, item.data).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// Paths and contents of files, sorted by path.
pub(crate) type Files = Vec<(String, Vec<u8>)>;

/// Every file below a directory.
pub(crate) fn files_below(dir: &Path) -> Files {
    fetch::tree::list(dir)
        .unwrap()
        .into_iter()
        .map(|file| {
            let path = file.path.to_string();
            let content = std::fs::read(dir.join(&path)).unwrap();
            (path, content)
        })
        .collect()
}

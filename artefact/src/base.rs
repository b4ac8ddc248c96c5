//! The layer below a build in an image that runs by itself: files of a distribution, and what a container needs besides.

use std::collections::BTreeMap;

use diagnostic::{Error, Result, codes};
use oci::Layout;

use crate::layer_writer::{self, BLOCK, LayerWriter, TRAILER};
use crate::pack::PackedLayer;

/// One entry of a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A directory with this mode.
    Directory(u32),
    /// A file with its content.
    File {
        /// Its mode.
        mode: u32,
        /// Its bytes.
        content: Vec<u8>,
    },
    /// A symbolic link and where it leads.
    Link(String),
}

/// What will be a base layer: entries by path, without the first `/`. Each lies in a directory that is an entry too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Base {
    entries: BTreeMap<String, Entry>,
}

impl Base {
    /// An empty one.
    pub fn new() -> Base {
        Base::default()
    }

    /// Adds an entry, and the directories above it, with the mode 755, where they are missing.
    ///
    /// # Errors
    /// [`codes::GATE_FAILED`]: the path is not one that a layer may hold, something else has it already, or what should be a
    /// directory above it is none.
    pub fn add(&mut self, path: &str, entry: Entry) -> Result<()> {
        let refused = |why: &str| {
            Error::new(codes::GATE_FAILED, format!("`{}` cannot be in a base: {why}", crate::printable(path)))
        };
        if path.split('/').any(|part| matches!(part, "" | "." | "..") || part.starts_with(crate::tree::WHITEOUT)) {
            return Err(refused("its path is none that a layer may hold"));
        }
        for (at, _) in path.match_indices('/') {
            let above = self.entries.entry(path[..at].to_owned()).or_insert(Entry::Directory(0o755));
            if !matches!(above, Entry::Directory(_)) {
                return Err(refused(&format!("`{}` is no directory", &path[..at])));
            }
        }
        match (self.entries.get(path), &entry) {
            (Some(there), _) if *there == entry => {}
            (Some(Entry::Directory(_)), Entry::Directory(_)) | (None, _) => {
                self.entries.insert(path.to_owned(), entry);
            }
            (Some(_), _) => return Err(refused("it is there already, and is something else")),
        }
        Ok(())
    }

    /// The entries by path, in the order of the bytes of that path.
    pub fn entries(&self) -> &BTreeMap<String, Entry> {
        &self.entries
    }

    /// The file at a path, links followed, those of directories too.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        let mut path = normal(path)?;
        // As many links as the kernel follows.
        for _ in 0..40 {
            let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
            let link = ends.into_iter().find_map(|end| match self.entries.get(&path[..end]) {
                Some(Entry::Link(target)) => Some((end, target)),
                _ => None,
            });
            let Some((end, target)) = link else {
                return match self.entries.get(&path)? {
                    Entry::File { content, .. } => Some(content),
                    Entry::Directory(_) | Entry::Link(_) => None,
                };
            };
            let (link, rest) = path.split_at(end);
            let above = link.rsplit_once('/').map_or("", |(above, _)| above);
            let leads = if target.starts_with('/') { target.clone() } else { format!("{above}/{target}") };
            path = normal(&format!("{leads}{rest}"))?;
        }
        None
    }

    /// Writes the layer into a layout, every entry with the same time. The same base always gives the same digest.
    ///
    /// # Errors
    /// An entry does not fit into a tar ([`codes::GATE_FAILED`]); the layout cannot be written; we were interrupted.
    pub fn pack(&self, mtime: u64, layout: &Layout) -> Result<PackedLayer> {
        let blocks = |entry: &Entry| match entry {
            Entry::File { content, .. } => 1 + (content.len() as u64).div_ceil(BLOCK),
            Entry::Directory(_) | Entry::Link(_) => 1,
        };
        let size = self.entries.values().map(blocks).sum::<u64>() * BLOCK + TRAILER;
        layer_writer::store(layout, |out| {
            let mut tar = LayerWriter::new(out, mtime, size)?;
            for (path, entry) in &self.entries {
                process::interrupt::check()?;
                match entry {
                    Entry::Directory(mode) => tar.directory(path, *mode)?,
                    Entry::Link(target) => tar.link(path, target)?,
                    Entry::File { mode, content } => {
                        let size = content.len() as u64;
                        tar.file(path, *mode, size)?;
                        tar.bytes(content)?;
                        tar.pad(size)?;
                    }
                }
            }
            tar.finish()
        })
    }
}

/// A path without `.`, `..` and empty parts; nothing when it leads above the root.
fn normal(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Entry {
        Entry::File { mode: 0o644, content: text.as_bytes().to_vec() }
    }

    #[test]
    fn files_are_found_through_links_of_all_kinds() {
        let mut base = Base::new();
        base.add("lib", Entry::Link("usr/lib".to_owned())).unwrap();
        base.add("usr/lib/x/libc.so.6", file("c")).unwrap();
        base.add("usr/lib/x/libm.so", Entry::Link("./libm.so.6".to_owned())).unwrap();
        base.add("usr/lib/x/libm.so.6", file("m")).unwrap();
        base.add("usr/lib64/ld.so", Entry::Link("/lib/x/libc.so.6".to_owned())).unwrap();
        base.add("etc/os-release", Entry::Link("../usr/lib/os-release".to_owned())).unwrap();
        base.add("etc/loop", Entry::Link("loop".to_owned())).unwrap();
        base.add("etc/out", Entry::Link("../../out".to_owned())).unwrap();
        assert_eq!(base.file("lib/x/libc.so.6"), Some(&b"c"[..]));
        assert_eq!(base.file("/lib/x/../x/libm.so"), Some(&b"m"[..]));
        assert_eq!(base.file("usr/lib64/ld.so"), Some(&b"c"[..]));
        for none in ["etc/os-release", "etc/loop", "etc/out", "usr/lib", "../usr/lib/x/libc.so.6", ""] {
            assert_eq!(base.file(none), None, "{none}");
        }
    }

    #[test]
    fn what_would_be_two_things_or_lie_elsewhere_is_refused() {
        let mut base = Base::new();
        base.add("etc/passwd", file("root")).unwrap();
        // The same again says nothing new; a directory may get another mode.
        base.add("etc/passwd", file("root")).unwrap();
        base.add("etc", Entry::Directory(0o700)).unwrap();
        base.add("lib", Entry::Link("usr/lib".to_owned())).unwrap();
        let refused = ["", "/etc/x", "etc/../x", "etc/.wh.passwd", "etc//x", "etc/passwd/x", "lib/x", "etc"];
        for path in refused {
            let error = base.add(path, file("other")).unwrap_err();
            assert_eq!(error.code(), codes::GATE_FAILED, "{path}");
        }
        assert!(base.add("etc/passwd", file("other")).unwrap_err().to_string().contains("something else"));
    }
}

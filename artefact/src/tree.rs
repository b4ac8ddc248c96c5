//! The files of a staged build, as they will be packed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use diagnostic::{Error, Result, codes};
use process::interrupt;

use crate::ROOT;

/// One entry of a staged build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    /// A directory.
    Directory,
    /// A regular file of so many bytes.
    File { size: u64, executable: bool },
}

/// Directories and files below `root` by their path relative to it, in the order of the bytes of that path.
pub(crate) type Tree = BTreeMap<String, Node>;

/// Lists a staged build.
///
/// # Errors
/// [`codes::GATE_FAILED`], naming the entry: it is a link or a device, or its name cannot be packed.
pub(crate) fn list(root: &Path) -> Result<Tree> {
    let mut tree = Tree::new();
    descend(root, "", &mut tree)?;
    Ok(tree)
}

fn descend(directory: &Path, prefix: &str, tree: &mut Tree) -> Result<()> {
    let fail = |error| Error::io("cannot read", directory, error);
    for entry in fs::read_dir(directory).map_err(fail)? {
        interrupt::check()?;
        let entry = entry.map_err(fail)?;
        let name = entry.file_name();
        let path = format!("{prefix}{}", name.to_string_lossy());
        let refused =
            |why: &str| Error::new(codes::GATE_FAILED, format!("`{}` cannot be packed: {why}", path.escape_debug()));
        // Not followed: what a link leads to is not part of the build.
        let found = entry.metadata().map_err(|error| Error::io("cannot read", &entry.path(), error))?;
        if name.to_str().is_none_or(|name| name.chars().any(char::is_control)) {
            return Err(refused("its name is not printable text"));
        }
        if path.split('/').any(|part| part.starts_with(WHITEOUT)) {
            return Err(refused("its name would delete files of other layers"));
        }
        // The tar format that every tool reads has no room for longer names.
        if tar::Header::new_ustar().set_path(format!("{ROOT}/{path}/")).is_err() {
            return Err(refused("its path is too long"));
        }
        if found.is_dir() {
            tree.insert(path.clone(), Node::Directory);
            descend(&entry.path(), &format!("{path}/"), tree)?;
        } else if found.is_file() {
            let executable = found.permissions().mode() & 0o111 != 0;
            tree.insert(path, Node::File { size: found.len(), executable });
        } else if found.is_symlink() {
            return Err(refused("it is a symbolic link").hint("put the file there that it leads to"));
        } else {
            return Err(refused("it is neither a file nor a directory"));
        }
    }
    Ok(())
}

/// Begins the name of an entry that deletes another one, in a layer.
pub(crate) const WHITEOUT: &str = ".wh.";

/// Opens a file of a staged build; a link that took its place meanwhile is not followed.
pub(crate) fn open(root: &Path, path: &str) -> Result<File> {
    let full = root.join(path);
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(&full)
        .map_err(|error| Error::io("cannot read", &full, error))
}

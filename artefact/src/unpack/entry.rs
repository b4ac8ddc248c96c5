//! Names of entries, believed only when every part of them is plain.

use std::fmt;

use tar::EntryType;

use crate::tree::WHITEOUT;
use crate::{ROOT, printable};

/// The name of an entry below or above [`ROOT`], normalised.
#[derive(Debug)]
pub(super) struct Name {
    full: String,
    directory: bool,
}

impl Name {
    /// Believes a name when it is text without control characters, relative, without `..`, no whiteout, and on the way to
    /// [`ROOT`] or below it.
    pub(super) fn read(bytes: &[u8]) -> Result<Name, String> {
        let shown = || format!("entry `{}`", printable(&String::from_utf8_lossy(bytes)));
        let text = std::str::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control));
        let text = text.ok_or_else(|| format!("{} has no readable name", shown()))?;
        if text.starts_with('/') {
            return Err(format!("{} is absolute", shown()));
        }
        let mut parts = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => return Err(format!("{} holds `..`", shown())),
                part if part.starts_with(WHITEOUT) => return Err(format!("{} is a whiteout", shown())),
                part => parts.push(part),
            }
        }
        let mut root = ROOT.split('/');
        // Whether all parts that both have are equal.
        if !parts.iter().zip(&mut root).all(|(part, expected)| *part == expected) {
            return Err(format!("{} is not below `{ROOT}`", shown()));
        }
        let directory = text.is_empty() || text.ends_with('/') || text.ends_with("/.") || text == ".";
        Ok(Name { full: parts.join("/"), directory })
    }

    /// The path below [`ROOT`]; nothing for that directory and those above.
    pub(super) fn below(&self) -> Option<&str> {
        self.full.strip_prefix(ROOT)?.strip_prefix('/')
    }

    /// Whether it is written as a directory is.
    pub(super) fn is_directory(&self) -> bool {
        self.directory
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry `{}`", printable(&self.full))
    }
}

/// An entry that is neither a file nor a directory, in words.
pub(super) fn describe(kind: EntryType) -> String {
    match kind {
        EntryType::Symlink => "a symbolic link".to_owned(),
        EntryType::Link => "a hard link".to_owned(),
        EntryType::Char | EntryType::Block => "a device".to_owned(),
        EntryType::Fifo => "a named pipe".to_owned(),
        EntryType::XHeader | EntryType::XGlobalHeader => {
            "an extended header, which our artefacts do not have".to_owned()
        }
        EntryType::GNULongName | EntryType::GNULongLink => "a long name, which our artefacts do not have".to_owned(),
        EntryType::GNUSparse => "a sparse file".to_owned(),
        other => format!("of the unusual type `{}`", printable(&(other.as_byte() as char).to_string())),
    }
}

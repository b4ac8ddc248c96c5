//! `images/base.toml`: which packages, which version, which files of them.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use build_info::{Sha256Digest, write_atomic};
use clap::ValueEnum;
use diagnostic::{Error, Result, codes};
use serde::Deserialize;

use crate::workspace;

/// Directories that are links into `usr/`.
pub(crate) const MERGED: [&str; 2] = ["lib", "lib64"];

/// For which builds something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// The artefact: runs on every x86-64.
    Portable,
    /// The installed native build: runs on this CPU.
    Native,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pins {
    /// The release of Debian, for people.
    pub(crate) suite: String,
    /// Debian's word for it: `amd64`.
    pub(crate) architecture: String,
    /// In the order in which files are taken.
    #[serde(rename = "package")]
    packages: Vec<Package>,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The digest of the `.deb`.
    pub(crate) sha256: Sha256Digest,
    kinds: Vec<Kind>,
    /// SPDX.
    pub(crate) licence: String,
    take: Vec<String>,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Portable => "portable",
            Kind::Native => "native",
        })
    }
}

impl Pins {
    /// Reads the repository's file.
    ///
    /// # Errors
    /// [`codes::BASE_INVALID`].
    pub(crate) fn read() -> Result<Pins> {
        let path = path();
        let text = fs::read_to_string(&path).map_err(|error| Error::io("cannot read", &path, error))?;
        Pins::parse(&text)
    }

    fn parse(text: &str) -> Result<Pins> {
        let invalid = |why: &str| Error::new(codes::BASE_INVALID, format!("`images/base.toml`: {why}"));
        let pins: Pins = toml::from_str(text).map_err(|error| invalid(error.message()))?;
        for package in &pins.packages {
            // They become file names, and words that apt reads.
            let word = |text: &str| {
                let is_plain = |c: char| c.is_ascii_alphanumeric() || "+-.~:".contains(c);
                text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_plain)
            };
            if !word(&package.name) || !word(&package.version) || !word(&pins.architecture) {
                return Err(invalid(&format!("`{} {}` is no package", package.name, package.version)));
            }
        }
        Ok(pins)
    }

    /// The packages that a kind of build needs.
    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(move |package| package.kinds.contains(&kind))
    }

    pub(crate) fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// The licences of what a kind of build needs, each once.
    pub(crate) fn licences(&self, kind: Kind) -> Vec<String> {
        let mut licences: Vec<String> = self.of(kind).map(|package| package.licence.clone()).collect();
        licences.sort();
        licences.dedup();
        licences
    }
}

impl Package {
    /// The files that are wanted.
    pub(crate) fn wanted(&self) -> &[String] {
        &self.take
    }

    /// What Debian calls the file.
    pub(crate) fn file(&self, architecture: &str) -> String {
        // apt writes the colon of an epoch so.
        format!("{}_{}_{architecture}.deb", self.name, self.version.replace(':', "%3a"))
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// A package that has moved: name, version and digest now.
pub(crate) struct Moved {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) sha256: Sha256Digest,
}

/// Writes other versions into the repository's file; comments and everything else stay.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(moved: &[Moved]) -> Result<()> {
    let path = path();
    let text = fs::read_to_string(&path).map_err(|error| Error::io("cannot read", &path, error))?;
    let text = rewritten(&text, moved);
    Pins::parse(&text)?;
    write_atomic(&path, text.as_bytes())
}

/// The text with other values for `version` and `sha256` below the names of those packages.
fn rewritten(text: &str, moved: &[Moved]) -> String {
    let mut current: Option<&Moved> = None;
    let mut lines = String::with_capacity(text.len());
    for line in text.lines() {
        let key = line.split('=').next().unwrap_or_default().trim();
        if key == "name" {
            current = moved.iter().find(|package| line.contains(&format!("\"{}\"", package.name)));
        }
        match (key, current) {
            ("version", Some(package)) => lines.push_str(&format!("version = \"{}\"", package.version)),
            ("sha256", Some(package)) => lines.push_str(&format!("sha256 = \"{}\"", package.sha256)),
            _ => lines.push_str(line),
        }
        lines.push('\n');
    }
    lines
}

fn path() -> PathBuf {
    workspace::root().join("images/base.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pins_of_the_repository_can_be_read() {
        let pins = Pins::read().unwrap();
        let names = |kind| pins.of(kind).map(|package| package.name.as_str()).collect::<Vec<_>>();
        assert!(names(Kind::Portable).contains(&"libc6"));
        // What gcc's output needs and zig's does not.
        assert!(!names(Kind::Portable).contains(&"libstdc++6"));
        assert!(names(Kind::Native).contains(&"libstdc++6"));
        assert!(pins.licences(Kind::Native).len() > pins.licences(Kind::Portable).len());
    }

    #[test]
    fn a_bump_changes_versions_and_digests_and_nothing_else() {
        let before = fs::read_to_string(path()).unwrap();
        let sha256: Sha256Digest = "ab".repeat(32).parse().unwrap();
        let moved = Moved { name: "libc6".to_owned(), version: "1:9.9-1".to_owned(), sha256 };
        let after = rewritten(&before, &[moved]);
        let changed: Vec<&str> =
            before.lines().zip(after.lines()).filter(|(old, new)| old != new).map(|(_, new)| new).collect();
        assert_eq!(changed, ["version = \"1:9.9-1\"".to_owned(), format!("sha256 = \"{}\"", "ab".repeat(32))]);
        assert_eq!(before.lines().count(), after.lines().count());
        let pins = Pins::parse(&after).unwrap();
        let libc = pins.packages.iter().find(|package| package.name == "libc6").unwrap();
        assert_eq!(libc.file("amd64"), "libc6_1%3a9.9-1_amd64.deb");
        assert_eq!(rewritten(&before, &[]), before);
    }

    #[test]
    fn pins_that_would_be_other_words_for_apt_or_the_disk_are_refused() {
        let text = fs::read_to_string(path()).unwrap();
        for (what, instead) in [
            ("\"libc6\"", "\"../libc6\""),
            ("\"libc6\"", "\"-o=libc6\""),
            ("\"2.36-9+deb12u14\"", "\"2.36 --force\""),
            ("suite = ", "sweet = "),
        ] {
            let error = Pins::parse(&text.replace(what, instead)).unwrap_err();
            assert_eq!(error.code(), codes::BASE_INVALID, "{instead}");
            assert!(error.to_string().starts_with("`images/base.toml`: "), "{error}");
        }
    }
}

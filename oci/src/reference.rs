//! Names of artefacts: in a registry, in a layout directory, in a layout archive.
//!
//! Parsing looks at the text alone. A bare path is refused rather than guessed: `llama/v1` is a directory to one person and
//! a repository to another.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use diagnostic::{Error, Result, codes};

use crate::Digest;
use crate::model::printable;

const LAYOUT: &str = "oci:";
const ARCHIVE: &str = "oci-archive:";
/// What a registry reference without tag and digest means, as everywhere.
const DEFAULT_TAG: &str = "latest";
const LENGTH_LIMIT: usize = 4096;

/// Where an artefact is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// `host[:port]/repository[:tag][@sha256:...]`.
    Registry(RegistryReference),
    /// `oci:DIR[:TAG][@sha256:...]`.
    Layout(LayoutReference),
    /// `oci-archive:FILE[:TAG][@sha256:...]`.
    Archive(LayoutReference),
}

/// A name in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RegistryReference {
    /// Host, with its port where it has one.
    pub host: String,
    /// Path of the repository on the host.
    pub repository: String,
    /// Tag; absent only when there is a digest.
    pub tag: Option<String>,
    /// Digest, which wins over the tag.
    pub digest: Option<Digest>,
}

/// A name in a layout.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LayoutReference {
    /// The directory or file.
    pub path: PathBuf,
    /// Tag; without one the layout must have a single entry.
    pub tag: Option<String>,
    /// The digest that the entry must have.
    pub digest: Option<Digest>,
}

impl Reference {
    /// The digest that the reference demands.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Reference::Registry(name) => name.digest,
            Reference::Layout(name) | Reference::Archive(name) => name.digest,
        }
    }

    /// The same artefact by its digest alone: what a record of an installation keeps.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Reference {
        match self.clone() {
            Reference::Registry(name) => {
                Reference::Registry(RegistryReference { tag: None, digest: Some(digest), ..name })
            }
            Reference::Layout(name) => Reference::Layout(LayoutReference { tag: None, digest: Some(digest), ..name }),
            Reference::Archive(name) => Reference::Archive(LayoutReference { tag: None, digest: Some(digest), ..name }),
        }
    }
}

impl RegistryReference {
    /// The part of the registry's API that names a manifest: the digest, or else the tag.
    pub fn manifest(&self) -> String {
        match (self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }
}

impl FromStr for Reference {
    type Err = Error;

    /// # Errors
    /// [`codes::REFERENCE_INVALID`], with what to write instead.
    fn from_str(text: &str) -> Result<Reference> {
        if text.is_empty() || text.len() > LENGTH_LIMIT || text.chars().any(char::is_control) {
            return Err(bad(text, "it is empty, too long, or holds control characters"));
        }
        let (name, digest) = split_digest(text)?;
        if let Some(rest) = name.strip_prefix(ARCHIVE) {
            return Ok(Reference::Archive(layout(rest, digest, text)?));
        }
        if let Some(rest) = name.strip_prefix(LAYOUT) {
            return Ok(Reference::Layout(layout(rest, digest, text)?));
        }
        registry(name, digest, text).map(Reference::Registry)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Registry(name) => name.fmt(f),
            Reference::Layout(name) => write!(f, "{LAYOUT}{name}"),
            Reference::Archive(name) => write!(f, "{ARCHIVE}{name}"),
        }
    }
}

impl fmt::Display for RegistryReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        suffix(f, self.tag.as_deref(), self.digest)
    }
}

impl fmt::Display for LayoutReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        suffix(f, self.tag.as_deref(), self.digest)
    }
}

fn suffix(f: &mut fmt::Formatter<'_>, tag: Option<&str>, digest: Option<Digest>) -> fmt::Result {
    tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
    digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
}

/// Whether this can be a tag: 128 letters, digits, `_`, `.`, `-`, the first no `.` or `-`.
pub(crate) fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

pub(crate) fn bad_tag(tag: &str) -> Error {
    let message = format!("`{}` is not a tag", printable(tag));
    Error::new(codes::REFERENCE_INVALID, message)
        .hint("a tag is up to 128 letters, digits, `_`, `.`, `-`, and begins with a letter, digit or `_`")
}

fn bad(text: &str, why: &str) -> Error {
    Error::new(codes::REFERENCE_INVALID, format!("`{}` is not the name of an artefact: {why}", printable(text)))
}

fn split_digest(text: &str) -> Result<(&str, Option<Digest>)> {
    // A directory may have an `@` in its name; what follows in a digest always has a colon and no slash.
    match text.rsplit_once('@') {
        Some((name, digest)) if digest.contains(':') && !digest.contains('/') => {
            let digest = digest.parse().map_err(|_| {
                bad(text, "what follows `@` is not a digest").hint("a digest is `sha256:` and 64 lower-case digits")
            })?;
            Ok((name, Some(digest)))
        }
        _ => Ok((text, None)),
    }
}

fn layout(rest: &str, digest: Option<Digest>, text: &str) -> Result<LayoutReference> {
    if rest.starts_with("//") {
        return Err(bad(text, "a layout is named by a path, not by a URL")
            .hint("write `oci:DIR` or `oci-archive:FILE`, without `//`"));
    }
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (rest, None),
    };
    if path.is_empty() {
        return Err(bad(text, "it has no path").hint("write `oci:DIR[:TAG]` or `oci-archive:FILE[:TAG]`"));
    }
    match tag {
        Some(tag) if !is_tag(tag) => Err(bad_tag(tag).context(bad(text, "its tag is invalid"))),
        tag => Ok(LayoutReference { path: Path::new(path).to_owned(), tag: tag.map(str::to_owned), digest }),
    }
}

fn registry(name: &str, digest: Option<Digest>, text: &str) -> Result<RegistryReference> {
    if let Some((_, rest)) = name.split_once("://") {
        return Err(bad(text, "it is a URL").hint(format!("leave the scheme out: `{}`", printable(rest))));
    }
    if name.starts_with(['/', '.', '~']) || name.ends_with(".tar") || name.ends_with('/') {
        return Err(bad(text, "a path needs a word before it")
            .hint("write `oci:DIR[:TAG]` for a layout directory, `oci-archive:FILE[:TAG]` for a layout archive"));
    }
    let Some((host, rest)) = name.split_once('/') else {
        return Err(
            bad(text, "it has no registry").hint("write `HOST/REPOSITORY:TAG`, for example `ghcr.io/owner/name:tag`")
        );
    };
    if !(host.contains('.') || host.contains(':') || host == "localhost") {
        return Err(bad(text, &format!("`{}` is not the host of a registry", printable(host)))
            .hint(format!("write the host too, as in `docker.io/{}`", printable(name)))
            .hint("a layout directory is written `oci:DIR[:TAG]`"));
    }
    if !is_host(host) {
        return Err(bad(text, &format!("`{}` is not a host with an optional port", printable(host))));
    }
    let (repository, tag) = match rest.split_once(':') {
        Some((repository, tag)) if is_tag(tag) => (repository, Some(tag.to_owned())),
        Some((_, tag)) => return Err(bad_tag(tag).context(bad(text, "its tag is invalid"))),
        None => (rest, None),
    };
    if !is_repository(repository) {
        let error = bad(text, &format!("`{}` is not a repository", printable(repository)));
        let lower = repository.to_ascii_lowercase();
        return Err(if is_repository(&lower) {
            error.hint(format!("repositories are lower case: `{host}/{lower}`"))
        } else {
            error.hint("a repository is words of lower-case letters and digits, joined by `/`, `.`, `-`, `_`")
        });
    }
    let tag = tag.or_else(|| digest.is_none().then(|| DEFAULT_TAG.to_owned()));
    Ok(RegistryReference { host: host.to_owned(), repository: repository.to_owned(), tag, digest })
}

/// `name`, `name:port`, `[::1]:port`.
pub(crate) fn is_host(text: &str) -> bool {
    let is_port =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(address, port)| {
            address.parse::<std::net::Ipv6Addr>().is_ok()
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        });
    }
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label) && port.is_none_or(is_port)
}

/// Words of lower-case letters and digits, joined within a part by one `.`, one or two `_`, or any number of `-`.
pub(crate) fn is_repository(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().copied().is_some_and(is_word)
            && bytes.last().copied().is_some_and(is_word)
            && bytes.iter().all(|&byte| is_word(byte) || matches!(byte, b'.' | b'_' | b'-'))
            && part
                .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|byte| byte == b'-'))
    };
    (1..=255).contains(&text.len()) && text.split('/').all(is_part)
}

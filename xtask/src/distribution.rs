//! Where artefacts come from and whom we trust: the flags that several commands share, and what the repository says.

use std::env;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use artefact::signature::{self, PublicKey, Verified};
use build_info::Arrival;
use clap::Args;
use diagnostic::{Error, Result, codes};
use oci::{Access, Credentials, Limits, Mirror, Reference, Resolved, Source};
use serde::Deserialize;

use crate::{image, ui, workspace};

/// The environment variable that names the artefact when no argument does.
pub(crate) const REF: &str = "CARAVAN_REF";

/// How registries are reached, and which signatures count.
#[derive(Debug, Clone, Args)]
pub(crate) struct AccessFlags {
    /// Ask this registry instead of the one that the reference names; digests and signatures are checked as ever
    #[arg(long, value_name = "HOST[/PREFIX]")]
    registry_mirror: Option<String>,
    /// A further public key to trust, as `minisign` or `cargo xtask keygen` writes it
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Take an artefact that no trusted key has signed
    #[arg(long)]
    allow_unsigned: bool,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) reference: Reference,
    pub(crate) named_by: NamedBy,
}

/// Who named the artefact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// A person.
    Argument,
    /// `CARAVAN_REF`.
    Environment,
    /// `Cargo.toml`: nobody asked for this registry in particular.
    Repository,
}

/// `[workspace.metadata.caravan]` of `Cargo.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Published {
    /// The reference that is installed when nobody names one.
    pub(crate) artefact: String,
    /// What that reference stands for at this commit, once it is published: `sha256:...` of its index.
    pub(crate) digest: Option<String>,
}

/// What `Cargo.toml` says.
pub(crate) fn published() -> Result<Published> {
    #[derive(Deserialize)]
    struct Manifest {
        workspace: Workspace,
    }
    #[derive(Deserialize)]
    struct Workspace {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        caravan: Published,
    }
    let path = workspace::root().join("Cargo.toml");
    let text = fs::read_to_string(&path).map_err(|error| Error::io("cannot read", &path, error))?;
    let manifest: Manifest = toml::from_str(&text).map_err(|error| {
        let why = error.message().to_owned();
        Error::new(codes::REFERENCE_INVALID, format!("`[workspace.metadata.caravan]` of `Cargo.toml`: {why}"))
    })?;
    Ok(manifest.workspace.metadata.caravan)
}

/// The argument, else the environment, else the repository.
pub(crate) fn wanted(argument: Option<&str>) -> Result<Wanted> {
    let environment = env::var(REF).ok().filter(|text| !text.is_empty());
    let (text, named_by) = match (argument, environment) {
        (Some(text), _) => (text.to_owned(), NamedBy::Argument),
        (None, Some(text)) => (text, NamedBy::Environment),
        (None, None) => (published()?.pinned(), NamedBy::Repository),
    };
    Ok(Wanted { reference: text.parse()?, named_by })
}

impl Published {
    /// The reference, which demands the digest once that is known: a tag can be moved.
    fn pinned(self) -> String {
        match self.digest {
            Some(digest) => format!("{}@{digest}", self.artefact),
            None => self.artefact,
        }
    }
}

/// Whether signatures are asked for.
#[derive(Debug, Clone)]
pub(crate) enum Trust {
    /// One of these keys must have signed.
    Keys(Vec<PublicKey>),
    /// A person has said that it need not be signed.
    Unsigned,
    /// It was built here a moment ago.
    BuiltHere,
}

/// Who vouches for an artefact.
#[derive(Debug, Clone)]
pub(crate) enum Vouched {
    Signed(Verified),
    Nobody,
    BuiltHere,
}

impl Trust {
    /// Whether what was installed then would be installed today. A key that was removed since counts no more.
    pub(crate) fn accepts(&self, arrival: &Arrival) -> bool {
        match self {
            Trust::Keys(keys) => {
                let signed_by = arrival.signed_by.as_deref();
                arrival.built_here || keys.iter().any(|key| signed_by == Some(key.id().to_string().as_str()))
            }
            Trust::Unsigned | Trust::BuiltHere => true,
        }
    }
}

impl Vouched {
    /// The id of the key that signed: 16 hexadecimal digits.
    pub(crate) fn key(&self) -> Option<String> {
        match self {
            Vouched::Signed(verified) => Some(verified.key.to_string()),
            Vouched::Nobody | Vouched::BuiltHere => None,
        }
    }
}

impl fmt::Display for Vouched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Vouched::Signed(verified) => verified.fmt(f),
            Vouched::Nobody => f.write_str("not signed by anybody that is trusted here, as allowed"),
            Vouched::BuiltHere => f.write_str("built here"),
        }
    }
}

impl AccessFlags {
    /// How registries are reached.
    pub(crate) fn access(&self) -> Result<Access> {
        let mirror = self.registry_mirror.as_deref().map(str::parse::<Mirror>).transpose()?;
        Ok(Access { mirror, credentials: Credentials::Stored, limits: Limits::USUAL })
    }

    /// The keys of the repository and those that are named, unless a signature is not asked for.
    pub(crate) fn trust(&self) -> Result<Trust> {
        if self.allow_unsigned {
            return Ok(Trust::Unsigned);
        }
        let mut files = image::files_of(&workspace::root().join("keys"))?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "pub"));
        let keys = files.iter().chain(&self.key).map(|file| PublicKey::read(file)).collect::<Result<_>>()?;
        Ok(Trust::Keys(keys))
    }
}

/// Checks the signature of what was resolved: of what the reference names, or of the manifest for this platform.
///
/// # Errors
/// [`codes::UNSIGNED`] with what was found instead of a good signature.
pub(crate) fn vouch(source: &Source, resolved: &Resolved, trust: &Trust) -> Result<Vouched> {
    let keys = match trust {
        Trust::Keys(keys) => keys,
        Trust::Unsigned => {
            ui::note("unsigned  no signature is asked for: what is installed may come from anybody");
            return Ok(Vouched::Nobody);
        }
        Trust::BuiltHere => return Ok(Vouched::BuiltHere),
    };
    let mut candidates = Vec::new();
    let mut subjects = vec![resolved.root.digest];
    if resolved.descriptor.digest != resolved.root.digest {
        subjects.push(resolved.descriptor.digest);
    }
    for subject in subjects {
        candidates.extend(signature::candidates_of(source, &subject)?);
    }
    signature::verify(&format!("`{}`", resolved.reference), &candidates, keys).map(Vouched::Signed).map_err(|error| {
        if keys.is_empty() { error.hint("no key is trusted here yet: name one with `--key FILE`") } else { error }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(signed_by: Option<String>, built_here: bool) -> Arrival {
        Arrival {
            reference: "registry.example/owner/name:1".to_owned(),
            digest: String::new(),
            manifest: String::new(),
            signed_by,
            built_here,
            date: build_info::now(),
            extra: Default::default(),
        }
    }

    #[test]
    fn what_was_installed_counts_only_as_long_as_it_is_trusted() {
        let pair = signature::KeyPair::generate(None).unwrap();
        let key = PublicKey::parse(&pair.public, "the key").unwrap();
        let signed = arrival(Some(key.id().to_string()), false);
        let keys = Trust::Keys(vec![key]);
        assert!(keys.accepts(&signed));
        assert!(keys.accepts(&arrival(None, true)));
        assert!(!keys.accepts(&arrival(None, false)));
        assert!(!keys.accepts(&arrival(Some("0123456789ABCDEF".to_owned()), false)));
        assert!(!Trust::Keys(Vec::new()).accepts(&signed));
        assert!(Trust::Unsigned.accepts(&arrival(None, false)));
    }

    #[test]
    fn the_repository_demands_the_digest_that_it_names() {
        let artefact = "registry.example/owner/name:1".to_owned();
        let digest = format!("sha256:{}", "a".repeat(64));
        let demanded = |digest: Option<String>| {
            let reference: Reference = Published { artefact: artefact.clone(), digest }.pinned().parse().unwrap();
            reference.digest().map(|digest| digest.to_string())
        };
        assert_eq!(demanded(None), None);
        assert_eq!(demanded(Some(digest.clone())), Some(digest));
    }
}

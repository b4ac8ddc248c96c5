//! Where an artefact comes from: a registry, a layout directory or a layout archive, read in the same way.

use diagnostic::{Error, Result, codes};
use serde::Deserialize;

use crate::media_type::is_index;
use crate::model::invalid;
use crate::registry::{Scope, mismatch};
use crate::{
    Archive, Credentials, DOCKER_CONFIG, Descriptor, Digest, Document, IMAGE_CONFIG, IMAGE_INDEX, IMAGE_MANIFEST,
    Index, Layout, Limits, MANIFEST_LIMIT, Manifest, Mirror, Platform, ReadLayout, Reference, Registry,
};

/// How a registry is reached.
#[derive(Debug, Clone)]
pub struct Access {
    /// Where to ask instead.
    pub mirror: Option<Mirror>,
    /// Who we are.
    pub credentials: Credentials,
    /// How long and how much it may take.
    pub limits: Limits,
}

/// A reference, and what it leads to.
#[derive(Debug)]
pub struct Source {
    reference: Reference,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Registry(Box<Registry>),
    Layout(Layout),
    Archive(Archive),
}

/// What a reference means on a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The reference, as it was given.
    pub reference: Reference,
    /// What the reference names: an index or the manifest itself.
    pub root: Descriptor,
    /// The bytes of `root`.
    pub root_bytes: Vec<u8>,
    /// The manifest for the platform.
    pub descriptor: Descriptor,
    /// The manifest, parsed.
    pub manifest: Manifest,
    /// The manifest's bytes, which are what its digest is of.
    pub manifest_bytes: Vec<u8>,
}

impl Resolved {
    /// The reference by digest, which means the same for ever.
    pub fn pinned(&self) -> Reference {
        self.reference.pinned(self.root.digest)
    }
}

impl Source {
    /// Opens a layout, or prepares to speak with a registry.
    ///
    /// # Errors
    /// A layout that does not exist or is none.
    pub fn open(reference: &Reference, access: &Access) -> Result<Source> {
        let content = match reference {
            Reference::Registry(name) => {
                let registry = Registry::open(name, access.mirror.as_ref(), access.credentials.clone(), access.limits)?;
                Content::Registry(Box::new(registry))
            }
            Reference::Layout(name) => Content::Layout(Layout::open(&name.path)?),
            Reference::Archive(name) => Content::Archive(Archive::open(&name.path)?),
        };
        Ok(Source { reference: reference.clone(), content })
    }

    /// The reference that this was opened for.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Finds the manifest for a platform. Only manifests are read, and where no index says so, the image's configuration.
    ///
    /// # Errors
    /// [`codes::NOT_FOUND`], [`codes::NO_PLATFORM`], [`codes::MANIFEST_INVALID`]; [`codes::DIGEST_MISMATCH`] when the
    /// reference demands another digest; those of a registry.
    pub fn resolve(&self, platform: &Platform) -> Result<Resolved> {
        let what = format!("`{}`", self.reference);
        let (bytes, told) = self.root()?;
        let digest = Digest::of(&bytes);
        if let Some(expected) = self.reference.digest().filter(|expected| *expected != digest) {
            return Err(mismatch(&what, &expected, &digest));
        }
        match Document::parse(&bytes, told.as_deref(), &what)? {
            Document::Manifest(manifest) => {
                self.check_platform(&manifest, platform, &what)?;
                let media_type = manifest.media_type.clone().unwrap_or_else(|| IMAGE_MANIFEST.to_owned());
                let root = Descriptor::of(media_type, &bytes);
                Ok(Resolved {
                    reference: self.reference.clone(),
                    descriptor: root.clone(),
                    root,
                    root_bytes: bytes.clone(),
                    manifest,
                    manifest_bytes: bytes,
                })
            }
            Document::Index(index) => {
                let descriptor = index.select(platform, &what)?.clone();
                if is_index(&descriptor.media_type) {
                    return Err(invalid(&what, "its entry for the platform is another index"));
                }
                let (manifest, manifest_bytes) = self.manifest(&descriptor)?;
                let media_type = index.media_type.unwrap_or_else(|| IMAGE_INDEX.to_owned());
                Ok(Resolved {
                    reference: self.reference.clone(),
                    root: Descriptor::of(media_type, &bytes),
                    root_bytes: bytes,
                    descriptor,
                    manifest,
                    manifest_bytes,
                })
            }
        }
    }

    /// The manifest that a descriptor names, for example one of [`Source::referrers`], with its bytes.
    ///
    /// # Errors
    /// It is not there, or not what the descriptor says.
    pub fn manifest(&self, descriptor: &Descriptor) -> Result<(Manifest, Vec<u8>)> {
        let what = format!("manifest `{}` of `{}`", descriptor.digest, self.reference);
        let bytes = match &self.content {
            Content::Registry(registry) => {
                let (bytes, _) = registry.manifest(&descriptor.digest.to_string(), Scope::Pull)?;
                if bytes.len() as u64 != descriptor.size {
                    let message = format!("{what} has {} bytes, but {} are expected", bytes.len(), descriptor.size);
                    return Err(Error::new(codes::DIGEST_MISMATCH, message));
                }
                bytes
            }
            Content::Layout(layout) => layout.read_blob(descriptor, MANIFEST_LIMIT)?,
            Content::Archive(archive) => archive.read_blob(descriptor, MANIFEST_LIMIT)?,
        };
        match Document::parse(&bytes, Some(&descriptor.media_type), &what)? {
            Document::Manifest(manifest) => Ok((manifest, bytes)),
            Document::Index(_) => Err(invalid(&what, "it is an index where a manifest is needed")),
        }
    }

    /// A small blob, whole and verified: a configuration, a signature. Never for layers, which may be large.
    ///
    /// # Errors
    /// It is not there, not what the descriptor says, or has more than `limit` bytes.
    pub fn blob(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        match &self.content {
            Content::Registry(registry) => registry.blob(blob, limit),
            Content::Layout(layout) => layout.read_blob(blob, limit),
            Content::Archive(archive) => archive.read_blob(blob, limit),
        }
    }

    /// What refers to a digest: signatures, bills of materials. Of any type: look at the manifests themselves.
    ///
    /// # Errors
    /// They cannot be read; that there are none is no error.
    pub fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        match &self.content {
            Content::Registry(registry) => registry.referrers(subject),
            Content::Layout(layout) => layout.referrers(subject),
            Content::Archive(archive) => archive.referrers(subject),
        }
    }

    pub(crate) fn registry(&self) -> Option<&Registry> {
        match &self.content {
            Content::Registry(registry) => Some(registry),
            Content::Layout(_) | Content::Archive(_) => None,
        }
    }

    pub(crate) fn layout(&self) -> Option<&dyn ReadLayout> {
        match &self.content {
            Content::Registry(_) => None,
            Content::Layout(layout) => Some(layout),
            Content::Archive(archive) => Some(archive),
        }
    }

    /// The bytes that the reference names, and the type that was told with them.
    fn root(&self) -> Result<(Vec<u8>, Option<String>)> {
        match (&self.content, &self.reference) {
            (Content::Registry(registry), _) => registry.manifest(&registry.name().manifest(), Scope::Pull),
            (Content::Layout(layout), Reference::Layout(name)) => {
                root_of(layout, name.tag.as_deref(), name.digest.as_ref())
            }
            (Content::Archive(archive), Reference::Archive(name)) => {
                root_of(archive, name.tag.as_deref(), name.digest.as_ref())
            }
            _ => unreachable!("a source is opened by its own reference"),
        }
    }

    fn check_platform(&self, manifest: &Manifest, platform: &Platform, what: &str) -> Result<()> {
        #[derive(Deserialize)]
        struct Image {
            os: Option<String>,
            architecture: Option<String>,
        }
        if ![IMAGE_CONFIG, DOCKER_CONFIG].contains(&manifest.config.media_type.as_str()) {
            return Ok(());
        }
        let bytes = self.blob(&manifest.config, MANIFEST_LIMIT)?;
        let image: Image = crate::model::from_json(&bytes, &format!("the configuration of {what}"))?;
        let (Some(os), Some(architecture)) = (image.os, image.architecture) else { return Ok(()) };
        let found = Platform::new(os, architecture);
        let entry = Descriptor { platform: Some(found), ..Descriptor::empty_config() };
        Index::new(vec![entry]).select(platform, what).map(drop)
    }
}

/// The entry with a tag, with a digest, or the only one.
fn root_of(layout: &dyn ReadLayout, tag: Option<&str>, digest: Option<&Digest>) -> Result<(Vec<u8>, Option<String>)> {
    let entry = match (tag, digest) {
        (None, Some(digest)) => {
            let index = layout.index()?;
            let listed = index.manifests.into_iter().find(|entry| entry.digest == *digest);
            match (listed, layout.raw_blob(digest)?) {
                (Some(entry), _) => Some(entry),
                // A manifest that only an index lists.
                (None, Some((_, size))) => Some(Descriptor::new("", *digest, size)),
                (None, None) => None,
            }
        }
        _ => Some(layout.resolve(tag)?),
    };
    let Some(entry) = entry else {
        let digest = digest.map(Digest::to_string).unwrap_or_default();
        return Err(Error::new(codes::NOT_FOUND, format!("{} has no `{digest}`", layout.name())));
    };
    let told = Some(entry.media_type.clone()).filter(|told| !told.is_empty());
    Ok((layout.read_blob(&entry, MANIFEST_LIMIT)?, told))
}

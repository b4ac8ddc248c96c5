//! A layout into a registry: what it needs first, the tag last, so that nobody ever sees half an artefact or one without
//! its signatures.

use std::collections::BTreeMap;
use std::fmt;

use diagnostic::{Error, Result, codes};
use process::interrupt;

use crate::media_type::IMAGE_INDEX;
use crate::model::invalid;
use crate::registry::Scope;
use crate::{Descriptor, Digest, Document, Index, ReadLayout, Registry};

/// Manifests of one artefact with all its referrers.
const MANIFESTS_LIMIT: usize = 1024;
/// How often a list of referrers is written again because somebody else wrote it at the same time.
const RACES: usize = 8;

/// What will be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushPlan {
    /// Blobs, each once.
    pub blobs: Vec<Descriptor>,
    /// Manifests and indexes with their bytes; each comes after those that it names.
    pub manifests: Vec<(Descriptor, Vec<u8>)>,
    /// What refers to which digest.
    pub referrers: BTreeMap<Digest, Vec<Descriptor>>,
    /// What the tag will name: the last of `manifests` that is no referrer.
    pub root: Descriptor,
}

/// How a push ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// What the tag names now.
    pub root: Descriptor,
    /// Blobs that were uploaded; the others were there already.
    pub uploaded: usize,
}

impl PushPlan {
    /// Looks at what belongs to an entry of a layout: manifests, blobs, and the referrers of each manifest.
    ///
    /// # Errors
    /// There is no such entry, or something that belongs to it is missing or damaged. Blobs are looked at only by size; they
    /// are verified while they are sent.
    pub fn new(layout: &dyn ReadLayout, tag: Option<&str>) -> Result<PushPlan> {
        let root = layout.resolve(tag)?;
        let root = Descriptor { annotations: BTreeMap::new(), platform: None, ..root };
        let mut plan =
            PushPlan { blobs: Vec::new(), manifests: Vec::new(), referrers: BTreeMap::new(), root: root.clone() };
        plan.add(layout, &root, 0)?;
        for subject in plan.manifests.iter().map(|(manifest, _)| manifest.digest).collect::<Vec<_>>() {
            let found = layout.referrers(&subject)?;
            for referrer in &found {
                plan.add(layout, referrer, 0)?;
            }
            if !found.is_empty() {
                plan.referrers.insert(subject, found);
            }
        }
        Ok(plan)
    }

    /// Bytes of all blobs.
    pub fn bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.size).sum()
    }

    fn add(&mut self, layout: &dyn ReadLayout, descriptor: &Descriptor, depth: usize) -> Result<()> {
        interrupt::check()?;
        if self.manifests.iter().any(|(known, _)| known.digest == descriptor.digest) {
            return Ok(());
        }
        if depth > 2 || self.manifests.len() >= MANIFESTS_LIMIT {
            return Err(invalid(&layout.name(), "it has too many manifests, or they are nested too deep"));
        }
        let (document, bytes) = layout.document(descriptor)?;
        match document {
            Document::Index(index) => {
                for entry in &index.manifests {
                    self.add(layout, entry, depth + 1)?;
                }
            }
            Document::Manifest(manifest) => {
                for blob in manifest.blobs() {
                    if !self.blobs.iter().any(|known| known.digest == blob.digest) {
                        layout.open_blob(blob)?;
                        self.blobs.push(blob.clone());
                    }
                }
            }
        }
        self.manifests.push((descriptor.clone(), bytes));
        Ok(())
    }
}

impl fmt::Display for PushPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "push {}", self.root.digest)?;
        for (manifest, _) in &self.manifests {
            writeln!(f, "  manifest {} {}", manifest.digest, manifest.media_type)?;
        }
        for blob in &self.blobs {
            writeln!(f, "  blob     {} {} bytes", blob.digest, blob.size)?;
        }
        for (subject, referrers) in &self.referrers {
            writeln!(f, "  {} refer to {subject}", referrers.len())?;
        }
        Ok(())
    }
}

/// Pushes what was planned under the tag of the registry's reference.
///
/// Blobs that are there are skipped, so a push that failed is continued by pushing again. `progress` hears the bytes that are
/// there, and how many there will be.
///
/// # Errors
/// [`codes::REFERENCE_INVALID`] when the reference has no tag; [`codes::DIGEST_MISMATCH`] when a blob of the layout is
/// damaged; those of the registry.
pub fn push(
    layout: &dyn ReadLayout,
    plan: &PushPlan,
    registry: &Registry,
    progress: &mut crate::Progress<'_>,
) -> Result<Pushed> {
    let Some(tag) = &registry.name().tag else {
        let message = format!("`{}` has no tag to push to", registry.name());
        return Err(Error::new(codes::REFERENCE_INVALID, message).hint("write `HOST/REPOSITORY:TAG`"));
    };
    let (mut done, total, mut uploaded) = (0, plan.bytes(), 0);
    for blob in &plan.blobs {
        interrupt::check()?;
        if !registry.has_blob(blob)? {
            registry.push_blob(
                blob,
                || layout.open_blob(blob),
                |bytes| progress(done + bytes.min(blob.size), total),
            )?;
            uploaded += 1;
        }
        done += blob.size;
        progress(done, total);
    }
    for (manifest, bytes) in &plan.manifests {
        interrupt::check()?;
        registry.put_manifest(&manifest.digest.to_string(), &manifest.media_type, bytes)?;
    }
    for (subject, referrers) in &plan.referrers {
        list_referrers(registry, subject, referrers)?;
    }
    let root = plan.manifests.iter().find(|(manifest, _)| manifest.digest == plan.root.digest);
    let (root, bytes) = root.expect("a plan's root is one of its manifests");
    registry.put_manifest(tag, &root.media_type, bytes)?;
    Ok(Pushed { root: root.clone(), uploaded })
}

/// Sees to it that referrers are listed, by the registry itself or behind the fallback tag.
fn list_referrers(registry: &Registry, subject: &Digest, referrers: &[Descriptor]) -> Result<()> {
    let lacks =
        |listed: &[Descriptor]| referrers.iter().any(|one| !listed.iter().any(|known| known.digest == one.digest));
    if registry.referrers_by_api(subject)?.is_some_and(|listed| !lacks(&listed)) {
        return Ok(());
    }
    // There is no way to write only if nobody else has written: read back, and write again if we were overwritten.
    for _ in 0..RACES {
        let mut index = registry.fallback_index(subject, Scope::Push)?.unwrap_or_else(|| Index::new(Vec::new()));
        if !lacks(&index.manifests) {
            return Ok(());
        }
        for one in referrers {
            if !index.manifests.iter().any(|known| known.digest == one.digest) {
                index.manifests.push(one.clone());
            }
        }
        registry.put_manifest(&subject.fallback_tag(), IMAGE_INDEX, &index.to_json())?;
    }
    let message = format!("{} is written by others all the time", registry.called(&subject.fallback_tag()));
    Err(Error::new(codes::REGISTRY_FAILED, message))
}

//! From a sealed build to an image in a layout: a plan that prints itself, and its execution.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use build_info::{BuildId, BuildInfo, BuildKind};
use diagnostic::{Error, Result, codes};
use oci::{Descriptor, Digest, IMAGE_CONFIG, Index, Layout, Manifest, Platform};

use crate::config::{ImageConfig, Process, RootFs, Step};
use crate::contents::{Contents, refused};
use crate::layer::{self, Split};
use crate::tree::Node;
use crate::{ARTIFACT_TYPE, SBOM, annotation, referrer, sbom};

/// Where the tools of a container are looked up: ours, then what the base image has.
pub(crate) const PATH: &str = "PATH=/opt/caravan/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What an index says too.
pub(crate) const SHARED: [&str; 5] =
    [annotation::SOURCE, annotation::REVISION, annotation::VERSION, annotation::LICENSES, annotation::CREATED];

/// What will be packed, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    contents: Contents,
    split: Split,
    source: String,
}

/// An image that lies in a layout.
#[derive(Debug, Clone)]
pub struct Packed {
    /// The manifest, with its platform.
    pub manifest: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<PackedLayer>,
    annotations: BTreeMap<String, String>,
}

/// One layer of an image that was packed.
#[derive(Debug, Clone)]
pub struct PackedLayer {
    /// The compressed layer.
    pub descriptor: Descriptor,
    /// The digest of the tar in it.
    pub diff_id: Digest,
    /// Bytes of that tar.
    pub uncompressed_size: u64,
}

impl Plan {
    /// Looks at a sealed build. `source` is the address of the repository that publishes it; registries use it to link the
    /// two.
    ///
    /// # Errors
    /// [`codes::GATE_FAILED`]: the tree is not a portable build with a bill of materials, or [`Contents::look`] refuses it.
    pub fn new(root: &Path, split: Split, source: &str) -> Result<Plan> {
        let contents = Contents::look(root, split)?;
        if contents.info().build_type != BuildKind::Portable {
            let kind = contents.info().build_type;
            return Err(refused(root, &format!("it is a {kind} build; only portable ones run elsewhere")));
        }
        if !contents.info().digests.contains_key(SBOM) {
            return Err(refused(root, &format!("it lacks `{SBOM}`: it was not sealed")));
        }
        Ok(Plan { contents, split, source: source.to_owned() })
    }

    /// The id under which it will be installed.
    pub fn id(&self) -> &BuildId {
        self.contents.id()
    }

    /// How the build was made.
    pub fn info(&self) -> &BuildInfo {
        self.contents.info()
    }

    /// Which machines it is for.
    pub fn platform(&self) -> &Platform {
        self.contents.platform()
    }

    /// Writes layers, configuration and manifest into the layout, and attaches the bill of materials. Nothing is tagged.
    ///
    /// # Errors
    /// A file is not the one that the build information lists ([`codes::GATE_FAILED`]), the layout cannot be written, or we
    /// were interrupted. Blobs that were complete stay; nothing refers to them.
    pub fn run(&self, layout: &Layout) -> Result<Packed> {
        let layers = self.contents.pack(layout)?;
        let uncompressed = layers.iter().map(|layer| layer.uncompressed_size).sum();
        let annotations = self.contents.annotations(&self.source, uncompressed);
        let config = layout.put(IMAGE_CONFIG, &self.config(&layers, &annotations).to_json())?;
        let mut manifest = Manifest::new(config, layers.iter().map(|layer| layer.descriptor.clone()).collect());
        manifest.artifact_type = Some(ARTIFACT_TYPE.to_owned());
        manifest.annotations = annotations.clone();
        let mut descriptor = layout.put_manifest(&manifest)?;
        descriptor.platform = Some(self.platform().clone());
        let document = self.contents.read(SBOM)?;
        let created = Some(self.info().date.to_string());
        referrer::attach(layout, &descriptor, sbom::MEDIA_TYPE, "sbom.cdx.json", created, &document)?;
        Ok(Packed { manifest: descriptor, layers, annotations })
    }

    fn config(&self, layers: &[PackedLayer], annotations: &BTreeMap<String, String>) -> ImageConfig {
        let created = self.info().date.to_string();
        let step = |name: &str| Step { created: created.clone(), created_by: format!("caravan: {name}") };
        ImageConfig {
            created: created.clone(),
            architecture: self.platform().architecture.clone(),
            os: self.platform().os.clone(),
            config: Process { env: vec![PATH.to_owned()], labels: annotations.clone(), ..Process::default() },
            rootfs: RootFs::of(layers.iter().map(|layer| layer.diff_id).collect()),
            history: self.contents.layers().map(|(name, _)| step(name)).collect(),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.info();
        writeln!(f, "pack `{}`", self.contents.root().display())?;
        writeln!(f, "  build     {}", self.id())?;
        writeln!(f, "  platform  {}", self.platform())?;
        writeln!(f, "  variants  {}", info.variants.join(", "))?;
        writeln!(f, "  glibc     {}", info.glibc_floor.as_deref().unwrap_or("that of the machine that built it"))?;
        writeln!(f, "  created   {}", info.date)?;
        writeln!(f, "  source    {}", self.source)?;
        writeln!(f, "  licences  {}", self.contents.licences())?;
        write!(f, "  layers    {}", self.split)?;
        for (name, tree) in self.contents.layers() {
            let files = tree.values().filter(|node| matches!(node, Node::File { .. })).count();
            write!(f, "\n    {name}: {files} files, {} bytes before compression", layer::tar_size(tree))?;
        }
        Ok(())
    }
}

/// Writes an index of these images, the first of them first, and lets a tag name it.
///
/// # Errors
/// Two images are for one platform or hold different versions ([`codes::GATE_FAILED`]); the layout cannot be written.
pub fn publish(layout: &Layout, images: &[Packed], tag: &str) -> Result<Descriptor> {
    let refused =
        |why: &str| Err(Error::new(codes::GATE_FAILED, format!("the images cannot be published together: {why}")));
    let Some(first) = images.first() else { return refused("there are none") };
    for (i, image) in images.iter().enumerate() {
        if images[..i].iter().any(|other| other.manifest.platform == image.manifest.platform) {
            return refused("two are for the same platform");
        }
        if image.annotations[annotation::REVISION] != first.annotations[annotation::REVISION] {
            return refused("they are builds of different commits");
        }
    }
    let mut index = Index::new(images.iter().map(|image| image.manifest.clone()).collect());
    index.annotations = SHARED.map(|key| (key.to_owned(), first.annotations[key].clone())).into();
    let descriptor = layout.put_index(&index)?;
    layout.tag(&descriptor, tag)?;
    Ok(descriptor)
}

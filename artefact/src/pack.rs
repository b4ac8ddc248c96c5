//! From a sealed build to an image in a layout: a plan that prints itself, and its execution.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use build_info::{BuildId, BuildInfo, BuildKind};
use diagnostic::{Error, Result, codes};
use oci::{Descriptor, Digest, IMAGE_CONFIG, Index, LAYER_TAR_ZSTD, Layout, Manifest, Platform};

use crate::config::{ImageConfig, Process, RootFs, Step};
use crate::layer::{self, Split};
use crate::tree::{self, Node, Tree};
use crate::{ARTIFACT_TYPE, BUILD_INFO, SBOM, annotation, licence, referrer, sbom};

/// Where the tools of a container are looked up: ours, then what the base image has.
const PATH: &str = "PATH=/opt/caravan/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What will be packed, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    root: PathBuf,
    info: BuildInfo,
    id: BuildId,
    platform: Platform,
    split: Split,
    source: String,
    licences: String,
    layers: Vec<(&'static str, Tree)>,
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
    /// [`codes::GATE_FAILED`]: the tree is not a portable build with bill of materials and build information, holds links,
    /// files that its build information does not list or lacks some that it does, or programs for more than one
    /// architecture.
    pub fn new(root: &Path, split: Split, source: &str) -> Result<Plan> {
        let tree = tree::list(root)?;
        let info = BuildInfo::read(&root.join(BUILD_INFO))?;
        let refused =
            |why: String| Error::new(codes::GATE_FAILED, format!("`{}` cannot be packed: {why}", root.display()));
        if info.build_type != BuildKind::Portable {
            return Err(refused(format!("it is a {} build; only portable ones run elsewhere", info.build_type)));
        }
        let files = || tree.iter().filter(|(_, node)| matches!(node, Node::File { .. })).map(|(path, _)| path);
        if let Some(extra) = files().find(|path| *path != BUILD_INFO && !info.digests.contains_key(*path)) {
            return Err(refused(format!("`{BUILD_INFO}` does not list `{extra}`")));
        }
        if let Some(missing) = info.digests.keys().find(|path| !matches!(tree.get(*path), Some(Node::File { .. }))) {
            return Err(refused(format!("it lacks `{missing}`, which `{BUILD_INFO}` lists")));
        }
        if !tree.contains_key(SBOM) {
            return Err(refused(format!("it lacks `{SBOM}`: it was not sealed")));
        }
        if info.date.as_second() < 0 {
            return Err(refused("its date lies before 1970".to_owned()));
        }
        let id = info.id().map_err(|error| refused(format!("it has no id: {error}")).source(error))?;
        let platform = platform(root, &tree)?.ok_or_else(|| refused("it holds no program or library".to_owned()))?;
        let licences = licence::expression(&licence::read(root)?);
        let layers = split.apply(&tree);
        Ok(Plan { root: root.to_owned(), info, id, platform, split, source: source.to_owned(), licences, layers })
    }

    /// The id under which it will be installed.
    pub fn id(&self) -> &BuildId {
        &self.id
    }

    /// How the build was made.
    pub fn info(&self) -> &BuildInfo {
        &self.info
    }

    /// Which machines it is for.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Writes layers, configuration and manifest into the layout, and attaches the bill of materials. Nothing is tagged.
    ///
    /// # Errors
    /// A file is not the one that the build information lists ([`codes::GATE_FAILED`]), the layout cannot be written, or we
    /// were interrupted. Blobs that were complete stay; nothing refers to them.
    pub fn run(&self, layout: &Layout) -> Result<Packed> {
        let layers = self.layers.iter().map(|(_, tree)| self.layer(tree, layout)).collect::<Result<Vec<_>>>()?;
        let annotations = self.annotations(&layers);
        let config = layout.put(IMAGE_CONFIG, &self.config(&layers, &annotations).to_json())?;
        let mut manifest = Manifest::new(config, layers.iter().map(|layer| layer.descriptor.clone()).collect());
        manifest.artifact_type = Some(ARTIFACT_TYPE.to_owned());
        manifest.annotations = annotations.clone();
        let mut descriptor = layout.put_manifest(&manifest)?;
        descriptor.platform = Some(self.platform.clone());
        let mut document = Vec::new();
        let fail = |error| Error::io("cannot read", &self.root.join(SBOM), error);
        tree::open(&self.root, SBOM)?.read_to_end(&mut document).map_err(fail)?;
        let created = Some(self.info.date.to_string());
        referrer::attach(layout, &descriptor, sbom::MEDIA_TYPE, "sbom.cdx.json", created, &document)?;
        Ok(Packed { manifest: descriptor, layers, annotations })
    }

    fn layer(&self, tree: &Tree, layout: &Layout) -> Result<PackedLayer> {
        // Without a name: whatever ends us, nothing is left of it.
        let cannot_write = |error| Error::io("cannot write to", layout.root(), error);
        let mut file = tempfile::tempfile_in(layout.root()).map_err(cannot_write)?;
        let mtime = u64::try_from(self.info.date.as_second()).expect("the plan has checked the date");
        let written = layer::write(&self.root, tree, &self.info.digests, mtime, &mut file)?;
        file.rewind().map_err(cannot_write)?;
        let descriptor = layout.put_stream(LAYER_TAR_ZSTD, &mut file)?;
        Ok(PackedLayer { descriptor, diff_id: written.diff_id, uncompressed_size: written.uncompressed })
    }

    fn annotations(&self, layers: &[PackedLayer]) -> BTreeMap<String, String> {
        let info = &self.info;
        let uncompressed: u64 = layers.iter().map(|layer| layer.uncompressed_size).sum();
        let mut annotations: BTreeMap<&str, String> = BTreeMap::from([
            (annotation::SOURCE, self.source.clone()),
            (annotation::REVISION, info.llama_commit.clone()),
            (annotation::VERSION, info.llama_version.clone()),
            (annotation::LICENSES, self.licences.clone()),
            (annotation::CREATED, info.date.to_string()),
            (annotation::VARIANTS, info.variants.join(",")),
            (annotation::UNCOMPRESSED_SIZE, uncompressed.to_string()),
            (annotation::BUILD_ID, self.id.to_string()),
            (annotation::PLATFORM, self.platform.to_string()),
        ]);
        if let Some(floor) = &info.glibc_floor {
            annotations.insert(annotation::GLIBC_FLOOR, floor.clone());
        }
        annotations.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    fn config(&self, layers: &[PackedLayer], annotations: &BTreeMap<String, String>) -> ImageConfig {
        let created = self.info.date.to_string();
        let step = |(name, _): &(&str, Tree)| Step { created: created.clone(), created_by: format!("caravan: {name}") };
        ImageConfig {
            created: created.clone(),
            architecture: self.platform.architecture.clone(),
            os: self.platform.os.clone(),
            config: Process { env: vec![PATH.to_owned()], labels: annotations.clone() },
            rootfs: RootFs {
                r#type: "layers".to_owned(),
                diff_ids: layers.iter().map(|layer| layer.diff_id).collect(),
            },
            history: self.layers.iter().map(step).collect(),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pack `{}`", self.root.display())?;
        writeln!(f, "  build     {}", self.id)?;
        writeln!(f, "  platform  {}", self.platform)?;
        writeln!(f, "  variants  {}", self.info.variants.join(", "))?;
        writeln!(f, "  glibc     {}", self.info.glibc_floor.as_deref().unwrap_or("that of the machine that built it"))?;
        writeln!(f, "  created   {}", self.info.date)?;
        writeln!(f, "  source    {}", self.source)?;
        writeln!(f, "  licences  {}", self.licences)?;
        write!(f, "  layers    {}", self.split)?;
        for (name, tree) in &self.layers {
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
    let shared =
        [annotation::SOURCE, annotation::REVISION, annotation::VERSION, annotation::LICENSES, annotation::CREATED];
    index.annotations = shared.map(|key| (key.to_owned(), first.annotations[key].clone())).into();
    let descriptor = layout.put_index(&index)?;
    layout.tag(&descriptor, tag)?;
    Ok(descriptor)
}

/// The platform that all ELF files of a tree are for.
fn platform(root: &Path, tree: &Tree) -> Result<Option<Platform>> {
    let mut found: Option<(&str, &str)> = None;
    for (path, node) in tree {
        let Node::File { .. } = node else { continue };
        let Some(architecture) = architecture(root, path)? else { continue };
        let (first, known) = *found.get_or_insert((path, architecture));
        if known != architecture {
            let message = format!("`{first}` is for {known}, but `{path}` for {architecture}");
            return Err(Error::new(codes::GATE_FAILED, message));
        }
    }
    Ok(found.map(|(_, architecture)| Platform::new("linux", architecture)))
}

/// The architecture of an ELF file, in Go's words; nothing for other files.
fn architecture(root: &Path, path: &str) -> Result<Option<&'static str>> {
    let mut header = Vec::new();
    let fail = |error| Error::io("cannot read", &root.join(path), error);
    tree::open(root, path)?.take(20).read_to_end(&mut header).map_err(fail)?;
    // The ELF header: magic, class (2: 64 bits), byte order (1: little), and e_machine at byte 18.
    match *header.as_slice() {
        [0x7f, b'E', b'L', b'F', 2, 1, .., 62, 0] if header.len() == 20 => Ok(Some("amd64")),
        [0x7f, b'E', b'L', b'F', 2, 1, .., 183, 0] if header.len() == 20 => Ok(Some("arm64")),
        [0x7f, b'E', b'L', b'F', ..] => {
            Err(Error::new(codes::GATE_FAILED, format!("`{path}` is for an architecture that has no artefact")))
        }
        _ => Ok(None),
    }
}

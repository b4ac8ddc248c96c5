//! What a build holds, and its layers: the same for an artefact and for an image that runs by itself.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use build_info::{BuildId, BuildInfo};
use diagnostic::{Error, Result, codes};
use oci::{Layout, Platform};

use crate::layer::{self, Split};
use crate::pack::PackedLayer;
use crate::tree::{self, Node, Tree};
use crate::{BUILD_INFO, annotation, layer_writer, licence};

/// A build that lies in a directory, as it will be packed.
#[derive(Debug, Clone)]
pub struct Contents {
    root: PathBuf,
    info: BuildInfo,
    id: BuildId,
    platform: Platform,
    licences: String,
    layers: Vec<(&'static str, Tree)>,
}

impl Contents {
    /// Looks at a build, of either kind.
    ///
    /// # Errors
    /// [`codes::GATE_FAILED`]: the tree holds links, files that its build information does not list or lacks some that it does,
    /// or programs for more than one architecture.
    pub fn look(root: &Path, split: Split) -> Result<Contents> {
        let tree = tree::list(root)?;
        let info = BuildInfo::read(&root.join(BUILD_INFO))?;
        let files = || tree.iter().filter(|(_, node)| matches!(node, Node::File { .. })).map(|(path, _)| path);
        if let Some(extra) = files().find(|path| *path != BUILD_INFO && !info.digests.contains_key(*path)) {
            return Err(refused(root, &format!("`{BUILD_INFO}` does not list `{extra}`")));
        }
        if let Some(missing) = info.digests.keys().find(|path| !matches!(tree.get(*path), Some(Node::File { .. }))) {
            return Err(refused(root, &format!("it lacks `{missing}`, which `{BUILD_INFO}` lists")));
        }
        if info.date.as_second() < 0 {
            return Err(refused(root, "its date lies before 1970"));
        }
        let id = info.id().map_err(|error| refused(root, &format!("it has no id: {error}")).source(error))?;
        let platform = platform(root, &tree)?.ok_or_else(|| refused(root, "it holds no program or library"))?;
        let licences = licence::expression(&licence::read(root)?);
        let layers = split.apply(&tree);
        Ok(Contents { root: root.to_owned(), info, id, platform, licences, layers })
    }

    /// The directory that it lies in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The id under which it is or will be installed.
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

    pub(crate) fn licences(&self) -> &str {
        &self.licences
    }

    pub(crate) fn layers(&self) -> impl Iterator<Item = &(&'static str, Tree)> {
        self.layers.iter()
    }

    /// The bytes of a file of the build.
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let fail = |error| Error::io("cannot read", &self.root.join(path), error);
        tree::open(&self.root, path)?.read_to_end(&mut bytes).map_err(fail)?;
        Ok(bytes)
    }

    /// Writes the layers into a layout, the lowest first.
    ///
    /// # Errors
    /// A file is not the one that the build information lists ([`codes::GATE_FAILED`]), the layout cannot be written, or we
    /// were interrupted.
    pub fn pack(&self, layout: &Layout) -> Result<Vec<PackedLayer>> {
        let mtime = u64::try_from(self.info.date.as_second()).expect("looking has checked the date");
        let pack = |(_, tree): &(&str, Tree)| {
            layer_writer::store(layout, |out| layer::write(&self.root, tree, &self.info.digests, mtime, out))
        };
        self.layers.iter().map(pack).collect()
    }

    /// What a puller must know before it downloads. `source` is the address of the repository that publishes it.
    pub fn annotations(&self, source: &str, uncompressed: u64) -> BTreeMap<String, String> {
        let info = &self.info;
        let mut annotations: BTreeMap<&str, String> = BTreeMap::from([
            (annotation::SOURCE, source.to_owned()),
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
}

pub(crate) fn refused(root: &Path, why: &str) -> Error {
    Error::new(codes::GATE_FAILED, format!("`{}` cannot be packed: {why}", root.display()))
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

//! The image that runs by itself: a base, the layers of a build as they are, and how a container of it starts.

use std::collections::BTreeMap;

use diagnostic::Result;
use oci::{Descriptor, Digest, IMAGE_CONFIG, Index, Layout, Manifest, Platform};

use crate::config::{ImageConfig, Process, RootFs, Step};
use crate::pack::{self, PackedLayer};
use crate::{ROOT, annotation, config};

/// Who runs in a container: a number, because Kubernetes cannot tell whether a name is root.
pub const USER: u32 = 65532;
/// Where `caravan serve` listens.
pub const PORT: u16 = 8080;

/// Annotations that say the same of an image as of the artefact in it.
const INHERITED: [&str; 6] = [
    annotation::SOURCE,
    annotation::REVISION,
    annotation::VERSION,
    annotation::VARIANTS,
    annotation::BUILD_ID,
    annotation::PLATFORM,
];

/// A layer that is in the layout already, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The compressed layer.
    pub descriptor: Descriptor,
    /// The digest of the tar in it.
    pub diff_id: Digest,
    /// What it is, for `history`.
    pub what: String,
}

/// What an image is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Which machines it is for.
    pub platform: Platform,
    /// All layers, the lowest first.
    pub layers: Vec<Layer>,
    /// Bytes of all layers after decompression.
    pub uncompressed_size: u64,
    /// What the build says of itself: the annotations of its artefact.
    pub annotations: BTreeMap<String, String>,
    /// The licences of the base, as SPDX expressions.
    pub base_licences: Vec<String>,
}

impl Layer {
    /// A layer that was just packed.
    pub fn packed(layer: &PackedLayer, what: impl Into<String>) -> Layer {
        Layer { descriptor: layer.descriptor.clone(), diff_id: layer.diff_id, what: what.into() }
    }

    /// The layers of an artefact, as its manifest and its configuration name them.
    ///
    /// # Errors
    /// [`codes::MANIFEST_INVALID`](diagnostic::codes::MANIFEST_INVALID): the configuration is damaged or lists another number
    /// of layers than the manifest.
    pub fn of_artefact(manifest: &Manifest, configuration: &[u8], what: &str) -> Result<Vec<Layer>> {
        let diff_ids = config::diff_ids(configuration, &manifest.config.digest)?;
        if diff_ids.len() != manifest.layers.len() {
            return Err(config::refused(
                &manifest.config.digest,
                "it lists another number of layers than the manifest",
            ));
        }
        let layers = manifest.layers.iter().zip(diff_ids);
        let layer = |(descriptor, diff_id): (&Descriptor, Digest)| Layer {
            descriptor: descriptor.clone(),
            diff_id,
            what: what.to_owned(),
        };
        Ok(layers.map(layer).collect())
    }
}

impl Image {
    /// Writes configuration, manifest and an index of it into a layout that holds the layers, and lets a tag name the index.
    ///
    /// # Errors
    /// The layout cannot be written, or `tag` is none.
    pub fn publish(&self, layout: &Layout, tag: &str) -> Result<Descriptor> {
        let annotations = self.all_annotations();
        let configuration = self.config(&annotations);
        let layers = self.layers.iter().map(|layer| layer.descriptor.clone()).collect();
        let mut manifest = Manifest::new(layout.put(IMAGE_CONFIG, &configuration.to_json())?, layers);
        manifest.annotations = annotations.clone();
        let mut entry = layout.put_manifest(&manifest)?;
        entry.platform = Some(self.platform.clone());
        let mut index = Index::new(vec![entry]);
        index.annotations = annotations.into_iter().filter(|(key, _)| pack::SHARED.contains(&key.as_str())).collect();
        let index = layout.put_index(&index)?;
        layout.tag(&index, tag)?;
        Ok(index)
    }

    fn all_annotations(&self) -> BTreeMap<String, String> {
        let said = |key: &str| self.annotations.get(key).cloned();
        let inherited = INHERITED.iter().filter_map(|key| Some(((*key).to_owned(), said(key)?)));
        let mut licences = self.base_licences.clone();
        licences.extend(said(annotation::LICENSES).iter().flat_map(|all| all.split(" AND ")).map(str::to_owned));
        licences.sort();
        licences.dedup();
        let own = [
            (annotation::TITLE, "Caravan".to_owned()),
            (annotation::DESCRIPTION, "llama.cpp for CPUs, served by `caravan serve`".to_owned()),
            (annotation::LICENSES, licences.join(" AND ")),
            (annotation::UNCOMPRESSED_SIZE, self.uncompressed_size.to_string()),
            (annotation::CREATED, self.created()),
        ];
        let all = inherited.chain(own.map(|(key, value)| (key.to_owned(), value)));
        // A native build has no variants.
        all.filter(|(_, value)| !value.is_empty()).collect()
    }

    fn created(&self) -> String {
        self.annotations.get(annotation::CREATED).cloned().unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned())
    }

    fn config(&self, annotations: &BTreeMap<String, String>) -> ImageConfig {
        let created = self.created();
        let step = |layer: &Layer| Step { created: created.clone(), created_by: format!("caravan: {}", layer.what) };
        ImageConfig {
            created: created.clone(),
            architecture: self.platform.architecture.clone(),
            os: self.platform.os.clone(),
            config: Process {
                // Inside a container, loopback is nobody else's.
                env: vec![pack::PATH.to_owned(), "LLAMA_ARG_HOST=0.0.0.0".to_owned()],
                labels: annotations.clone(),
                user: Some(format!("{USER}:{USER}")),
                entrypoint: vec![format!("/{ROOT}/bin/caravan"), "serve".to_owned()],
                exposed_ports: [(format!("{PORT}/tcp"), BTreeMap::new())].into(),
                stop_signal: Some("SIGTERM".to_owned()),
            },
            rootfs: RootFs::of(self.layers.iter().map(|layer| layer.diff_id).collect()),
            history: self.layers.iter().map(step).collect(),
        }
    }
}

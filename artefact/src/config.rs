//! The configuration of an image: what OCI's image specification demands of one, and what we read of it.

use std::collections::BTreeMap;

use diagnostic::{Error, Result, codes};
use oci::Digest;
use serde::{Deserialize, Serialize};

/// Bytes of the largest configuration that we read; ours have some hundred.
pub(crate) const LIMIT: u64 = 1 << 20;

/// The configuration that we write.
#[derive(Debug, Serialize)]
pub(crate) struct ImageConfig {
    pub(crate) created: String,
    pub(crate) architecture: String,
    pub(crate) os: String,
    pub(crate) config: Process,
    pub(crate) rootfs: RootFs,
    pub(crate) history: Vec<Step>,
}

/// What a container of the image starts with. An artefact has no program to start: what is missing is not written.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Process {
    pub(crate) env: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) entrypoint: Vec<String>,
    /// The keys count; the values are empty.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) exposed_ports: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop_signal: Option<String>,
}

/// The layers by the digest of their uncompressed tar.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RootFs {
    pub(crate) r#type: String,
    pub(crate) diff_ids: Vec<Digest>,
}

/// How a layer came to be.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    pub(crate) created: String,
    pub(crate) created_by: String,
}

impl RootFs {
    pub(crate) fn of(diff_ids: Vec<Digest>) -> RootFs {
        RootFs { r#type: "layers".to_owned(), diff_ids }
    }
}

impl ImageConfig {
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a configuration has only text keys, and a vector takes all that is written")
    }
}

/// The `diff_ids` of a configuration that others wrote.
pub(crate) fn diff_ids(bytes: &[u8], digest: &Digest) -> Result<Vec<Digest>> {
    #[derive(Deserialize)]
    struct Outline {
        rootfs: RootFs,
    }
    let damaged = |error: serde_json::Error| {
        refused(digest, &format!("its JSON is damaged: {}", crate::printable(&error.to_string())))
    };
    let outline: Outline = serde_json::from_slice(bytes).map_err(damaged)?;
    match outline.rootfs {
        RootFs { r#type, diff_ids } if r#type == "layers" => Ok(diff_ids),
        _ => Err(refused(digest, "its `rootfs` is not made of layers")),
    }
}

pub(crate) fn refused(digest: &Digest, why: &str) -> Error {
    Error::new(codes::MANIFEST_INVALID, format!("configuration `{digest}` is refused: {why}"))
}

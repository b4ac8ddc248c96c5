//! What is seen in the tree of a machine, with what NVML says there.

use std::fs;
use std::path::Path;

use host::gpu::NvmlDevice;
use host::{Host, Overrides, fixture};

/// What NVML says of a machine.
pub(crate) fn nvml(root: &Path) -> Vec<NvmlDevice> {
    let json = fs::read(root.join(fixture::NVML));
    json.map(|json| serde_json::from_slice(&json).expect("devices")).unwrap_or_default()
}

/// The machine of a tree.
pub(crate) fn probed(root: &Path) -> Host {
    Host::probe_at(root, Overrides { nvml: nvml(root), ..Overrides::default() })
}

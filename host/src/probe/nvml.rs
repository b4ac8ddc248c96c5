//! What NVML says of NVIDIA GPUs. The library belongs to the driver and is opened at run time; where there is none, there
//! are no devices. Of drivers older than 510 the names are known, but no memory.

use std::ffi::OsStr;

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

use crate::gpu::{NvmlDevice, NvmlMemory};

/// The library's names: a driver installs it under the first alone, the second is a link for developers.
#[cfg(not(windows))]
const LIBRARIES: [&str; 2] = ["libnvidia-ml.so.1", "libnvidia-ml.so"];
#[cfg(windows)]
const LIBRARIES: [&str; 1] = ["nvml.dll"];

/// Asks for every GPU. Opening the driver may take a second where nobody else uses it.
pub(super) fn devices() -> Vec<NvmlDevice> {
    let open = |name: &&str| Nvml::builder().lib_path(OsStr::new(name)).init().ok();
    let Some(nvml) = LIBRARIES.iter().find_map(open) else {
        return Vec::new();
    };
    let count = nvml.device_count().unwrap_or(0);
    (0..count)
        .filter_map(|index| nvml.device_by_index(index).ok())
        .map(|device| NvmlDevice {
            name: device.name().ok(),
            address: device.pci_info().ok().map(|pci| pci.bus_id),
            memory: match device.memory_info() {
                Ok(memory) => NvmlMemory::Known { total: memory.total, free: memory.free },
                Err(NvmlError::NotSupported) => NvmlMemory::NotSupported,
                Err(error) => NvmlMemory::Failed(error.to_string()),
            },
        })
        .collect()
}

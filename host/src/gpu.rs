//! Graphics processors, and the memory that a model may take on them.
//!
//! Memory is where public tools go wrong most often, so each kind is kept apart:
//!
//! | machine | [`Gpu::dedicated`] | [`Gpu::shared`] |
//! |---|---|---|
//! | a card of its own | its VRAM | |
//! | AMD integrated (Strix Halo, the small one in a desktop Ryzen) | what the firmware set aside, missing in `MemTotal` | what the driver may map of main memory (GTT) |
//! | NVIDIA unified (GB10, Jetson) | nothing: NVML says "not supported" | main memory |
//! | NVIDIA unified that reports a carve-out (N1X) | the carve-out | main memory |
//! | Intel and Apple integrated | | main memory |
//!
//! Shared memory is main memory: it must not be added to it. An integrated GPU beside a card is marked as such and never
//! summed with it ([`dedicated_bytes`]).
//!
//! Not covered: GPUs on Windows, but for NVIDIA; the share of memory that macOS lets Metal use; the names of AMD and Intel
//! cards (only their PCI numbers).

use serde::{Deserialize, Serialize};

use crate::{Memory, Sourced};

/// One graphics processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// Who made it.
    pub vendor: Vendor,
    /// Name for people.
    pub name: Option<Sourced<String>>,
    /// PCI address as sysfs writes it: `0000:01:00.0`.
    pub address: Option<String>,
    /// PCI vendor and device: `1002:744c`.
    pub id: Option<String>,
    /// The kernel's driver: `amdgpu`.
    pub driver: Option<String>,
    /// Whether it is a part of the processor.
    pub integrated: Option<Sourced<bool>>,
    /// Bytes of memory of its own.
    pub dedicated: Option<Sourced<u64>>,
    /// Bytes of main memory that it may use.
    pub shared: Option<Sourced<u64>>,
    /// Bytes that a model may take on it, at the moment of probing.
    pub usable: Option<Sourced<u64>>,
}

/// Who made a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vendor {
    /// NVIDIA.
    Nvidia,
    /// AMD.
    Amd,
    /// Intel.
    Intel,
    /// Apple.
    Apple,
}

impl Vendor {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Vendor::Nvidia => "NVIDIA",
            Vendor::Amd => "AMD",
            Vendor::Intel => "Intel",
            Vendor::Apple => "Apple",
        }
    }
}

impl Gpu {
    /// A GPU of which nothing else is known.
    pub fn of(vendor: Vendor) -> Gpu {
        Gpu {
            vendor,
            name: None,
            address: None,
            id: None,
            driver: None,
            integrated: None,
            dedicated: None,
            shared: None,
            usable: None,
        }
    }

    /// Whether it is known to be a part of the processor.
    pub fn is_integrated(&self) -> bool {
        self.integrated.as_ref().is_some_and(|integrated| integrated.value)
    }

    /// Its name, or what is known in place of one.
    pub fn label(&self) -> String {
        match (&self.name, &self.id) {
            (Some(name), _) => name.value.clone(),
            (None, Some(id)) => format!("{} GPU {id}", self.vendor.name()),
            (None, None) => format!("{} GPU", self.vendor.name()),
        }
    }

    /// Makes it one that shares main memory.
    pub(crate) fn unified(mut self, memory: &Memory, source: &str) -> Gpu {
        self.integrated = Some(Sourced::new(true, source));
        self.shared = memory.total.clone();
        self.usable = memory.budget.clone();
        self
    }
}

/// The memory of all cards together, in bytes; integrated GPUs do not count. `None` when there is no card.
pub fn dedicated_bytes(gpus: &[Gpu]) -> Option<u64> {
    let cards: Vec<u64> =
        gpus.iter().filter(|gpu| !gpu.is_integrated()).filter_map(|gpu| Some(gpu.dedicated.as_ref()?.value)).collect();
    (!cards.is_empty()).then(|| cards.into_iter().fold(0, u64::saturating_add))
}

/// What NVML says of one GPU; plain data, so that it can be kept beside other files of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NvmlDevice {
    /// `NVIDIA GeForce RTX 4090`.
    pub name: Option<String>,
    /// PCI address, with a domain of eight digits: `00000000:01:00.0`.
    pub address: Option<String>,
    /// What it says of its memory.
    pub memory: NvmlMemory,
}

/// What NVML says of a GPU's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NvmlMemory {
    /// Both in bytes.
    Known {
        /// What there is.
        total: u64,
        /// What nobody uses.
        free: u64,
    },
    /// The GPU has none of its own.
    NotSupported,
    /// NVML failed in another way: its error.
    Failed(String),
}

/// Parts of the names of NVIDIA GPUs that share main memory, whatever NVML says of it. An N1X reports a carve-out of
/// 8 GB of the 54 GB (unsloth pull request 11208); a GB10 says "not supported" (nvitop pull request 208), or, it is said,
/// all of main memory, by driver; a Jetson's name ends with `(nvgpu)`.
const UNIFIED: [&str; 6] = ["GB10", "N1X", "(nvgpu)", "Tegra", "Jetson", "Thor"];

/// A GPU from what NVML says of it.
pub fn from_nvml(device: &NvmlDevice, memory: &Memory) -> Gpu {
    let mut gpu = Gpu::of(Vendor::Nvidia);
    gpu.name = device.name.as_ref().map(|name| Sourced::new(name.clone(), "NVML"));
    gpu.address = device.address.as_deref().and_then(pci_address);
    gpu.driver = Some("nvidia".to_owned());
    let name = device.name.as_deref().unwrap_or_default();
    // By whole words: `GB10` must not be found in `GB102`.
    let unified = name.split_whitespace().any(|word| UNIFIED.contains(&word));
    match device.memory {
        NvmlMemory::Known { total: 0, .. } | NvmlMemory::NotSupported => {
            gpu.unified(memory, "NVML: it has no memory of its own")
        }
        NvmlMemory::Known { total, free } => {
            // More than there is free of main memory is no carve-out.
            let main = memory.total.as_ref().map_or(u64::MAX, |main| main.value);
            if !unified || total < main / 2 {
                gpu.dedicated = Some(Sourced::new(total, "NVML"));
            }
            if unified {
                return gpu.unified(memory, "its name");
            }
            gpu.integrated = Some(Sourced::new(false, "NVML: it has memory of its own"));
            gpu.usable = Some(Sourced::new(free.min(total), "NVML: free"));
            gpu
        }
        NvmlMemory::Failed(_) if unified => gpu.unified(memory, "its name"),
        NvmlMemory::Failed(_) => gpu,
    }
}

/// A PCI address in sysfs's form: a domain of at least four digits, in lower case.
pub(crate) fn pci_address(text: &str) -> Option<String> {
    let (rest, function) = text.trim().rsplit_once('.')?;
    let mut parts = rest.split(':').map(|part| u32::from_str_radix(part, 16).ok());
    let (domain, bus, device) = (parts.next()??, parts.next()??, parts.next()??);
    let function = u32::from_str_radix(function, 16).ok()?;
    parts.next().is_none().then(|| format!("{domain:04x}:{bus:02x}:{device:02x}.{function:x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn memory(total: u64, available: u64) -> Memory {
        let value = |bytes| Some(Sourced::new(bytes, "/proc/meminfo"));
        Memory { total: value(total), available: value(available), budget: value(available), ..Memory::default() }
    }

    fn gpu(name: &str, nvml: NvmlMemory) -> Gpu {
        let device =
            NvmlDevice { name: Some(name.to_owned()), address: Some("0000000F:01:00.0".to_owned()), memory: nvml };
        from_nvml(&device, &memory(128 * GIB, 100 * GIB))
    }

    /// Integrated, dedicated, shared, usable; in GiB.
    fn figures(gpu: &Gpu) -> (Option<bool>, Option<u64>, Option<u64>, Option<u64>) {
        let gib = |bytes: &Option<Sourced<u64>>| bytes.as_ref().map(|bytes| bytes.value / GIB);
        (gpu.integrated.as_ref().map(|it| it.value), gib(&gpu.dedicated), gib(&gpu.shared), gib(&gpu.usable))
    }

    #[test]
    fn what_nvml_says_becomes_memory_of_the_right_kind() {
        let known = |total, free| NvmlMemory::Known { total: total * GIB, free: free * GIB };
        let unified = (Some(true), None, Some(128), Some(100));
        for (name, nvml, expected) in [
            ("NVIDIA GeForce RTX 4090", known(24, 20), (Some(false), Some(24), None, Some(20))),
            // Larger than main memory, and still a card.
            ("NVIDIA B300", known(288, 280), (Some(false), Some(288), None, Some(280))),
            ("NVIDIA GB10", NvmlMemory::NotSupported, unified),
            ("NVIDIA GB10", known(0, 0), unified),
            ("NVIDIA GB10", known(119, 115), unified),
            ("NVIDIA N1X", known(7, 7), (Some(true), Some(7), Some(128), Some(100))),
            ("Orin (nvgpu)", NvmlMemory::NotSupported, unified),
            ("Orin (nvgpu)", NvmlMemory::Failed("unknown".to_owned()), unified),
            ("NVIDIA GB102", known(12, 20), (Some(false), Some(12), None, Some(12))),
            ("NVIDIA A100", NvmlMemory::Failed("no permission".to_owned()), (None, None, None, None)),
        ] {
            assert_eq!(figures(&gpu(name, nvml.clone())), expected, "{name} {nvml:?}");
        }
        assert_eq!(gpu("NVIDIA GB10", NvmlMemory::NotSupported).address.as_deref(), Some("000f:01:00.0"));
    }

    #[test]
    fn only_cards_are_summed() {
        let card = |bytes, integrated| Gpu {
            dedicated: Some(Sourced::new(bytes, "test")),
            integrated: Some(Sourced::new(integrated, "test")),
            ..Gpu::of(Vendor::Amd)
        };
        assert_eq!(dedicated_bytes(&[card(32, false), card(2, true), card(8, false)]), Some(40));
        assert_eq!(dedicated_bytes(&[card(2, true)]), None);
        assert_eq!(dedicated_bytes(&[card(u64::MAX, false), card(u64::MAX, false)]), Some(u64::MAX));
    }

    #[test]
    fn addresses_are_read_or_refused() {
        let read = |text| pci_address(text).unwrap_or_default();
        assert_eq!(read("00000000:01:00.0"), "0000:01:00.0");
        assert_eq!(read("03F8CFDD:00:00.0"), "3f8cfdd:00:00.0");
        for text in ["", ":", "0:0:0", "0:0:0:0.0", "x:0:0.0", "0000:01:00.", "-1:0:0.0"] {
            assert_eq!(pci_address(text), None, "{text:?}");
        }
    }
}

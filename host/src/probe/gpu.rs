//! GPUs from `/sys/class/drm`, `/proc/driver/nvidia`, the device tree, and what NVML said.

use super::root::{Root, fields};
use super::system::System;
use crate::gpu::{self, Gpu, NvmlDevice, Vendor};
use crate::{Memory, Sourced};

const DRM: &str = "/sys/class/drm";
const NVIDIA: &str = "/proc/driver/nvidia/gpus";
/// Cards, tiles and sensors that are looked at, of each.
const MOST: usize = 64;
/// Without better knowledge an AMD GPU of no more memory than this is an integrated one: what firmware sets aside for the
/// small ones in desktop processors is up to 2 GiB (llmfit pull request 543).
const SMALL: u64 = 2 << 30;

/// Every GPU once.
pub(super) fn read(root: &Root, nvml: &[NvmlDevice], memory: &Memory, system: &System) -> Vec<Gpu> {
    let mut gpus: Vec<Gpu> = nvml.iter().map(|device| gpu::from_nvml(device, memory)).collect();
    let mut add = |found: Gpu| {
        let known = |gpu: &&mut Gpu| gpu.address.is_some() && gpu.address == found.address;
        match gpus.iter_mut().find(known) {
            Some(gpu) => gpu.id = gpu.id.take().or(found.id),
            None => gpus.push(found),
        }
    };
    nvidia(root).into_iter().for_each(&mut add);
    let cards = root.names(DRM).into_iter().filter(|name| is_numbered(name, "card"));
    cards.take(MOST).filter_map(|card| drm(root, &card, memory)).for_each(&mut add);
    jetson(root, memory, &mut gpus);
    if let Some(model) = system.cpu_model.as_ref().filter(|model| model.starts_with("Apple "))
        && gpus.is_empty()
    {
        let name = Some(Sourced::new(model.clone(), "operating system"));
        gpus.push(Gpu { name, ..Gpu::of(Vendor::Apple) }.unified(memory, "a processor of Apple"));
    }
    gpus
}

/// `card0`, but not the connector `card0-DP-1`.
fn is_numbered(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What the driver of NVIDIA says without NVML: names and addresses, no memory.
fn nvidia(root: &Root) -> Vec<Gpu> {
    let gpu = |name: String| {
        let source = format!("{NVIDIA}/{name}/information");
        let text = root.text(&source)?;
        let field = |key: &str| fields(&text).find(|(name, _)| *name == key).map(|(_, value)| value);
        let mut gpu = Gpu::of(Vendor::Nvidia);
        gpu.name = field("Model").map(|name| Sourced::new(name.to_owned(), source.clone()));
        gpu.address = field("Bus Location").and_then(gpu::pci_address).or_else(|| gpu::pci_address(&name));
        gpu.driver = Some("nvidia".to_owned());
        Some(gpu)
    };
    root.names(NVIDIA).into_iter().take(MOST).filter_map(gpu).collect()
}

/// One card of the kernel's direct rendering manager, if it is of a maker whose GPUs compute.
fn drm(root: &Root, card: &str, memory: &Memory) -> Option<Gpu> {
    let device = format!("{DRM}/{card}/device");
    let number = |file: &str| {
        let text = root.text(&format!("{device}/{file}"))?;
        u16::from_str_radix(text.strip_prefix("0x")?, 16).ok()
    };
    let maker = number("vendor")?;
    let mut gpu = Gpu::of(match maker {
        0x10de => Vendor::Nvidia,
        0x1002 => Vendor::Amd,
        0x8086 => Vendor::Intel,
        // The screens of servers and virtual machines, mostly.
        _ => return None,
    });
    gpu.id = number("device").map(|id| format!("{maker:04x}:{id:04x}"));
    let events = root.text(&format!("{device}/uevent")).unwrap_or_default();
    let event = |key: &str| events.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    gpu.driver = event("DRIVER").map(str::to_owned);
    gpu.address = event("PCI_SLOT_NAME").and_then(gpu::pci_address);
    Some(match gpu.vendor {
        Vendor::Amd => amd(root, &device, memory, gpu),
        Vendor::Intel => intel(root, card, &device, memory, gpu),
        Vendor::Nvidia | Vendor::Apple => gpu,
    })
}

fn amd(root: &Root, device: &str, memory: &Memory, mut gpu: Gpu) -> Gpu {
    let file = |name: &str| {
        let source = format!("{device}/{name}");
        root.number::<u64>(&source).map(|bytes| Sourced::new(bytes, source))
    };
    let left = |total: &Sourced<u64>, used: &str| total.value.saturating_sub(file(used).map_or(0, |used| used.value));
    gpu.dedicated = file("mem_info_vram_total");
    let integrated = is_amd_integrated(root, device, gpu.dedicated.as_ref());
    let dedicated = gpu.dedicated.as_ref().map(|total| {
        let source = format!("{} - mem_info_vram_used", total.source);
        Sourced::new(left(total, "mem_info_vram_used"), source)
    });
    if integrated.as_ref().is_some_and(|integrated| integrated.value) {
        gpu.shared = file("mem_info_gtt_total");
        let shared = gpu.shared.as_ref().map(|total| {
            let left = Sourced::new(left(total, "mem_info_gtt_used"), format!("{} - mem_info_gtt_used", total.source));
            match &memory.budget {
                Some(budget) if budget.value < left.value => budget.clone(),
                _ => left,
            }
        });
        // Two pools, and an allocation lies in one of them.
        gpu.usable = dedicated.into_iter().chain(shared).max_by_key(|bytes| bytes.value);
    } else {
        gpu.usable = dedicated;
    }
    gpu.integrated = integrated;
    gpu
}

/// The driver shows the voltage of the northbridge for those that are a part of the processor (the kernel's
/// `gpu/amdgpu/thermal`).
fn is_amd_integrated(root: &Root, device: &str, dedicated: Option<&Sourced<u64>>) -> Option<Sourced<bool>> {
    let sensors = format!("{device}/hwmon");
    for sensor in root.names(&sensors).into_iter().take(MOST) {
        let source = format!("{sensors}/{sensor}/in1_label");
        if root.text(&source).is_some_and(|label| label == "vddnb") {
            return Some(Sourced::new(true, source));
        }
    }
    let small = dedicated?.value <= SMALL;
    Some(Sourced::new(small, format!("guessed: {} than 2 GiB of VRAM", if small { "no more" } else { "more" })))
}

fn intel(root: &Root, card: &str, device: &str, memory: &Memory, mut gpu: Gpu) -> Gpu {
    // Intel's own is at this place since there have been any.
    let Some(address) = gpu.address.clone() else {
        return gpu;
    };
    if address == "0000:00:02.0" {
        return gpu.unified(memory, "PCI address 0000:00:02.0");
    }
    gpu.integrated = Some(Sourced::new(false, format!("PCI address {address}")));
    // The driver xe tells it per tile, i915 (not all versions) per card.
    let tiles = root.names(device).into_iter().filter(|name| is_numbered(name, "tile")).take(MOST);
    let tiles: Vec<u64> =
        tiles.filter_map(|tile| root.number(&format!("{device}/{tile}/physical_vram_size_bytes"))).collect();
    gpu.dedicated = if tiles.is_empty() {
        let source = format!("{DRM}/{card}/lmem_total_bytes");
        root.number(&source).map(|bytes| Sourced::new(bytes, source))
    } else {
        let bytes = tiles.into_iter().fold(0, u64::saturating_add);
        Some(Sourced::new(bytes, format!("{device}/tile*/physical_vram_size_bytes")))
    };
    gpu.usable = gpu.dedicated.clone();
    gpu
}

/// A Jetson's GPU is on no bus. NVML may know it, by a name that says nothing of the board.
fn jetson(root: &Root, memory: &Memory, gpus: &mut Vec<Gpu>) {
    const TREE: &str = "/proc/device-tree";
    let compatible = root.text(&format!("{TREE}/compatible")).unwrap_or_default();
    if !compatible.split(['\0', '\n']).any(|name| name.starts_with("nvidia,tegra")) {
        return;
    }
    let name = root.text(&format!("{TREE}/model")).map(|name| Sourced::new(name, format!("{TREE}/model")));
    match gpus.iter_mut().find(|gpu| gpu.vendor == Vendor::Nvidia && gpu.is_integrated()) {
        Some(gpu) => gpu.name = name.or(gpu.name.take()),
        None => {
            gpus.push(Gpu { name, ..Gpu::of(Vendor::Nvidia) }.unified(memory, &format!("{TREE}/compatible")));
        }
    }
}

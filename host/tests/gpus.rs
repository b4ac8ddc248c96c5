//! GPUs that we find in the trees of other people's machines.
#![cfg(feature = "probe")]

mod probed;
mod support;

use host::{Gpu, Host, Sourced, gpu};
use probed::probed;

fn shown(host: &Host) -> String {
    let value = |bytes: &Option<Sourced<u64>>| match bytes {
        Some(bytes) => format!("{:.2} GiB, {}", bytes.value as f64 / f64::from(1 << 30), bytes.source),
        None => "?".to_owned(),
    };
    let gpu = |gpu: &Gpu| {
        let unknown = "?".to_owned();
        [
            format!("{} at {}", gpu.label(), gpu.address.as_ref().unwrap_or(&unknown)),
            format!("  integrated: {}", gpu.integrated.as_ref().map_or(unknown, ToString::to_string)),
            format!("  dedicated: {}", value(&gpu.dedicated)),
            format!("  shared: {}", value(&gpu.shared)),
            format!("  usable: {}", value(&gpu.usable)),
        ]
        .join("\n")
    };
    let cards = gpu::dedicated_bytes(&host.gpus).map_or("none".to_owned(), |bytes| bytes.to_string());
    let gpus: Vec<String> = host.gpus.iter().map(gpu).collect();
    format!("{}\ncards: {cards}", gpus.join("\n"))
}

fn probe(name: &str) -> String {
    shown(&probed(support::machine(name).path()))
}

#[test]
fn an_integrated_gpu_beside_a_card_is_not_summed() {
    insta::assert_snapshot!(probe("ghost-igpu"), @"
    AMD GPU 1002:7551 at 0000:03:00.0
      integrated: false (guessed: more than 2 GiB of VRAM)
      dedicated: 31.86 GiB, /sys/class/drm/card0/device/mem_info_vram_total
      shared: ?
      usable: 31.80 GiB, /sys/class/drm/card0/device/mem_info_vram_total - mem_info_vram_used
    AMD GPU 1002:13c0 at 0000:0d:00.0
      integrated: true (guessed: no more than 2 GiB of VRAM)
      dedicated: 2.00 GiB, /sys/class/drm/card1/device/mem_info_vram_total
      shared: 31.00 GiB, /sys/class/drm/card1/device/mem_info_gtt_total
      usable: 30.99 GiB, /sys/class/drm/card1/device/mem_info_gtt_total - mem_info_gtt_used
    cards: 34208743424
    ");
}

#[test]
fn strix_halo_uses_main_memory() {
    insta::assert_snapshot!(probe("strix-halo"), @"
    AMD GPU 1002:1586 at 0000:c3:00.0
      integrated: true (/sys/class/drm/card1/device/hwmon/hwmon5/in1_label)
      dedicated: 4.00 GiB, /sys/class/drm/card1/device/mem_info_vram_total
      shared: 96.00 GiB, /sys/class/drm/card1/device/mem_info_gtt_total
      usable: 95.75 GiB, /sys/class/drm/card1/device/mem_info_gtt_total - mem_info_gtt_used
    cards: none
    ");
}

#[test]
fn gb10_has_no_memory_of_its_own_and_is_there_once() {
    insta::assert_snapshot!(probe("gb10"), @"
    NVIDIA GB10 at 000f:01:00.0
      integrated: true (NVML: it has no memory of its own)
      dedicated: ?
      shared: 121.69 GiB, /proc/meminfo
      usable: 113.07 GiB, /proc/meminfo
    cards: none
    ");
}

#[test]
fn a_jetson_is_named_by_its_board() {
    insta::assert_snapshot!(probe("jetson-agx-orin"), @"
    NVIDIA Jetson AGX Orin Developer Kit at ?
      integrated: true (NVML: it has no memory of its own)
      dedicated: ?
      shared: 61.37 GiB, /proc/meminfo
      usable: 55.43 GiB, /proc/meminfo
    cards: none
    ");
}

#[test]
fn an_intel_card_beside_an_intel_processor() {
    insta::assert_snapshot!(probe("arc-b580"), @"
    Intel GPU 8086:4680 at 0000:00:02.0
      integrated: true (PCI address 0000:00:02.0)
      dedicated: ?
      shared: 31.10 GiB, /proc/meminfo
      usable: 26.82 GiB, /proc/meminfo
    Intel GPU 8086:e20b at 0000:03:00.0
      integrated: false (PCI address 0000:03:00.0)
      dedicated: 12.00 GiB, /sys/class/drm/card1/device/tile*/physical_vram_size_bytes
      shared: ?
      usable: 12.00 GiB, /sys/class/drm/card1/device/tile*/physical_vram_size_bytes
    cards: 12884901888
    ");
}

#[test]
fn two_cards_and_a_screen_that_is_none() {
    insta::assert_snapshot!(probe("nvidia-h100-node"), @"
    NVIDIA H100 80GB HBM3 at 0000:06:00.0
      integrated: false (NVML: it has memory of its own)
      dedicated: 79.65 GiB, NVML
      shared: ?
      usable: 79.65 GiB, NVML: free
    NVIDIA H100 80GB HBM3 at 0000:07:00.0
      integrated: false (NVML: it has memory of its own)
      dedicated: 79.65 GiB, NVML
      shared: ?
      usable: 79.65 GiB, NVML: free
    cards: 171041619968
    ");
}

#[test]
fn without_nvml_the_driver_says_names_but_no_memory() {
    let root = support::machine("nvidia-h100-node");
    std::fs::remove_file(root.path().join(host::fixture::NVML)).unwrap();
    let gpus = probed(root.path()).gpus;
    assert_eq!(gpus.len(), 2, "{gpus:?}");
    let name = Sourced::new("NVIDIA H100 80GB HBM3".to_owned(), "/proc/driver/nvidia/gpus/0000:06:00.0/information");
    assert_eq!((gpus[0].name.as_ref(), gpus[0].id.as_deref()), (Some(&name), Some("10de:2330")));
    assert_eq!((&gpus[0].dedicated, &gpus[0].usable, &gpus[0].integrated), (&None, &None, &None));
}

#[test]
fn a_jetson_without_nvml_has_its_gpu_too() {
    let root = support::machine("jetson-agx-orin");
    std::fs::remove_file(root.path().join(host::fixture::NVML)).unwrap();
    let gpus = probed(root.path()).gpus;
    assert_eq!((gpus.len(), gpus[0].is_integrated()), (1, true));
    assert_eq!(gpus[0].label(), "NVIDIA Jetson AGX Orin Developer Kit");
}

#[test]
fn the_sensor_of_the_northbridge_tells_an_integrated_gpu_of_any_size() {
    let root = support::machine("strix-halo");
    let device = "sys/class/drm/card1/device";
    support::put(root.path(), &format!("{device}/mem_info_vram_total"), "103079215104");
    assert!(probed(root.path()).gpus[0].is_integrated(), "96 GiB may be set aside for it");
    std::fs::remove_file(root.path().join(format!("{device}/hwmon/hwmon5/in1_label"))).unwrap();
    assert!(!probed(root.path()).gpus[0].is_integrated(), "without the sensor its size decides");
}

#[test]
fn gtt_counts_no_further_than_main_memory_reaches() {
    let root = support::machine("strix-halo");
    support::put(root.path(), "proc/meminfo", "MemTotal: 127799296 kB\nMemAvailable: 10485760 kB");
    let usable = probed(root.path()).gpus[0].usable.clone().unwrap();
    assert_eq!(usable, Sourced::new(10 << 30, "/proc/meminfo"));
}

#[test]
fn apple_silicon_shares_its_memory() {
    let system = host::System {
        cpu_model: Some("Apple M3 Max".to_owned()),
        total_memory: Some(64 << 30),
        available_memory: Some(40 << 30),
        ..host::System::default()
    };
    let root = tempfile::tempdir().unwrap();
    let overrides = host::Overrides { system, ..host::Overrides::default() };
    let host = Host::probe_at(root.path(), overrides);
    assert_eq!(host.cpu.model.as_deref(), Some("Apple M3 Max"));
    insta::assert_snapshot!(shown(&host), @"
    Apple M3 Max at ?
      integrated: true (a processor of Apple)
      dedicated: ?
      shared: 64.00 GiB, operating system
      usable: 40.00 GiB, operating system
    cards: none
    ");
}

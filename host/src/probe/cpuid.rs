//! The processor that we run on, asked with CPUID.
//!
//! CPUID is asked and not `/proc/cpuinfo`, because it is also right under an emulator of user processes, in a sandbox
//! with a `/proc` of its own, and on other systems than Linux.
//!
//! A feature counts only when the operating system saves its registers. For AVX and AVX-512 std's detection reads XCR0.
//! Its detection of AMX is not stable yet (1.95), so the tiles are checked by a consequence of XCR0 that CPUID reports:
//! leaf 0xD gives the size of the save area for what XCR0 enables *now*, and the tile data (component 18) lies at its
//! end, at an offset and of a size that the same leaf gives. On Linux a process must still ask for the tiles (`arch_prctl`,
//! `ARCH_REQ_XCOMP_PERM`). llama.cpp does that itself when it starts, and does without them if it is refused; we cannot
//! ask without unsafe code. A kernel that enables the tiles grants them unless a seccomp filter forbids the call.

use std::is_x86_feature_detected;

use raw_cpuid::{CpuId, CpuIdResult, cpuid};

use crate::Cpu;
use crate::isa::{FEATURES, Feature, Register, State};

/// The first leaf of AMD's range; it answers with the last one.
const EXTENDED: u32 = 0x8000_0000;
/// The leaf that describes the XSAVE area.
const XSAVE: u32 = 0xd;
/// Number of the component of XCR0 that holds the tile data.
const TILE_DATA: u32 = 18;

/// The register state that the operating system saves.
struct Enabled {
    avx: bool,
    avx512: bool,
    amx: bool,
}

/// Asks the CPU that we run on.
pub(super) fn read() -> Cpu {
    let ask = |leaf, subleaf| cpuid!(leaf, subleaf);
    let enabled = Enabled {
        avx: is_x86_feature_detected!("avx"),
        avx512: is_x86_feature_detected!("avx512f"),
        amx: tiles_enabled(&ask),
    };
    let (features, disabled_by_os) = features(&ask, &enabled);
    let id = CpuId::new();
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let model = id.get_processor_brand_string().map(|brand| one_line(brand.as_str())).filter(|name| !name.is_empty());
    Cpu {
        vendor: id.get_vendor_info().map(|vendor| vendor.as_str().to_owned()),
        model,
        features,
        disabled_by_os,
        source: "CPUID".to_owned(),
    }
}

/// The features that may be used, and those that the CPU has but the system does not enable; both sorted.
fn features(ask: &dyn Fn(u32, u32) -> CpuIdResult, enabled: &Enabled) -> (Vec<String>, Vec<String>) {
    let usable = |feature: &&Feature| match feature.state {
        State::Base => true,
        State::Avx => enabled.avx,
        State::Avx512 => enabled.avx512,
        State::Amx => enabled.amx,
    };
    let (usable, disabled): (Vec<_>, Vec<_>) = FEATURES.iter().filter(|f| present(ask, f)).partition(usable);
    let names = |features: Vec<&Feature>| {
        let mut names: Vec<String> = features.into_iter().map(|feature| feature.name.to_owned()).collect();
        names.sort_unstable();
        names
    };
    (names(usable), names(disabled))
}

/// Whether the CPU says that it has the feature. A leaf beyond the last one answers with something else (on Intel with
/// the last leaf), so it is not asked.
fn present(ask: &dyn Fn(u32, u32) -> CpuIdResult, feature: &Feature) -> bool {
    let (leaf, subleaf) = feature.leaf;
    let last_subleaf = || if leaf == 7 { ask(7, 0).eax } else { u32::MAX };
    if leaf > ask(leaf & EXTENDED, 0).eax || (subleaf > 0 && subleaf > last_subleaf()) {
        return false;
    }
    let answer = ask(leaf, subleaf);
    let register = match feature.register {
        Register::Eax => answer.eax,
        Register::Ebx => answer.ebx,
        Register::Ecx => answer.ecx,
        Register::Edx => answer.edx,
    };
    register >> feature.bit & 1 == 1
}

/// Whether XCR0 enables the tile data; see the module.
fn tiles_enabled(ask: &dyn Fn(u32, u32) -> CpuIdResult) -> bool {
    if ask(0, 0).eax < XSAVE {
        return false;
    }
    let area = ask(XSAVE, 0);
    let tiles = ask(XSAVE, TILE_DATA);
    let end = u64::from(tiles.ebx) + u64::from(tiles.eax);
    area.eax >> TILE_DATA & 1 == 1 && tiles.eax > 0 && u64::from(area.ebx) >= end
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Sapphire Rapids as the Intel SDM describes it (synthetic): AVX2, AVX-512 and AMX; `save_area` bytes are what
    /// XCR0 enables.
    fn sapphire_rapids(save_area: u32) -> impl Fn(u32, u32) -> CpuIdResult {
        move |leaf, subleaf| {
            let [eax, ebx, ecx, edx] = match (leaf, subleaf) {
                (0, _) => [0x20, 0, 0, 0],
                (1, _) => [0, 0, 1 << 28 | 1 << 12, 1 << 26],
                (7, 0) => [1, 1 << 5 | 1 << 16, 1 << 11, 1 << 22 | 1 << 24 | 1 << 25],
                (7, 1) => [1 << 4 | 1 << 5, 0, 0, 0],
                (0xd, 0) => [0x602e7, save_area, 11008, 0],
                (0xd, 18) => [8192, 2816, 6, 0],
                (EXTENDED, _) => [EXTENDED, 0, 0, 0],
                (0x8000_0001, _) => [0, 0, u32::MAX, u32::MAX],
                _ => [0; 4],
            };
            CpuIdResult { eax, ebx, ecx, edx }
        }
    }

    fn split(save_area: u32, avx: bool, avx512: bool) -> (String, String) {
        let ask = sapphire_rapids(save_area);
        let enabled = Enabled { avx, avx512, amx: tiles_enabled(&ask) };
        let (usable, disabled) = features(&ask, &enabled);
        (usable.join(" "), disabled.join(" "))
    }

    #[test]
    fn a_feature_counts_only_when_the_system_enables_its_registers() {
        let all = "amx_bf16 amx_int8 amx_tile avx avx2 avx512_bf16 avx512_vnni avx512f avx_vnni fma sse2";
        assert_eq!(split(11008, true, true), (all.to_owned(), String::new()));
        let (usable, disabled) = split(2696, true, true);
        assert_eq!(usable, "avx avx2 avx512_bf16 avx512_vnni avx512f avx_vnni fma sse2");
        assert_eq!(disabled, "amx_bf16 amx_int8 amx_tile");
        let (usable, disabled) = split(832, true, false);
        assert_eq!(usable, "avx avx2 avx_vnni fma sse2");
        assert_eq!(disabled, "amx_bf16 amx_int8 amx_tile avx512_bf16 avx512_vnni avx512f");
        assert_eq!(split(576, false, false).0, "sse2");
    }

    #[test]
    fn std_agrees_on_the_cpu_that_runs_this() {
        let cpu = read();
        for (name, detected) in [
            ("sse4_2", is_x86_feature_detected!("sse4.2")),
            ("abm", is_x86_feature_detected!("lzcnt")),
            ("avx", is_x86_feature_detected!("avx")),
            ("avx2", is_x86_feature_detected!("avx2")),
            ("f16c", is_x86_feature_detected!("f16c")),
            ("fma", is_x86_feature_detected!("fma")),
            ("gfni", is_x86_feature_detected!("gfni")),
            ("vaes", is_x86_feature_detected!("vaes")),
            ("avx_vnni", is_x86_feature_detected!("avxvnni")),
            ("avx512bw", is_x86_feature_detected!("avx512bw")),
            ("avx512vbmi", is_x86_feature_detected!("avx512vbmi")),
            ("avx512_vnni", is_x86_feature_detected!("avx512vnni")),
            ("avx512_bf16", is_x86_feature_detected!("avx512bf16")),
            ("avx512_fp16", is_x86_feature_detected!("avx512fp16")),
        ] {
            assert_eq!(cpu.has(name), detected, "{name} in {:?}", cpu.features);
        }
    }
}

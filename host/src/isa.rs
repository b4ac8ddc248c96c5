//! The x86 instruction-set features that we know by name.
//!
//! Only what a compiler may use is in the table. The kernel's list also holds mitigations and its own inventions, which
//! come and go with kernel updates and say nothing about how fast code can be.

use std::collections::BTreeSet;

/// One feature: its name in `/proc/cpuinfo` and its place in CPUID (Intel SDM volume 2A "CPUID", AMD APM volume 3
/// appendix E).
#[derive(Debug, PartialEq, Eq)]
pub struct Feature {
    /// Name as Linux spells it.
    pub name: &'static str,
    /// CPUID leaf and subleaf.
    pub leaf: (u32, u32),
    /// Register of the answer.
    pub register: Register,
    /// Bit of that register.
    pub bit: u32,
    /// What the operating system must save on a task switch before the feature may be used.
    pub state: State,
}

/// A register of a CPUID answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the registers have no other meaning")]
pub enum Register {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

/// Register state that needs the operating system: a bit group of XCR0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing beyond what every x86-64 system saves.
    Base,
    /// The upper halves of the YMM registers.
    Avx,
    /// The mask registers and ZMM.
    Avx512,
    /// The tile registers.
    Amx,
}

macro_rules! features {
    ($($state:ident $leaf:literal $subleaf:literal $register:ident: $($name:literal $bit:literal),+;)*) => {
        /// Every feature that we report, grouped by where CPUID says it.
        pub const FEATURES: &[Feature] = &[$($(Feature {
            name: $name,
            leaf: ($leaf, $subleaf),
            register: Register::$register,
            bit: $bit,
            state: State::$state,
        }),+),*];
    };
}

features! {
    Base 0x1 0 Edx: "cx8" 8, "cmov" 15, "mmx" 23, "fxsr" 24, "sse" 25, "sse2" 26;
    Base 0x1 0 Ecx: "pni" 0, "pclmulqdq" 1, "ssse3" 9, "cx16" 13, "sse4_1" 19, "sse4_2" 20, "movbe" 22, "popcnt" 23,
        "aes" 25, "xsave" 26, "rdrand" 30;
    Avx 0x1 0 Ecx: "fma" 12, "avx" 28, "f16c" 29;
    Base 0x7 0 Ebx: "bmi1" 3, "bmi2" 8, "rdseed" 18, "adx" 19, "clflushopt" 23, "clwb" 24, "sha_ni" 29;
    Avx 0x7 0 Ebx: "avx2" 5;
    Avx512 0x7 0 Ebx: "avx512f" 16, "avx512dq" 17, "avx512ifma" 21, "avx512cd" 28, "avx512bw" 30, "avx512vl" 31;
    Base 0x7 0 Ecx: "gfni" 8;
    Avx 0x7 0 Ecx: "vaes" 9, "vpclmulqdq" 10;
    Avx512 0x7 0 Ecx: "avx512vbmi" 1, "avx512_vbmi2" 6, "avx512_vnni" 11, "avx512_bitalg" 12, "avx512_vpopcntdq" 14;
    Avx512 0x7 0 Edx: "avx512_vp2intersect" 8, "avx512_fp16" 23;
    Amx 0x7 0 Edx: "amx_bf16" 22, "amx_tile" 24, "amx_int8" 25;
    Avx 0x7 1 Eax: "avx_vnni" 4;
    Avx512 0x7 1 Eax: "avx512_bf16" 5;
    Base 0xd 1 Eax: "xsaveopt" 0, "xsavec" 1;
    Base 0x8000_0001 0 Ecx: "lahf_lm" 0, "abm" 5, "sse4a" 6, "3dnowprefetch" 8;
    Avx 0x8000_0001 0 Ecx: "xop" 11, "fma4" 16;
    Base 0x8000_0001 0 Edx: "lm" 29;
}

/// What each level of the x86-64 psABI adds to the one below (System V ABI for AMD64, table 3.1), in Linux spelling:
/// `pni` is SSE3, `abm` is LZCNT, `xsave` stands for OSXSAVE.
const LEVELS: [&[&str]; 4] = [
    &["lm", "cmov", "cx8", "fxsr", "mmx", "sse", "sse2"],
    &["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"],
    &["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"],
    &["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"],
];

/// The highest x86-64 level (1 to 4) whose features, and those of every level below, are all in `features`; `None` when
/// not even the first is complete, as on any other architecture.
pub fn x86_64_level<S: AsRef<str>>(features: &[S]) -> Option<u8> {
    let features: BTreeSet<&str> = features.iter().map(AsRef::as_ref).collect();
    let reached = LEVELS.iter().take_while(|level| level.iter().all(|name| features.contains(name))).count();
    (1..=4).find(|level| usize::from(*level) == reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_needs_every_feature_of_it_and_of_those_below() {
        let upto = |level: usize| LEVELS[..level].concat();
        for level in 1..=4 {
            assert_eq!(x86_64_level(&upto(level)), Some(level as u8));
            for missing in LEVELS[level - 1] {
                let features: Vec<&str> = upto(4).into_iter().filter(|name| name != missing).collect();
                assert_eq!(x86_64_level(&features), (level > 1).then(|| level as u8 - 1), "without {missing}");
            }
        }
        assert_eq!(x86_64_level(&["asimd", "asimddp"]), None);
    }

    #[test]
    fn names_and_bits_are_unique_and_levels_use_known_names() {
        for (i, feature) in FEATURES.iter().enumerate() {
            for other in &FEATURES[i + 1..] {
                assert_ne!(feature.name, other.name);
                assert_ne!(
                    (feature.leaf, feature.register as u8, feature.bit),
                    (other.leaf, other.register as u8, other.bit),
                    "{} and {}",
                    feature.name,
                    other.name
                );
            }
        }
        for name in LEVELS.concat() {
            assert!(FEATURES.iter().any(|feature| feature.name == name), "{name}");
        }
    }
}

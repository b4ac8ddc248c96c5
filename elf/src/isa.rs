//! Instruction set extensions of x86-64, and which of them ggml's options allow a compiler to use.

use std::fmt;
use std::sync::OnceLock;

use iced_x86::{Code, CpuidFeature as F, Mnemonic};

/// One extension, named as in the processor manuals: `AVX2`, `AVX512_VNNI`, `SSE4_2`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Isa(F);

/// What every x86-64 CPU has, and hints that older ones take for nothing.
const BASELINE: &[F] = &[
    F::INTEL8086,
    F::INTEL8086_ONLY,
    F::INTEL186,
    F::INTEL286,
    F::INTEL286_ONLY,
    F::INTEL386,
    F::INTEL386_ONLY,
    F::INTEL486,
    F::X64,
    F::CMOV,
    F::CPUID,
    F::CX8,
    F::CLFSH,
    F::FPU,
    F::FPU287,
    F::FPU387,
    F::FXSR,
    F::MMX,
    F::MSR,
    F::MULTIBYTENOP,
    F::PAUSE,
    F::RDPMC,
    F::SMM,
    F::SEP,
    F::SSE,
    F::SSE2,
    F::SYSCALL,
    F::TSC,
    // Hints: nothing happens where they are unknown.
    F::CET_IBT,
    F::CLDEMOTE,
    F::PREFETCHITI,
    F::PREFETCHW,
    F::PREFETCHWT1,
];

impl Isa {
    /// The extension of a name, `AVX512_VNNI`.
    pub fn named(name: &str) -> Option<Isa> {
        F::values().find(|feature| format!("{feature:?}") == name).map(Isa)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The extensions that an instruction needs beyond every x86-64 CPU; empty for most.
pub(crate) fn beyond_baseline(code: Code) -> &'static [Isa] {
    static TABLE: OnceLock<Vec<Vec<Isa>>> = OnceLock::new();
    let table = TABLE.get_or_init(|| Code::values().map(needs).collect());
    &table[code as usize]
}

fn needs(code: Code) -> Vec<Isa> {
    match code.mnemonic() {
        // Compilers write `tzcnt` for `bsf`, of which it is a prefixed form, where both give the same. The rest only asks
        // the CPU, and every asker looks at CPUID first.
        Mnemonic::Tzcnt | Mnemonic::Xgetbv | Mnemonic::Rdsspq | Mnemonic::Rdsspd => Vec::new(),
        _ => code.cpuid_features().iter().filter(|feature| !BASELINE.contains(feature)).copied().map(Isa).collect(),
    }
}

/// One of ggml's `GGML_*` options for x86, as its variants list them: `AVX2` for `GGML_AVX2`.
#[derive(Debug)]
pub struct Feature {
    /// The option's name without `GGML_`.
    pub name: &'static str,
    /// Extensions that compiled code is certain to use, if the option arrived.
    pub certain: &'static [Isa],
    /// Extensions that the compiler may use because of the option.
    pub allowed: &'static [Isa],
}

const SSE: &[Isa] = &[Isa(F::SSE3), Isa(F::SSSE3), Isa(F::SSE4_1), Isa(F::SSE4_2), Isa(F::POPCNT), Isa(F::CMPXCHG16B)];
const AVX512: &[Isa] = &[Isa(F::AVX512F), Isa(F::AVX512CD), Isa(F::AVX512BW), Isa(F::AVX512DQ), Isa(F::AVX512VL)];

/// Every option that a variant of ggml's CPU backend names on x86.
const FEATURES: &[Feature] = &[
    Feature { name: "SSE42", certain: &[Isa(F::SSSE3), Isa(F::SSE4_1)], allowed: SSE },
    Feature { name: "AVX", certain: &[Isa(F::AVX)], allowed: &[Isa(F::AVX)] },
    Feature { name: "F16C", certain: &[Isa(F::F16C)], allowed: &[Isa(F::F16C)] },
    Feature { name: "FMA", certain: &[Isa(F::FMA)], allowed: &[Isa(F::FMA)] },
    Feature { name: "AVX2", certain: &[Isa(F::AVX2)], allowed: &[Isa(F::AVX2)] },
    Feature { name: "BMI2", certain: &[Isa(F::BMI2)], allowed: &[Isa(F::BMI2)] },
    Feature { name: "AVX_VNNI", certain: &[Isa(F::AVX_VNNI)], allowed: &[Isa(F::AVX_VNNI)] },
    Feature { name: "AVX512", certain: &[Isa(F::AVX512F), Isa(F::AVX512BW), Isa(F::AVX512VL)], allowed: AVX512 },
    Feature { name: "AVX512_VBMI", certain: &[Isa(F::AVX512_VBMI)], allowed: &[Isa(F::AVX512_VBMI)] },
    Feature { name: "AVX512_VNNI", certain: &[Isa(F::AVX512_VNNI)], allowed: &[Isa(F::AVX512_VNNI)] },
    Feature { name: "AVX512_BF16", certain: &[Isa(F::AVX512_BF16)], allowed: &[Isa(F::AVX512_BF16)] },
    Feature { name: "AMX_TILE", certain: &[Isa(F::AMX_TILE)], allowed: &[Isa(F::AMX_TILE)] },
    Feature { name: "AMX_INT8", certain: &[Isa(F::AMX_INT8)], allowed: &[Isa(F::AMX_INT8)] },
    Feature { name: "AMX_BF16", certain: &[Isa(F::AMX_BF16)], allowed: &[Isa(F::AMX_BF16)] },
];

impl Feature {
    /// The option of a name as ggml's variants list it, `AVX512_VNNI`.
    pub fn named(name: &str) -> Option<&'static Feature> {
        FEATURES.iter().find(|feature| feature.name == name)
    }
}

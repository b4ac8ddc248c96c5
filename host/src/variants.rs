//! The CPU variants of a portable build: what each needs, and which one a machine takes.
//!
//! A portable build of llama.cpp carries one CPU backend per instruction-set level. When a program starts, ggml asks each
//! of them for its score and loads the highest: 0 when something it was compiled for is missing, else one bit per group
//! of features. The tables here say the same, so that the choice can be explained, and made for another machine. They
//! are upstream's (`ggml/src/CMakeLists.txt` and `arch/*/cpu-feats.cpp`, compared by a test) with what our patch
//! `0004-*` adds: a feature whose registers the operating system does not save counts as missing, and so does what the
//! compiler may use besides, such as POPCNT with SSE4.2.
//!
//! A score orders feature sets. It is no measurement: that `sapphirerapids` (AMX) or `skylakex` is faster than the next
//! one below is true on many machines and not on all. `cargo xtask bench --variant` measures it.

use serde::{Deserialize, Serialize};

use diagnostic::{Error, Result, codes};

use crate::Cpu;

/// The environment variable that forces a variant, by our patch; a build without that variant, or a machine that cannot
/// run it, then gives an error instead of another variant.
pub const FORCE: &str = "GGML_CPU_VARIANT";

/// Features that upstream switches on together.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// Upstream's name of the cmake option, without `GGML_`.
    pub name: &'static str,
    /// What it adds to the score; 0 where upstream does not count it.
    pub score: u32,
    /// The features that code compiled with it may use, as `/proc/cpuinfo` spells them.
    pub features: &'static [&'static str],
}

/// One CPU backend: `libggml-cpu-<name>.so`.
#[derive(Debug, PartialEq, Eq)]
pub struct Variant {
    /// ggml's name.
    pub name: &'static str,
    /// Names of the groups that it is compiled with, in upstream's order.
    pub groups: &'static [&'static str],
}

/// The variants of one architecture.
#[derive(Debug)]
pub struct Table {
    /// Features that every variant needs, because the architecture's compilers use them without being asked.
    pub base: &'static [&'static str],
    /// The groups that the variants name.
    pub groups: &'static [Group],
    /// The variants, in upstream's order.
    pub variants: &'static [Variant],
}

const fn group(name: &'static str, score: u32, features: &'static [&'static str]) -> Group {
    Group { name, score, features }
}

macro_rules! variants {
    ($($name:literal: $($group:ident)*;)*) => {
        &[$(Variant { name: $name, groups: &[$(stringify!($group)),*] }),*]
    };
}

/// Linux on x86-64.
pub const X86_64: Table = Table {
    base: &["sse2"],
    groups: &[
        group("SSE42", 1 << 2, &["pni", "ssse3", "sse4_1", "sse4_2", "popcnt"]),
        group("AVX", 1 << 4, &["avx"]),
        group("F16C", 1 << 1, &["f16c"]),
        group("FMA", 1, &["fma"]),
        group("AVX2", 1 << 5, &["avx2"]),
        group("BMI2", 1 << 3, &["bmi2"]),
        group("AVX512", 1 << 7, &["avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"]),
        group("AVX512_VBMI", 1 << 8, &["avx512vbmi"]),
        group("AVX512_VNNI", 1 << 10, &["avx512_vnni"]),
        group("AVX512_BF16", 1 << 9, &["avx512_bf16"]),
        group("AVX_VNNI", 1 << 6, &["avx_vnni"]),
        group("AMX_TILE", 0, &["amx_tile"]),
        group("AMX_INT8", 1 << 11, &["amx_int8"]),
    ],
    variants: variants! {
        "x64": ;
        "sse42": SSE42;
        "sandybridge": SSE42 AVX;
        "ivybridge": SSE42 AVX F16C;
        "piledriver": SSE42 AVX F16C FMA;
        "haswell": SSE42 AVX F16C FMA AVX2 BMI2;
        "skylakex": SSE42 AVX F16C FMA AVX2 BMI2 AVX512;
        "cannonlake": SSE42 AVX F16C FMA AVX2 BMI2 AVX512 AVX512_VBMI;
        "cascadelake": SSE42 AVX F16C FMA AVX2 BMI2 AVX512 AVX512_VNNI;
        "icelake": SSE42 AVX F16C FMA AVX2 BMI2 AVX512 AVX512_VBMI AVX512_VNNI;
        "cooperlake": SSE42 AVX F16C FMA AVX2 BMI2 AVX512 AVX512_VNNI AVX512_BF16;
        "zen4": SSE42 AVX F16C FMA AVX2 BMI2 AVX512 AVX512_VBMI AVX512_VNNI AVX512_BF16;
        "alderlake": SSE42 AVX F16C FMA AVX2 BMI2 AVX_VNNI;
        "sapphirerapids": SSE42 AVX F16C FMA AVX2 BMI2 AVX512 AVX512_VBMI AVX512_VNNI AVX512_BF16 AMX_TILE AMX_INT8;
    },
};

/// Linux on 64-bit Arm. What the kernel lists it also enables, so nothing is ever disabled by the system here.
pub const AARCH64: Table = Table {
    base: &["asimd"],
    groups: &[
        group("DOTPROD", 1 << 1, &["asimddp"]),
        group("FP16_VECTOR_ARITHMETIC", 1 << 2, &["fphp", "asimdhp"]),
        group("SVE", 1 << 3, &["sve"]),
        group("MATMUL_INT8", 1 << 4, &["i8mm"]),
        group("SVE2", 1 << 5, &["sve2"]),
        group("SME", 1 << 6, &["sme"]),
    ],
    variants: variants! {
        "armv8.0_1": ;
        "armv8.2_1": DOTPROD;
        "armv8.2_2": DOTPROD FP16_VECTOR_ARITHMETIC;
        "armv8.2_3": DOTPROD FP16_VECTOR_ARITHMETIC SVE;
        "armv8.6_1": DOTPROD FP16_VECTOR_ARITHMETIC SVE MATMUL_INT8;
        "armv8.6_2": DOTPROD FP16_VECTOR_ARITHMETIC SVE MATMUL_INT8 SVE2;
        "armv9.2_1": DOTPROD FP16_VECTOR_ARITHMETIC SVE MATMUL_INT8 SME;
        "armv9.2_2": DOTPROD FP16_VECTOR_ARITHMETIC SVE MATMUL_INT8 SVE2 SME;
    },
};

impl Table {
    /// The table that has variants of these names; x86-64's when none does.
    fn of<S: AsRef<str>>(names: &[S]) -> &'static Table {
        let is_arm = names.iter().any(|name| AARCH64.variants.iter().any(|known| known.name == name.as_ref()));
        if is_arm { &AARCH64 } else { &X86_64 }
    }

    fn groups_of(&self, variant: &Variant) -> impl Iterator<Item = &Group> {
        variant.groups.iter().filter_map(|name| self.groups.iter().find(|group| group.name == *name))
    }

    /// Upstream's score of a variant on a machine that has all of its features.
    pub fn score(&self, variant: &Variant) -> u32 {
        1 + self.groups_of(variant).map(|group| group.score).sum::<u32>()
    }

    /// Every feature that a variant needs, as `/proc/cpuinfo` spells them.
    pub fn features(&self, variant: &Variant) -> Vec<&'static str> {
        let groups = self.groups_of(variant).flat_map(|group| group.features);
        self.base.iter().chain(groups).copied().collect()
    }

    /// Why a CPU cannot run a variant; `None` when it can.
    fn obstacle(&self, variant: &Variant, cpu: &Cpu) -> Option<Verdict> {
        let unusable = self.features(variant).into_iter().filter(|feature| !cpu.has(feature));
        let (disabled, missing): (Vec<String>, Vec<String>) =
            unusable.map(str::to_owned).partition(|feature| cpu.disabled_by_os.contains(feature));
        match (missing.is_empty(), disabled.is_empty()) {
            (false, _) => Some(Verdict::Missing { features: missing }),
            (true, false) => Some(Verdict::OsDisabled { features: disabled }),
            (true, true) => None,
        }
    }
}

/// What became of a variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// It runs.
    Taken,
    /// It could run, and a better one does.
    Outscored {
        /// The one that is taken.
        by: String,
    },
    /// The CPU lacks these features.
    Missing {
        /// As `/proc/cpuinfo` spells them.
        features: Vec<String>,
    },
    /// The CPU has all features, but the operating system does not enable these.
    OsDisabled {
        /// As `/proc/cpuinfo` spells them.
        features: Vec<String>,
    },
    /// The build does not have it.
    NotInBuild,
    /// It could run, and another one is forced.
    ForcedAway,
    /// The build has it, and we do not know what it needs.
    Unknown,
}

/// A variant, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// ggml's name.
    pub name: String,
    /// What became of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Which variant runs, and why no other does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The variant that runs; `None` when none can, or when the forced one cannot.
    pub taken: Option<String>,
    /// The variant that was asked for.
    pub forced: Option<String>,
    /// Every known variant of the architecture in upstream's order, then unknown ones of the build.
    pub reasons: Vec<Reason>,
}

/// Chooses among the variants of a build, as its loader does.
///
/// `available` are the names of the variants that the build has, `forced` is the value of [`FORCE`]; empty means none.
pub fn choose<S: AsRef<str>>(cpu: &Cpu, available: &[S], forced: Option<&str>) -> Choice {
    let table = Table::of(available);
    let forced = forced.filter(|name| !name.is_empty());
    let in_build = |name: &str| available.iter().any(|other| other.as_ref() == name);
    let obstacle = |variant: &Variant| {
        if in_build(variant.name) { table.obstacle(variant, cpu) } else { Some(Verdict::NotInBuild) }
    };
    let runnable = table.variants.iter().filter(|variant| obstacle(variant).is_none());
    let taken = match forced {
        Some(forced) => runnable.into_iter().find(|variant| variant.name == forced),
        None => runnable.max_by_key(|variant| table.score(variant)),
    };
    let verdict = |variant: &Variant| match (obstacle(variant), taken) {
        (Some(obstacle), _) => obstacle,
        (None, Some(taken)) if taken.name == variant.name => Verdict::Taken,
        (None, Some(taken)) if forced.is_none() => Verdict::Outscored { by: taken.name.to_owned() },
        (None, _) => Verdict::ForcedAway,
    };
    let known =
        table.variants.iter().map(|variant| Reason { name: variant.name.to_owned(), verdict: verdict(variant) });
    let is_known = |name: &str| table.variants.iter().any(|variant| variant.name == name);
    let unknown = available.iter().map(AsRef::as_ref).filter(|name| !is_known(name));
    let unknown = unknown.map(|name| Reason { name: name.to_owned(), verdict: Verdict::Unknown });
    Choice {
        taken: taken.map(|variant| variant.name.to_owned()),
        forced: forced.map(str::to_owned),
        reasons: known.chain(unknown).collect(),
    }
}

impl Choice {
    /// The variant that runs.
    ///
    /// # Errors
    /// [`codes::VARIANT_UNAVAILABLE`] when none does, saying what is missing.
    pub fn taken(&self) -> Result<&str> {
        match (&self.taken, &self.forced) {
            (Some(taken), _) => Ok(taken),
            (None, Some(forced)) => Err(self.refusal(forced)),
            (None, None) => {
                Err(Error::new(codes::VARIANT_UNAVAILABLE, "this machine can run no CPU variant of this build"))
            }
        }
    }

    /// The names of the variants that could run here, in upstream's order.
    pub fn runnable(&self) -> impl Iterator<Item = &str> {
        let runs =
            |verdict: &Verdict| matches!(verdict, Verdict::Taken | Verdict::Outscored { .. } | Verdict::ForcedAway);
        self.reasons.iter().filter(move |reason| runs(&reason.verdict)).map(|reason| reason.name.as_str())
    }

    fn refusal(&self, forced: &str) -> Error {
        let verdict = self.reasons.iter().find(|reason| reason.name == forced).map(|reason| &reason.verdict);
        let why = match verdict {
            Some(Verdict::Missing { features }) => format!("cannot run here: the CPU lacks {}", quoted(features)),
            Some(Verdict::OsDisabled { features }) => {
                format!("cannot run here: the operating system does not enable {}", quoted(features))
            }
            Some(Verdict::Unknown) => "is not known to this version".to_owned(),
            _ => "is not in this build".to_owned(),
        };
        let names: Vec<&str> = self.runnable().collect();
        let error = Error::new(codes::VARIANT_UNAVAILABLE, format!("CPU variant `{forced}` {why}"));
        if names.is_empty() { error } else { error.hint(format!("what can run here: {}", quoted(&names))) }
    }
}

fn quoted<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

//! The portable kind: one CPU backend per instruction-set level, chosen when it starts, and the same bytes from every
//! machine.
//!
//! Hermetic: the compiler, its C library headers and its C++ library are one pinned wheel (zig), CMake and ninja are two
//! more, and nothing of the system is looked at. Paths are mapped away, time stamps are not used, and what else would
//! differ between machines lies in debug information, which is stripped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::driver;
use crate::plan::{CompilePlan, Wrapper};
use crate::product::TOOLS;
use crate::toolchain::Hermetic;

/// The oldest glibc that a portable build may ask for. Debian 10, RHEL 8 and Ubuntu 20.04 have it.
pub const GLIBC_FLOOR: &str = "2.28";

/// One of ggml's CPU backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// ggml's name for it.
    pub name: &'static str,
    /// The options that it is compiled with, without `GGML_`; what a processor must have to run it.
    pub features: &'static [&'static str],
}

macro_rules! variants {
    ($($name:literal: $($feature:ident)*;)*) => {
        &[$(Variant { name: $name, features: &[$(stringify!($feature)),*] }),*]
    };
}

/// ggml's CPU backends on Linux, as upstream's `ggml/src/CMakeLists.txt` lists them at our pin.
#[cfg(not(target_arch = "aarch64"))]
pub const VARIANTS: &[Variant] = variants! {
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
    "sapphirerapids":
        SSE42 AVX F16C FMA AVX2 BMI2 AVX512 AVX512_VBMI AVX512_VNNI AVX512_BF16 AMX_TILE AMX_INT8;
};

/// ggml's CPU backends on Linux, as upstream's `ggml/src/CMakeLists.txt` lists them at our pin.
#[cfg(target_arch = "aarch64")]
pub const VARIANTS: &[Variant] = variants! {
    "armv8.0_1": ;
    "armv8.2_1": DOTPROD;
    "armv8.2_2": DOTPROD FP16_VECTOR_ARITHMETIC;
    "armv8.2_3": DOTPROD FP16_VECTOR_ARITHMETIC SVE;
    "armv8.6_1": DOTPROD FP16_VECTOR_ARITHMETIC SVE MATMUL_INT8;
    "armv8.6_2": DOTPROD FP16_VECTOR_ARITHMETIC SVE MATMUL_INT8 SVE2;
    "armv9.2_1": DOTPROD FP16_VECTOR_ARITHMETIC SVE MATMUL_INT8 SME;
    "armv9.2_2": DOTPROD FP16_VECTOR_ARITHMETIC SVE MATMUL_INT8 SVE2 SME;
};

/// The names of all variants.
pub fn variant_names() -> impl Iterator<Item = &'static str> {
    VARIANTS.iter().map(|variant| variant.name)
}

/// The file name of a CPU backend.
pub fn backend(variant: &str) -> String {
    format!("libggml-cpu-{variant}.so")
}

/// What is built of a configured tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Every variant and every tool.
    Whole,
    /// ggml, two variants and one tool: little enough to be built again and compared in every test run.
    Sample,
}

impl Part {
    fn target(self) -> &'static str {
        match self {
            Part::Whole => "caravan",
            Part::Sample => "caravan-sample",
        }
    }

    /// The variants in it.
    pub fn variants(self) -> impl Iterator<Item = &'static Variant> {
        let sample: &[&str] =
            if cfg!(target_arch = "aarch64") { &["armv8.0_1", "armv8.6_1"] } else { &["x64", "haswell"] };
        VARIANTS.iter().filter(move |variant| self == Part::Whole || sample.contains(&variant.name))
    }

    /// Names of [`TOOLS`].
    pub fn tools(self) -> Vec<&'static str> {
        match self {
            Part::Whole => TOOLS.iter().map(|tool| tool.name).collect(),
            Part::Sample => vec!["llama-quantize"],
        }
    }

    /// Where the tools of this part and their library are after a build.
    pub fn tools_dir(self, plan: &CompilePlan) -> PathBuf {
        plan.cmake_dir().join(match self {
            Part::Whole => "image",
            Part::Sample => "sample",
        })
    }
}

/// Whether debug files are made of a build. What is shipped is the same without, and a sixth of the compile time is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Debug {
    /// With line tables, for the backtraces of those who fetch the debug files.
    Lines,
    /// Without.
    None,
}

/// Where things are, and what the source is.
#[derive(Debug, Clone)]
pub struct Locations {
    /// The patched source tree, with the web page in it if there is to be one.
    pub source: PathBuf,
    /// Git tree id, patch digests and the digest of the web page.
    pub source_id: String,
    /// The upstream commit, 40 hex digits.
    pub commit: String,
    /// Where to build.
    pub build_dir: PathBuf,
}

/// Upstream's instruction-set switches. Each variant sets its own; that none is on besides must be said, because their
/// defaults depend on the environment.
const ISA_OPTIONS: &[&str] = &[
    "GGML_AMX_BF16",
    "GGML_AMX_INT8",
    "GGML_AMX_TILE",
    "GGML_AVX",
    "GGML_AVX2",
    "GGML_AVX512",
    "GGML_AVX512_BF16",
    "GGML_AVX512_VBMI",
    "GGML_AVX512_VNNI",
    "GGML_AVX_VNNI",
    "GGML_BMI2",
    "GGML_F16C",
    "GGML_FMA",
    "GGML_SSE42",
];

/// The plan for a portable build.
pub fn plan(part: Part, jobs: usize, debug: Debug, toolchain: &Hermetic, at: &Locations) -> CompilePlan {
    let made_with = format!(
        "zig {}, cmake {}, ninja {}, for {}",
        toolchain.zig.version,
        toolchain.cmake.version,
        toolchain.ninja.version,
        target()
    );
    let flags = isa_flags().join(" ");
    let on = |text: &str| (text.to_owned(), "ON".to_owned());
    let off = |text: &str| (text.to_owned(), "OFF".to_owned());
    let mut definitions: BTreeMap<String, String> = [
        "GGML_BACKEND_DL",
        "GGML_CPU_ALL_VARIANTS",
        "GGML_CPU_REPACK",
        // llama.cpp turns it on when it adds ggml; we add ggml first. Without, prompts ran at 0.43x (F16) and 0.66x (Q8_0)
        // of a native build.
        "GGML_LLAMAFILE",
        "LLAMA_BUILD_COMMON",
        "LLAMA_BUILD_SERVER",
        "LLAMA_BUILD_TOOLS",
    ]
    .map(on)
    .into_iter()
    .chain(ISA_OPTIONS.iter().copied().map(off))
    .chain(
        [
            // zig does not write the linker's dependencies down.
            "CMAKE_CXX_LINKER_DEPFILE_SUPPORTED",
            "CMAKE_C_LINKER_DEPFILE_SUPPORTED",
            "CMAKE_INTERPROCEDURAL_OPTIMIZATION",
            "GGML_BLAS",
            "GGML_CCACHE",
            "GGML_LTO",
            "GGML_NATIVE",
            // zig has no OpenMP; ggml's own threads are as fast.
            "GGML_OPENMP",
            "LLAMA_BUILD_APP",
            "LLAMA_BUILD_EXAMPLES",
            "LLAMA_BUILD_TESTS",
            // The page lies in the source tree, built by us, or there is none.
            "LLAMA_BUILD_UI",
            "LLAMA_OPENSSL",
            "LLAMA_USE_PREBUILT_UI",
        ]
        .map(off),
    )
    .collect();
    let backends = |part: Part| part.variants().map(|variant| format!("ggml-cpu-{}", variant.name)).collect::<Vec<_>>();
    let sample = [vec![Part::Sample.tools()[0].to_owned()], backends(Part::Sample)].concat();
    definitions.extend(
        [
            ("CARAVAN_BACKENDS", backends(Part::Whole).join(";")),
            ("CARAVAN_SAMPLE", sample.join(";")),
            ("CARAVAN_TOOLS", Part::Whole.tools().join(";")),
            ("CMAKE_BUILD_TYPE", "Release".to_owned()),
            ("CMAKE_CXX_FLAGS", flags.clone()),
            ("CMAKE_C_FLAGS", flags),
            ("LLAMA_BUILD_COMMIT", at.commit[..8].to_owned()),
            ("LLAMA_BUILD_NUMBER", "0".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    // Other compilers to CMake, which then builds anew. It is no definition, since build info records those.
    let (wrappers, debug) = match debug {
        Debug::Lines => ("toolchain", "-gline-tables-only"),
        Debug::None => ("toolchain-without-debug", "-g0"),
    };
    let wrappers = at.build_dir.join(wrappers);
    CompilePlan {
        kind: "portable".to_owned(),
        project_id: driver::project_id("portable"),
        target: part.target().to_owned(),
        source: at.source.clone(),
        source_id: at.source_id.clone(),
        made_with,
        build_dir: at.build_dir.clone(),
        cmake: toolchain.cmake.path.clone(),
        ninja: toolchain.ninja.path.clone(),
        c_compiler: wrappers.join("cc"),
        cxx_compiler: wrappers.join("c++"),
        wrappers: zig_wrappers(&toolchain.zig.path, &wrappers, debug, at),
        jobs,
        definitions,
        required_flags: isa_flags().into_iter().map(str::to_owned).collect(),
    }
}

/// The target triple, as zig spells it; with the glibc version it means headers and stubs of that version.
pub fn target() -> String {
    format!("{}-linux-gnu.{GLIBC_FLOOR}", std::env::consts::ARCH)
}

/// zig's clang takes AVX-512 code only with this flag, and does not mind it elsewhere.
fn isa_flags() -> Vec<&'static str> {
    if cfg!(target_arch = "x86_64") { vec!["-mevex512"] } else { Vec::new() }
}

/// zig is one program with sub-commands and CMake wants one path per tool.
fn zig_wrappers(zig: &Path, dir: &Path, debug: &str, at: &Locations) -> Vec<Wrapper> {
    let zig = quoted(zig);
    // zig keeps every object that it compiles; below the build directory it goes when that goes.
    let cache = quoted(&at.build_dir.join("zig"));
    // `__FILE__` stands in every assertion. Outermost last: the last map that fits is taken.
    let map = |from: &Path, to: &str| format!("-ffile-prefix-map={}={to}", from.display());
    let maps =
        [map(&at.build_dir.join("build"), "build"), map(&at.source, "llama.cpp")].map(|map| quoted(Path::new(&map)));
    let compiler = |command: &str| format!("{command} -target {} {debug} {}", target(), maps.join(" "));
    let tools =
        [("cc", compiler("cc")), ("c++", compiler("c++")), ("ar", "ar".to_owned()), ("ranlib", "ranlib".to_owned())];
    let wrapper = |(name, command)| Wrapper {
        path: dir.join(name),
        text: format!(
            "#!/bin/sh\nexport ZIG_GLOBAL_CACHE_DIR={cache} ZIG_LOCAL_CACHE_DIR={cache}\nexec {zig} {command} \"$@\"\n"
        ),
    };
    let linker = Wrapper { path: dir.join(RUST_LINKER), text: rust_linker(&dir.join("cc")) };
    tools.into_iter().map(wrapper).chain([linker]).collect()
}

/// The wrapper that links what rustc has compiled.
pub const RUST_LINKER: &str = "rust-linker";

/// rustc names gcc's own libraries; zig brings the same under other names.
fn rust_linker(cc: &Path) -> String {
    format!(
        "#!/bin/sh\n\
         for word do\n  \
           shift\n  \
           case \"$word\" in\n    \
             -lgcc_s) set -- \"$@\" -lunwind ;;\n    \
             -lgcc | -lgcc_eh) ;;\n    \
             *) set -- \"$@\" \"$word\" ;;\n  \
           esac\n\
         done\n\
         exec {} \"$@\"\n",
        quoted(cc)
    )
}

/// A word for the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::Program;

    fn plan_in(dir: &str, debug: Debug) -> CompilePlan {
        let program = |path: &str, version: &str| Program { path: path.into(), version: version.to_owned() };
        let toolchain = Hermetic {
            zig: program("/tools/it's zig", "0.15.2"),
            cmake: program("/tools/cmake", "4.4.4"),
            ninja: program("/tools/ninja", "1.13.2"),
            to_fetch: Vec::new(),
        };
        let at = Locations {
            source: format!("{dir}/source").into(),
            source_id: "tree".into(),
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
            build_dir: dir.into(),
        };
        plan(Part::Whole, 2, debug, &toolchain, &at)
    }

    #[test]
    fn what_build_info_records_is_the_same_wherever_it_is_built() {
        let [here, there] = ["/t/portable", "/elsewhere/x y"].map(|dir| plan_in(dir, Debug::Lines));
        assert_eq!(here.cmake_flags(), there.cmake_flags());
        assert_eq!(here.made_with, there.made_with);
        assert_ne!(here.wrappers, there.wrappers);
    }

    #[test]
    fn debug_files_are_no_part_of_what_build_info_records_and_mixed_with_nothing() {
        let (with, without) = (plan_in("/t", Debug::Lines), plan_in("/t", Debug::None));
        assert_eq!(with.cmake_flags(), without.cmake_flags());
        assert_ne!((with.c_compiler, with.cxx_compiler), (without.c_compiler, without.cxx_compiler));
    }

    #[test]
    fn no_instruction_set_is_left_to_a_default() {
        let plan = plan_in("/t", Debug::Lines);
        for option in ISA_OPTIONS {
            assert_eq!(plan.definitions[*option], "OFF", "{option}");
        }
        for variant in VARIANTS {
            for feature in variant.features.iter().filter(|_| cfg!(target_arch = "x86_64")) {
                assert!(ISA_OPTIONS.contains(&format!("GGML_{feature}").as_str()), "{}: {feature}", variant.name);
            }
        }
        assert_eq!(plan.definitions["GGML_NATIVE"], "OFF");
        assert_eq!(plan.definitions["GGML_OPENMP"], "OFF");
    }

    #[test]
    fn compilers_are_scripts_that_map_paths_away() {
        let plan = plan_in("/a b", Debug::Lines);
        let cc = plan.wrappers.iter().find(|wrapper| wrapper.path == plan.c_compiler).unwrap();
        let target = target();
        assert_eq!(
            cc.text,
            format!(
                "#!/bin/sh\nexport ZIG_GLOBAL_CACHE_DIR='/a b/zig' ZIG_LOCAL_CACHE_DIR='/a b/zig'\n\
                 exec '/tools/it'\\''s zig' cc -target {target} -gline-tables-only '-ffile-prefix-map=/a b/build=build' \
                 '-ffile-prefix-map=/a b/source=llama.cpp' \"$@\"\n"
            )
        );
    }

    #[test]
    fn a_part_is_a_part_of_the_whole() {
        let names = |part: Part| part.variants().map(|variant| variant.name).collect::<Vec<_>>();
        assert_eq!(names(Part::Whole), variant_names().collect::<Vec<_>>());
        assert_eq!(names(Part::Sample).len(), 2);
        assert!(Part::Sample.tools().iter().all(|tool| Part::Whole.tools().contains(tool)));
    }
}

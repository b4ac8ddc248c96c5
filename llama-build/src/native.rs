//! The native kind: compiled for the CPU of this machine, and only for it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use diagnostic::{Error, Result, codes};

use crate::blas::OpenBlas;
use crate::driver;
use crate::plan::CompilePlan;
use crate::product::TOOLS;
use crate::toolchain::Toolchain;

/// What a person may choose about a native build.
#[derive(Debug, Clone)]
pub struct Options {
    /// Optimise across translation units. Measured gain at our pin: none; it costs compile time.
    pub lto: bool,
    /// Keep debug information (`-g`); the code is the same.
    pub debug_symbols: bool,
    /// Compilers that run at the same time.
    pub jobs: usize,
    /// Further CMake arguments, each `-DKEY=VALUE`.
    pub cmake_args: Vec<String>,
}

/// Where things are, and what the source is.
#[derive(Debug, Clone)]
pub struct Locations {
    /// The patched source tree.
    pub source: PathBuf,
    /// Git tree id and patch digests of the source.
    pub source_id: String,
    /// The CPU that is compiled for: model and features.
    pub cpu: String,
    /// The upstream commit, 40 hex digits.
    pub commit: String,
    /// Where to build.
    pub build_dir: PathBuf,
}

/// The plan for a native build.
///
/// # Errors
/// [`codes::FLAG_REFUSED`] for an argument that is not a definition, one that would make the build something else than
/// native, or one that gives wrong results.
pub fn plan(options: &Options, toolchain: &Toolchain, blas: Option<&OpenBlas>, at: &Locations) -> Result<CompilePlan> {
    let on_off = |on: bool| if on { "ON" } else { "OFF" }.to_owned();
    let mut definitions: BTreeMap<String, String> = [
        ("BUILD_SHARED_LIBS", on_off(true)),
        ("CMAKE_BUILD_TYPE", "Release".to_owned()),
        ("CMAKE_C_FLAGS", debug_flag(options)),
        ("CMAKE_CXX_FLAGS", debug_flag(options)),
        ("CMAKE_INTERPROCEDURAL_OPTIMIZATION", on_off(options.lto)),
        ("CARAVAN_TARGETS", TOOLS.iter().map(|tool| tool.name).collect::<Vec<_>>().join(";")),
        ("GGML_BACKEND_DL", on_off(false)),
        ("GGML_BLAS", on_off(false)),
        ("GGML_CCACHE", on_off(false)),
        ("GGML_LTO", on_off(options.lto)),
        ("GGML_NATIVE", on_off(true)),
        ("LLAMA_BUILD_APP", on_off(false)),
        ("LLAMA_BUILD_COMMIT", at.commit[..8].to_owned()),
        ("LLAMA_BUILD_COMMON", on_off(true)),
        ("LLAMA_BUILD_EXAMPLES", on_off(false)),
        ("LLAMA_BUILD_NUMBER", "0".to_owned()),
        ("LLAMA_BUILD_SERVER", on_off(true)),
        ("LLAMA_BUILD_TESTS", on_off(false)),
        ("LLAMA_BUILD_TOOLS", on_off(true)),
        ("LLAMA_BUILD_UI", on_off(false)),
        ("LLAMA_OPENSSL", on_off(toolchain.openssl.is_some())),
        // Otherwise the configuration step fetches a web page from a model hub.
        ("LLAMA_USE_PREBUILT_UI", on_off(false)),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    if let Some(ccache) = &toolchain.ccache {
        for language in ["C", "CXX"] {
            definitions.insert(format!("CMAKE_{language}_COMPILER_LAUNCHER"), ccache.path.display().to_string());
        }
    }
    if let Some(blas) = blas {
        definitions.insert("CARAVAN_BLAS_INCLUDE_DIR".to_owned(), blas.include_dir.display().to_string());
        definitions.insert("CARAVAN_BLAS_LIBRARY".to_owned(), blas.library.display().to_string());
        if let Some(header) = &blas.mapping_header {
            definitions.insert("CARAVAN_BLAS_HEADER".to_owned(), header.display().to_string());
        }
    }
    for argument in &options.cmake_args {
        let (key, value) = definition(argument)?;
        if OURS.contains(&key) || key.starts_with("CARAVAN_") {
            return Err(Error::new(codes::FLAG_REFUSED, format!("`{argument}`: `{key}` is decided by the plan"))
                .hint("compilers are named with `--cc` and `--cxx`, the source with `--source`"));
        }
        definitions.insert(key.to_owned(), value.to_owned());
    }
    refuse(&definitions)?;
    Ok(CompilePlan {
        kind: "native".to_owned(),
        project_id: driver::project_id("native"),
        target: "caravan".to_owned(),
        source: at.source.clone(),
        source_id: at.source_id.clone(),
        made_with: made_with(toolchain, &at.cpu),
        build_dir: at.build_dir.clone(),
        cmake: toolchain.cmake.path.clone(),
        ninja: toolchain.ninja.path.clone(),
        c_compiler: toolchain.c.path.clone(),
        cxx_compiler: toolchain.cxx.path.clone(),
        wrappers: Vec::new(),
        jobs: options.jobs,
        definitions,
        required_flags: vec![native_flag(std::env::consts::ARCH).to_owned()],
    })
}

/// How upstream asks the compiler for this machine: it works the name out by itself on Arm and POWER.
fn native_flag(architecture: &str) -> &'static str {
    match architecture {
        "aarch64" | "arm" | "powerpc64" => "-mcpu=",
        _ => "-march=native",
    }
}

fn made_with(toolchain: &Toolchain, cpu: &str) -> String {
    format!("cc {}, c++ {}, for {cpu}", toolchain.c.version, toolchain.cxx.version)
}

/// Definitions that hold the plan together; another value would build something that cannot be installed.
const OURS: &[&str] = &[
    "BUILD_SHARED_LIBS",
    "CMAKE_BUILD_TYPE",
    "CMAKE_CXX_COMPILER",
    "CMAKE_C_COMPILER",
    "CMAKE_MAKE_PROGRAM",
    "CMAKE_TOOLCHAIN_FILE",
    "GGML_CPU_ALL_VARIANTS",
    "LLAMA_SOURCE_DIR",
];

fn debug_flag(options: &Options) -> String {
    if options.debug_symbols { "-g".to_owned() } else { String::new() }
}

/// Splits `-DKEY=VALUE`; CMake's `-DKEY:TYPE=VALUE` is understood too.
fn definition(argument: &str) -> Result<(&str, &str)> {
    let parts = argument.strip_prefix("-D").and_then(|rest| rest.split_once('='));
    let is_name = |key: &str| !key.is_empty() && !key.contains(char::is_whitespace);
    let Some((key, value)) = parts.filter(|(key, _)| is_name(key)) else {
        return Err(Error::new(codes::FLAG_REFUSED, format!("`{argument}` is not a cmake definition"))
            .hint("write `--cmake-arg=-DKEY=VALUE`"));
    };
    Ok((key.split(':').next().unwrap_or(key), value))
}

/// Options that CMake would take and that make the build broken, or not what its name says.
fn refuse(definitions: &BTreeMap<String, String>) -> Result<()> {
    let refused = |why: String, hint: &str| Err(Error::new(codes::FLAG_REFUSED, why).hint(hint));
    for (key, value) in definitions.iter().filter(|(key, _)| key.contains("FLAGS")) {
        let has = |flag: &str| value.split_whitespace().any(|word| word == flag);
        let fast = has("-ffast-math") || has("-Ofast");
        if fast && !has("-fno-finite-math-only") {
            return refused(
                format!(
                    "`{key}={value}`: fast math lets the compiler assume that no value is infinite, and llama.cpp masks with -INFINITY; its source stops with an error"
                ),
                "add `-fno-finite-math-only`; no gain was measured even so",
            );
        }
    }
    let is = |key: &str, value: &str| definitions.get(key).is_some_and(|found| found == value);
    if !is("GGML_NATIVE", "ON") || !is("GGML_BACKEND_DL", "OFF") {
        return refused(
            "a native build is `GGML_NATIVE=ON` with `GGML_BACKEND_DL=OFF`; upstream refuses to join native code and run-time dispatch".to_owned(),
            "leave both out of `--cmake-arg`",
        );
    }
    if !is("GGML_BLAS", "OFF") {
        return refused(
            "`GGML_BLAS` would link OpenBLAS in; here it is a plug-in".to_owned(),
            "use `--blas auto|on|off`",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::Program;

    fn toolchain() -> Toolchain {
        let program = |path: &str| Program { path: path.into(), version: "1.2.3".to_owned() };
        Toolchain {
            c: program("/usr/bin/gcc"),
            cxx: program("/usr/bin/g++"),
            cmake: program("/usr/bin/cmake"),
            ninja: program("/usr/bin/ninja"),
            ccache: None,
            openssl: None,
            to_fetch: Vec::new(),
        }
    }

    fn plan_with(cmake_args: &[&str]) -> Result<CompilePlan> {
        let options = Options {
            lto: false,
            debug_symbols: false,
            jobs: 2,
            cmake_args: cmake_args.iter().map(ToString::to_string).collect(),
        };
        let at = Locations {
            source: "/t/source".into(),
            source_id: "tree".into(),
            cpu: "Example CPU, avx2".into(),
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
            build_dir: "/t/native".into(),
        };
        plan(&options, &toolchain(), None, &at)
    }

    #[test]
    fn the_default_plan() {
        insta::assert_snapshot!(plan_with(&[]).unwrap(), @r"
        compile llama.cpp, native kind, 2 jobs
          source     /t/source
          made with  cc 1.2.3, c++ 1.2.3, for Example CPU, avx2
          build dir  /t/native
          cmake      /usr/bin/cmake
          ninja      /usr/bin/ninja
          compilers  /usr/bin/gcc, /usr/bin/g++
          -DBUILD_SHARED_LIBS=ON
          -DCARAVAN_TARGETS=llama-server;llama-cli;llama-completion;llama-bench;llama-batched-bench;llama-quantize;llama-perplexity;llama-imatrix;llama-gguf-split;llama-fit-params;llama-tokenize
          -DCMAKE_BUILD_TYPE=Release
          -DCMAKE_CXX_FLAGS=
          -DCMAKE_C_FLAGS=
          -DCMAKE_INTERPROCEDURAL_OPTIMIZATION=OFF
          -DGGML_BACKEND_DL=OFF
          -DGGML_BLAS=OFF
          -DGGML_CCACHE=OFF
          -DGGML_LTO=OFF
          -DGGML_NATIVE=ON
          -DLLAMA_BUILD_APP=OFF
          -DLLAMA_BUILD_COMMIT=01234567
          -DLLAMA_BUILD_COMMON=ON
          -DLLAMA_BUILD_EXAMPLES=OFF
          -DLLAMA_BUILD_NUMBER=0
          -DLLAMA_BUILD_SERVER=ON
          -DLLAMA_BUILD_TESTS=OFF
          -DLLAMA_BUILD_TOOLS=ON
          -DLLAMA_BUILD_UI=OFF
          -DLLAMA_OPENSSL=OFF
          -DLLAMA_USE_PREBUILT_UI=OFF
        ");
    }

    #[test]
    fn fast_math_is_refused_with_the_reason() {
        for flag in ["-DCMAKE_CXX_FLAGS=-O3 -ffast-math", "-DCMAKE_C_FLAGS_RELEASE:STRING=-Ofast"] {
            let error = plan_with(&[flag]).unwrap_err();
            assert_eq!(error.code(), codes::FLAG_REFUSED);
            assert!(error.to_string().contains("-INFINITY"), "{error}");
            assert!(error.hints()[0].contains("-fno-finite-math-only"));
        }
        let both = plan_with(&["-DCMAKE_CXX_FLAGS=-ffast-math -fno-finite-math-only"]).unwrap();
        assert_eq!(both.definitions["CMAKE_CXX_FLAGS"], "-ffast-math -fno-finite-math-only");
    }

    #[test]
    fn what_would_not_be_a_native_build_is_refused() {
        for flag in [
            "-DGGML_NATIVE=OFF",
            "-DGGML_BACKEND_DL=ON",
            "-DGGML_BLAS=ON",
            "GGML_LTO=ON",
            "-D=1",
            "-DA B=1",
            "-DLLAMA_SOURCE_DIR=/",
            "--fresh",
        ] {
            assert_eq!(plan_with(&[flag]).unwrap_err().code(), codes::FLAG_REFUSED, "{flag}");
        }
    }
}

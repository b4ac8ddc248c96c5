//! What the files of a portable build must keep to; the gate looks.

use std::env;
use std::path::PathBuf;

use elf::gate::{Forbidden, Reviewed, Rules};
use llama_build::CompilePlan;
use llama_build::portable::{GLIBC_FLOOR, Part};

use crate::workspace;

/// Functions with code that not every CPU has, which look at the CPU first.
const REVIEWED: &[Reviewed<'static>] = &[
    Reviewed {
        file: "lib/libllama.so",
        symbol: "_ZL*ma_dr_flac__*",
        isas: &["LZCNT"],
        reason: "miniaudio asks CPUID before it counts zeros of a FLAC stream with it",
    },
    Reviewed {
        file: "bin/caravan*",
        symbol: "_ZN6memchr4arch6x86_64*",
        isas: &["AVX", "AVX2"],
        reason: "the crate memchr asks CPUID on first use, and takes its SSE2 code where there is no AVX2",
    },
    Reviewed {
        file: "bin/caravan*",
        symbol: "_ZN4sha26sha2567x86_sha*",
        isas: &["SHA", "SSE4_1", "SSSE3"],
        reason: "the crate sha2 asks CPUID on first use, and computes without where there is no SHA",
    },
];

/// Places of this machine, none of which may stand in a shipped file.
pub(super) fn private_paths(plan: &CompilePlan) -> Vec<(&'static str, String)> {
    let mut paths: Vec<(&str, PathBuf)> = vec![
        ("the repository", workspace::root().to_owned()),
        ("the build directory", plan.build_dir.clone()),
        ("the source directory", plan.source.clone()),
        ("the directory of build tools", workspace::tools_dir()),
    ];
    paths.extend(env::var_os("HOME").map(|home| ("the home directory", home.into())));
    // A home directory of `/` is in every path.
    paths.retain(|(_, path)| path.components().count() > 1);
    let text = |what, path: PathBuf| match what {
        // That of root is so short that it begins innocent names, as in `probe/root.rs`.
        "the home directory" => format!("{}/", path.display().to_string().trim_end_matches('/')),
        _ => path.display().to_string(),
    };
    paths.into_iter().map(|(what, path)| (what, text(what, path))).collect()
}

/// The rules for a part, with these texts forbidden.
pub(super) fn rules<'a>(part: Part, forbidden: &'a [Forbidden<'a>]) -> Rules<'a> {
    let own_libraries = &["libllama.so", "libggml.so", "libggml-base.so"];
    // An exception for what is not there is refused.
    let reviewed = if part == Part::Whole { REVIEWED } else { &[] };
    Rules { own_libraries, reviewed, forbidden, ..Rules::llama_cpp(glibc_floor()) }
}

/// The floor as numbers.
fn glibc_floor() -> (u32, u32) {
    let (major, minor) = GLIBC_FLOOR.split_once('.').expect("the floor is a major and a minor version");
    let number = |text: &str| text.parse().expect("versions of glibc are numbers");
    (number(major), number(minor))
}

/// The forbidden texts of these paths.
pub(super) fn forbidden<'a>(private: &'a [(&'static str, String)]) -> Vec<Forbidden<'a>> {
    private.iter().map(|(what, path)| Forbidden { what, text: path.as_bytes() }).collect()
}

//! What we say about llama.cpp, compared with the pinned source that the installation has fetched.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use host::variants::{AARCH64, Table, X86_64};
use llama_build::portable::VARIANTS;

/// A file of the pristine tree.
fn source(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vendor/llama.cpp").join(path);
    fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read `{}`: {error}; run `cargo xtask vendor`", path.display()))
}

/// `ggml_add_cpu_backend_variant(name FEATURE ...)` between two lines of the file.
fn declared<'a>(cmake: &'a str, from: &str, to: &str) -> Vec<(&'a str, Vec<&'a str>)> {
    let part = cmake.split_once(from).unwrap_or_else(|| panic!("no `{from}`")).1;
    let part = part.split_once(to).unwrap_or_else(|| panic!("no `{to}`")).0;
    let calls = part.lines().filter_map(|line| line.trim().strip_prefix("ggml_add_cpu_backend_variant("));
    calls
        .map(|call| {
            let mut words = call.trim_end_matches(')').split_whitespace();
            (words.next().unwrap(), words.collect())
        })
        .collect()
}

/// What each `#ifdef GGML_<feature>` of a score function adds.
fn scores(source: &str, prefix: &str) -> BTreeMap<String, u32> {
    let function = source.split_once("_score() {").expect("a score function").1;
    let mut scores = BTreeMap::new();
    let mut feature = None;
    for line in function.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("#ifdef ") {
            feature = Some(name.strip_prefix(prefix).unwrap_or_else(|| panic!("{line}")).to_owned());
        } else if let Some(value) = line.strip_prefix("score += ") {
            let value = value.trim_end_matches(';');
            let bit = value.strip_prefix("1<<").map_or(0, |bit| bit.parse::<u32>().unwrap());
            assert!(value == "1" || value.starts_with("1<<"), "{line}");
            scores.insert(feature.take().expect("a feature before its score"), 1 << bit);
        }
    }
    scores
}

fn ours(table: &'static Table) -> Vec<(&'static str, Vec<&'static str>)> {
    table.variants.iter().map(|variant| (variant.name, variant.groups.to_vec())).collect()
}

fn our_scores(table: &'static Table) -> BTreeMap<String, u32> {
    let counted = table.groups.iter().filter(|group| group.score > 0);
    counted.map(|group| (group.name.to_owned(), group.score)).collect()
}

#[test]
fn our_table_of_variants_is_upstreams() {
    let cmake = source("ggml/src/CMakeLists.txt");
    let all_variants = cmake.split_once("if (GGML_CPU_ALL_VARIANTS)").expect("the option").1;
    let x86 = r#"if (GGML_SYSTEM_ARCH STREQUAL "x86")"#;
    let arm = r#"elseif(GGML_SYSTEM_ARCH STREQUAL "ARM")"#;
    assert_eq!(declared(all_variants, x86, arm), ours(&X86_64));
    // And what a portable build is made of.
    if cfg!(target_arch = "x86_64") {
        let built: Vec<_> = VARIANTS.iter().map(|variant| (variant.name, variant.features.to_vec())).collect();
        assert_eq!(built, declared(all_variants, x86, arm));
    }
    let linux = r#"if (CMAKE_SYSTEM_NAME MATCHES "Linux")"#;
    let all_arm = all_variants.split_once(arm).unwrap().1;
    assert_eq!(declared(all_arm, linux, "elseif"), ours(&AARCH64));

    let arch = "ggml/src/ggml-cpu/arch";
    assert_eq!(scores(&source(&format!("{arch}/x86/cpu-feats.cpp")), "GGML_"), our_scores(&X86_64));
    assert_eq!(scores(&source(&format!("{arch}/arm/cpu-feats.cpp")), "GGML_USE_"), our_scores(&AARCH64));
}

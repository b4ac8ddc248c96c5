//! The rules of the repository, as tests.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Licences that our own, MIT OR Apache-2.0, can stand beside in a binary.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// What git ignores, and git's own.
const NOT_OURS: &[&str] = &[".git", ".local", "dist", "target", "vendor/llama.cpp"];

/// Every file of the repository; found without git, which a source archive does not need.
fn files() -> Vec<PathBuf> {
    fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if NOT_OURS.iter().any(|name| path == root().join(name)) {
                continue;
            }
            if path.is_dir() {
                walk(&path, files);
            } else {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(root(), &mut files);
    assert!(files.len() > 50, "only {} files", files.len());
    files
}

fn rust_files() -> impl Iterator<Item = (PathBuf, String)> {
    files().into_iter().filter(|file| file.extension().is_some_and(|ending| ending == "rs")).map(|file| {
        let text = fs::read_to_string(&file).unwrap();
        (file, text)
    })
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<_> = rust_files().filter(|(_, text)| !text.starts_with("//! ")).map(|(file, _)| file).collect();
    assert!(silent.is_empty(), "no module documentation: {silent:?}");
}

/// Those that call C.
const UNSAFE: [&str; 2] = ["llama/src/lib.rs", "llama-sys/src/lib.rs"];

#[test]
fn unsafe_code_is_forbidden_in_every_crate_but_those_that_call_c() {
    for (file, text) in rust_files() {
        let is_root = file.ends_with("src/lib.rs") || file.ends_with("src/main.rs");
        if is_root && !UNSAFE.iter().any(|name| file == root().join(name)) {
            assert!(text.contains("#![forbid(unsafe_code)]"), "`{}` does not forbid unsafe code", file.display());
        }
    }
}

#[test]
fn nothing_is_left_to_do() {
    // In two parts, so that this file does not find itself.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    for (file, text) in rust_files() {
        for (number, line) in text.lines().enumerate() {
            let found = words.iter().find(|word| line.contains(*word));
            assert!(found.is_none(), "{}:{}: {line}", file.display(), number + 1);
        }
    }
}

#[test]
fn lines_end_where_their_text_ends() {
    for file in files() {
        // A patch keeps the context lines of upstream's files, an empty one is a space.
        if file.extension().is_some_and(|ending| ending == "patch") {
            continue;
        }
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for (number, line) in text.lines().enumerate() {
            assert_eq!(line, line.trim_end(), "trailing space at {}:{}", file.display(), number + 1);
        }
    }
}

#[test]
fn licences_of_dependencies_are_allowed() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let rustc = String::from_utf8(rustc.stdout).unwrap();
    // Only what is compiled here: the crates of other platforms need not be there.
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let metadata = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", host])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let allowed: BTreeSet<&str> = LICENCES.iter().copied().collect();
    for package in metadata["packages"].as_array().unwrap() {
        let licence = package["license"].as_str().unwrap_or("none stated").replace('/', " OR ");
        let fits = licence.split(" OR ").any(|choice| {
            choice
                .trim_matches(['(', ')', ' '])
                .split(" AND ")
                .all(|part| allowed.contains(part.trim_matches(['(', ')', ' '])))
        });
        assert!(fits, "`{}` is licensed under {licence}", package["name"]);
    }
}

#[test]
fn actions_are_pinned_by_commit_with_the_version_beside_it() {
    let mut pins = BTreeSet::new();
    for file in files().iter().filter(|file| file.parent().is_some_and(|dir| dir.ends_with(".github/workflows"))) {
        let text = fs::read_to_string(file).unwrap();
        for uses in text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("uses: ")) {
            if uses.starts_with("./") {
                continue;
            }
            let (action, pin) = uses.split_once('@').unwrap();
            let (commit, version) = pin.split_once(" # v").unwrap_or((pin, ""));
            let is_commit = commit.len() == 40 && commit.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            let is_version = version.split('.').filter(|part| part.parse::<u32>().is_ok()).count() == 3;
            assert!(is_commit && is_version, "`{}`: {uses}", file.display());
            pins.insert((action.to_owned(), commit.to_owned(), version.to_owned()));
        }
    }
    let actions: BTreeSet<_> = pins.iter().map(|(action, ..)| action).collect();
    assert_eq!(actions.len(), pins.len(), "an action is pinned twice: {pins:?}");
    assert!(actions.len() >= 4, "{actions:?}");
}

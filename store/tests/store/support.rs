//! A store in a temporary directory, and builds whose tools are shell scripts.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use build_info::{BuildId, BuildInfo};
use diagnostic::Result;
use store::{Receipt, Smoke, SmokePlan, Staging, Store, Writer};
use tempfile::TempDir;

/// The one tool of every test build; it prints the build's name.
pub(crate) const TOOL: &str = "llama-server";

/// A store that is removed at the end of the test.
pub(crate) struct Home {
    pub(crate) directory: TempDir,
    pub(crate) store: Store,
}

pub(crate) fn home() -> Home {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::at(directory.path().join(".local"));
    Home { directory, store }
}

pub(crate) fn writer(store: &Store) -> Writer<'_> {
    store.lock(|_| panic!("nobody else holds the lock")).unwrap()
}

/// Installs and activates a build whose tool prints `name`.
pub(crate) fn install(store: &Store, name: &str) -> BuildId {
    try_install(&writer(store), name).unwrap().activation.to
}

pub(crate) fn try_install(writer: &Writer, name: &str) -> Result<Receipt> {
    let staging = writer.stage()?;
    fill(&staging, name);
    writer.commit(staging, info(), &smoke())
}

/// The files of a build: a tool that reads a library, the library under two names, a licence.
pub(crate) fn fill(staging: &Staging, name: &str) {
    script(&staging.bin().join(TOOL), r#"cat "$(dirname "$0")/../lib/libname.so""#);
    fs::write(staging.lib().join("libname.so.1"), format!("{name}\n")).unwrap();
    symlink("libname.so.1", staging.lib().join("libname.so")).unwrap();
    fs::write(staging.share().join("LICENSE"), "MIT\n").unwrap();
}

/// Writes an executable shell script. A child writes it: while another thread of ours forks, a file that we hold open
/// for writing cannot be executed.
pub(crate) fn script(path: &Path, body: &str) {
    let write = r#"printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod 755 "$1""#;
    let done = Command::new("sh").args(["-c", write, "sh"]).arg(path).arg(body).status().unwrap();
    assert!(done.success());
}

pub(crate) fn smoke() -> SmokePlan {
    SmokePlan { tools: vec![Smoke::new(TOOL, &["--version"], &[0])], timeout: Duration::from_secs(60) }
}

/// What a build script would know; the store adds the digests.
pub(crate) fn info() -> BuildInfo {
    let json = br#"{
        "schema_version": 1, "build_type": "native_optimized", "date": "2026-10-02T08:30:00Z", "hostname": "oak",
        "cpu_model": "a CPU", "cpu_flags": ["avx2"], "cmake_flags": ["-DGGML_NATIVE=ON"], "llama_version": "0.5.0",
        "llama_commit": "0c1e57098bba43ac29e6e3b677cdceebdd22334f",
        "llama_tree": "b2da53584951ec8aa40680229509a6646a637560", "patches": [], "compiler": "gcc 12.2.0",
        "reproducible": false, "optimal_threads": 2, "variants": [],
        "blas": { "enabled": false, "reason": "not measured" }, "lto": false
    }"#;
    BuildInfo::from_json(json, Path::new("support.rs")).unwrap()
}

/// What the active build's tool says, run by the path that a person has in `PATH`.
pub(crate) fn active_says(store: &Store) -> String {
    says(&store.bin().join(TOOL))
}

pub(crate) fn says(tool: &Path) -> String {
    let output = Command::new(tool).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Names in a directory, sorted; hidden ones too.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What every failure must leave: the active build, intact and running, and no other one.
#[track_caller]
pub(crate) fn assert_only_works(store: &Store, id: &BuildId, name: &str) {
    assert_eq!(store.active().unwrap().as_ref(), Some(id));
    assert!(store.verify(id).unwrap().is_intact());
    assert_eq!(active_says(store), name);
    assert_eq!(names(&store.builds()), [id.to_string()]);
}

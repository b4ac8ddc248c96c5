//! A fuzzing engine against the reader of GGUF headers: for a moment in `test`, for ten million inputs in `test --full`.
//!
//! The engine is libFuzzer, compiled from the sources in the crate `libfuzzer-sys`; a stable toolchain and a C++ compiler
//! suffice. What it found lies in `target/fuzz/corpus`, and is where the next run begins.

use std::fs;
use std::path::Path;

use diagnostic::{Error, Result};
use xshell::{Shell, cmd};

use super::{Setting, cargo, failed};
use crate::workspace;

const WHAT: &str = "fuzzing";

/// Writes seeds, compiles the target with instrumentation, and runs it.
///
/// # Errors
/// It does not compile; an input broke what must hold, which lies in `target/fuzz` then.
pub(super) fn run(setting: &Setting) -> Result<()> {
    let dir = workspace::target_dir().join("fuzz");
    let (corpus, seeds) = (dir.join("corpus"), dir.join("seeds"));
    fs::create_dir_all(&corpus).map_err(|error| Error::io("cannot create", &corpus, error))?;
    let seeds_text = seeds.to_string_lossy();
    cargo(WHAT, &["run", "--quiet", "--package", "gguf", "--example", "fuzz_seeds", "--", &seeds_text], &[])?;
    // Whichever comes first: a slow machine is not to wait for minutes.
    let until: &[&str] = if setting.full { &["-runs=10000000"] } else { &["-runs=300000", "-max_total_time=20"] };
    fuzz(&dir, &corpus, &seeds, until)
}

fn fuzz(dir: &Path, corpus: &Path, seeds: &Path, until: &[&str]) -> Result<()> {
    let broken = |why: &str| {
        failed(WHAT, why).hint(format!(
            "the input lies in `{}`; run it again with `cargo run --release --bin reader -- INPUT` in `gguf/fuzz`, and \
             make it a test in `gguf/tests/it`",
            workspace::short(dir)
        ))
    };
    let shell = Shell::new().map_err(|error| failed(WHAT, &error.to_string()))?;
    // The flags of the instrumentation lie in `.cargo/config.toml` there.
    shell.change_dir(workspace::root().join("gguf/fuzz"));
    let (program, target) = (workspace::cargo(), workspace::target_dir().join("fuzz"));
    let artifacts = format!("-artifact_prefix={}/", dir.display());
    let bounds = ["-max_len=4096", "-timeout=10", "-rss_limit_mb=1024", "-verbosity=0", "-print_final_stats=1"];
    cmd!(shell, "{program} run --release --quiet --bin reader -- {corpus} {seeds} {artifacts} {bounds...} {until...}")
        .env("CARGO_TARGET_DIR", target)
        // It would take the place of those flags.
        .env_remove("RUSTFLAGS")
        .quiet()
        .run()
        .or_else(|error| {
            process::interrupt::check()?;
            Err(broken(&error.to_string()))
        })
}

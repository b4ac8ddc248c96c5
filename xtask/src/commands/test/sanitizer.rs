//! The tests of the crate `llama` against a llama.cpp that checks every access to memory.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use diagnostic::Result;
use host::Host;
use llama_build::CompilePlan;
use llama_build::native::{self, Locations, Options};
use llama_build::toolchain::{self, Wishes};

use super::{Setting, cargo, failed};
use crate::{compile, machine, source, workspace};

const WHAT: &str = "address sanitizer";
const TOOL: &str = "llama-completion";

/// Compiles llama.cpp with the sanitizer, and runs the tests with it.
///
/// # Errors
/// It does not compile; the compiler has no sanitizer; a test fails.
pub(super) fn run(setting: &Setting) -> Result<()> {
    let host = Host::probe();
    let vendor = source::plan(None)?;
    let wishes = Wishes { cc: None, cxx: None, tools_dir: setting.home.join("cache/tools"), may_fetch: true };
    let toolchain = toolchain::probe(&wishes)?;
    toolchain::fetch(&toolchain.to_fetch, &setting.home.join("cache/tools"), &mut crate::ui::note)?;
    let options = Options {
        lto: false,
        debug_symbols: true,
        jobs: machine::default_jobs(&host),
        cmake_args: ["-DLLAMA_SANITIZE_ADDRESS=ON", "-DGGML_SANITIZE_ADDRESS=ON", "-DGGML_OPENMP=OFF"]
            .map(str::to_owned)
            .into(),
    };
    let dir = workspace::llama_target_dir().join("sanitized");
    let plan = {
        let _building = compile::lock()?;
        let source = source::prepare(&vendor, &dir.join("source"))?;
        let at = Locations {
            source: source.dir.clone(),
            source_id: source.id(),
            cpu: host.cpu.features.join(" "),
            commit: source.commit.clone(),
            build_dir: dir.join("build"),
        };
        // Of the tools, only the one that the tests compare with; llama.cpp's library comes with it.
        let all = native::plan(&options, &toolchain, None, &at)?;
        let plan = CompilePlan { target: TOOL.to_owned(), ..all };
        compile::native(&plan)?;
        plan
    };
    // Loaded before everything else, or the sanitizer refuses to work; for the tests alone, not for cargo and rustc.
    let runner = format!("env LD_PRELOAD={} ASAN_OPTIONS=detect_leaks=0", library()?.display());
    let runner_name = format!("CARGO_TARGET_{}_UNKNOWN_LINUX_GNU_RUNNER", std::env::consts::ARCH.to_uppercase());
    let (runner, lib) = (PathBuf::from(runner), plan.bin_dir());
    cargo(
        WHAT,
        // Not the test of how much memory is held: the sanitizer keeps what was freed for a while.
        &["test", "--package", "llama", "--test", "it"],
        &[("LLAMA_LIB_DIR", &lib), (&runner_name, &runner)],
    )
}

/// gcc's run-time library of the sanitizer.
fn library() -> Result<PathBuf> {
    let done = process::run(Command::new("cc").arg("-print-file-name=libasan.so"), Duration::from_secs(60))?;
    let path = PathBuf::from(done.stdout.trim());
    if path.is_absolute() { Ok(path) } else { Err(failed(WHAT, "the compiler has no `libasan.so`")) }
}

//! Compiles `caravan`, the command that is part of every build, and `caravan-run`, which it becomes when it needs llama.cpp in
//! its own process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use diagnostic::{Error, Result, codes};
use llama_build::{CompilePlan, portable};

use crate::{crates, ui, workspace};

/// Packages, and file names below `bin/`.
pub(crate) const PROGRAMS: [&str; 2] = ["caravan", "caravan-run"];

/// Two minutes on two cores; an hour means that something hangs.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// The executables for a native build whose libraries are in `lib_dir`, compiled unless they are there. They are made for every
/// CPU of the architecture, unlike what they lie beside: on the wrong machine they must be able to say so.
///
/// # Errors
/// The compiler's first error; an interruption.
pub(crate) fn native(lib_dir: &Path) -> Result<Vec<PathBuf>> {
    ui::note("compiling caravan");
    let target_dir = workspace::llama_target_dir().join("cargo");
    let mut command = Command::new(workspace::cargo());
    command
        .args(["build", "--release", "--color", "never"])
        .args(PROGRAMS.iter().flat_map(|name| ["--package", name]))
        .current_dir(workspace::root())
        .arg("--target-dir")
        .arg(&target_dir)
        .env("LLAMA_LIB_DIR", lib_dir)
        // What a person sets for his own programs must not reach ours.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null());
    build(&mut command)?;
    Ok(PROGRAMS.iter().map(|name| target_dir.join("release").join(name)).collect())
}

/// The executables for a portable build that was compiled by this plan, with its `libllama.so` in `lib_dir`: linked by zig as
/// the rest of it is, and the same bytes wherever that is done by the same rustc.
///
/// # Errors
/// As [`native`].
pub(crate) fn portable(plan: &CompilePlan, lib_dir: &Path, environment: &[(&str, &str)]) -> Result<Vec<PathBuf>> {
    ui::note("compiling caravan");
    let target_dir = plan.build_dir.join("caravan");
    // Beside each other, as they will be installed: the crate that links them looks in one directory.
    let lib = target_dir.join("lib");
    fs::create_dir_all(&lib).map_err(|error| Error::io("cannot create", &lib, error))?;
    for (dir, name) in [(lib_dir, "libllama.so"), (&plan.bin_dir(), "libggml.so"), (&plan.bin_dir(), "libggml-base.so")]
    {
        fs::copy(dir.join(name), lib.join(name)).map_err(|error| Error::io("cannot copy", &dir.join(name), error))?;
    }
    let mut command = Command::new(workspace::cargo());
    command
        .args(["build", "--release", "--color", "never", "--target", &target()])
        .args(PROGRAMS.iter().flat_map(|name| ["--package", name]))
        .current_dir(workspace::root())
        .arg("--target-dir")
        .arg(&target_dir)
        .env("LLAMA_LIB_DIR", &lib)
        .envs(environment.iter().copied())
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .env("CARGO_ENCODED_RUSTFLAGS", flags(plan)?.join("\x1f"))
        .stdin(Stdio::null());
    build(&mut command)?;
    let release = target_dir.join(target()).join("release");
    Ok(PROGRAMS.iter().map(|name| release.join(name)).collect())
}

/// rustc's name of the target; zig adds the version of glibc.
pub(crate) fn target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// What has rustc link with zig and write no path of this machine.
fn flags(plan: &CompilePlan) -> Result<Vec<String>> {
    let linker = plan.c_compiler.with_file_name(portable::RUST_LINKER);
    let map = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let mut flags = vec![
        format!("-Clinker={}", linker.display()),
        // Room for a build id, as in all other files.
        "-Clink-arg=-Wl,--build-id=sha1".to_owned(),
        // Stripped by us.
        "-Cstrip=none".to_owned(),
        map(workspace::root(), "caravan"),
    ];
    flags.extend(crates::source_dirs().iter().map(|dir| map(dir, "crates")));
    // Where the source of the standard library is installed, its paths would be these; elsewhere they are as below.
    let rustc = rustc()?;
    flags.push(map(&rustc.sysroot.join("lib/rustlib/src/rust"), &format!("/rustc/{}", rustc.commit)));
    Ok(flags)
}

/// The compiler that makes them.
pub(crate) struct Rustc {
    pub(crate) version: String,
    commit: String,
    sysroot: PathBuf,
}

/// Asks the compiler what it is.
///
/// # Errors
/// It does not answer.
pub(crate) fn rustc() -> Result<Rustc> {
    let ask = |arguments: &[&str]| -> Result<String> {
        let program = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let done = process::run(Command::new(program).args(arguments), Duration::from_secs(60))?;
        if done.status.success() {
            return Ok(done.stdout);
        }
        Err(Error::new(codes::TOOL_MISSING, format!("`rustc` does not say what it is: {}", done.last_words())))
    };
    let verbose = ask(&["-vV"])?;
    let line =
        |key: &str| verbose.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("unknown").trim().to_owned();
    Ok(Rustc {
        version: line("release:"),
        commit: line("commit-hash:"),
        sysroot: ask(&["--print", "sysroot"])?.trim().into(),
    })
}

fn build(command: &mut Command) -> Result<()> {
    let done = process::run(command, TIMEOUT)?;
    if done.status.success() {
        return Ok(());
    }
    let first = done.stderr.lines().find(|line| line.starts_with("error")).unwrap_or("it does not say why");
    Err(Error::new(codes::COMPILE_FAILED, format!("cargo cannot build `caravan`: {first}")))
}

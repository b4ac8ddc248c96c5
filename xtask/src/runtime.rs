//! Compiles `caravan`, the command that is part of every build.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use diagnostic::{Error, Result, codes};

use crate::{ui, workspace};

/// Its file name below `bin/`.
pub(crate) const NAME: &str = "caravan";

/// Two minutes on two cores; an hour means that something hangs.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// The executable for a native build, compiled unless it is there. It is made for every CPU of the architecture, unlike
/// what it lies beside: on the wrong machine it must be able to say so.
///
/// # Errors
/// The compiler's first error; an interruption.
pub(crate) fn native() -> Result<PathBuf> {
    ui::note("compiling caravan");
    let target_dir = workspace::llama_target_dir().join("cargo");
    let mut command = Command::new(workspace::cargo());
    command
        .args(["build", "--release", "--package", NAME, "--color", "never"])
        .current_dir(workspace::root())
        .arg("--target-dir")
        .arg(&target_dir)
        // What a person sets for his own programs must not reach ours.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null());
    let done = process::run(&mut command, TIMEOUT)?;
    if !done.status.success() {
        let first = done.stderr.lines().find(|line| line.starts_with("error")).unwrap_or("it does not say why");
        return Err(Error::new(codes::COMPILE_FAILED, format!("cargo cannot build `{NAME}`: {first}")));
    }
    Ok(target_dir.join("release").join(NAME))
}

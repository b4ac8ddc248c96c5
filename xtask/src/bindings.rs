//! Makes the bindings of `llama-sys`, or checks them. The generator is a test of `llama-build`, so that only those who need
//! it compile it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use diagnostic::{Error, Result, codes};
use llama_build::toolchain::pypi;

use crate::{source, ui, workspace};

/// Where bindgen finds libclang.
pub(crate) const LIBCLANG: &str = "LIBCLANG_PATH";
/// Has the test write what it would otherwise compare.
const MODE: &str = "LLAMA_BINDINGS";

const TIMEOUT: Duration = Duration::from_secs(1800);

/// The directory of a libclang, fetched unless it is there.
///
/// # Errors
/// pip cannot fetch it.
pub(crate) fn libclang(tools: &Path) -> Result<PathBuf> {
    let dir = pypi::fetch(&pypi::LIBCLANG, tools, &mut ui::note)?;
    let library = pypi::LIBCLANG.file(&dir);
    Ok(library.parent().expect("a library lies in a directory").to_owned())
}

/// Writes the bindings, or fails if they are stale.
///
/// # Errors
/// libclang or the source cannot be fetched; the bindings are stale.
pub(crate) fn run(check: bool) -> Result<()> {
    let libclang = libclang(&workspace::tools_dir())?;
    source::fetch(&source::plan(None)?)?;
    let mut command = Command::new(workspace::cargo());
    command
        .args(["test", "--quiet", "--package", "llama-build", "--test", "bindings"])
        .current_dir(workspace::root())
        .env(LIBCLANG, libclang);
    if !check {
        command.env(MODE, "write");
    }
    let done = process::run(&mut command, TIMEOUT)?;
    if done.status.success() {
        return Ok(());
    }
    let said = done.stdout.lines().chain(done.stderr.lines());
    let why = said.map(str::trim).find(|line| line.contains(" is stale") || line.starts_with("error"));
    Err(Error::new(codes::CHECK_FAILED, format!("the bindings: {}", why.unwrap_or(done.last_words()))))
}

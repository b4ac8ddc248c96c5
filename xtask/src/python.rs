//! Virtual environments with Python packages of exact versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use diagnostic::{Error, Result, codes};
use process::Lock;

use crate::ui;

/// Downloads are tens of megabytes.
const TIMEOUT: Duration = Duration::from_secs(600);

/// The interpreter of the environment `dir`, which is made unless one with the same packages is there.
///
/// # Errors
/// [`codes::TOOL_MISSING`] without python3 and its `venv`; [`codes::TOOL_FETCH`] with what pip said.
pub(crate) fn environment(dir: &Path, requirements: &str) -> Result<PathBuf> {
    let parent = dir.parent().expect("an environment lies in a directory");
    fs::create_dir_all(parent).map_err(|error| Error::io("cannot create", parent, error))?;
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let _lock = Lock::acquire(&parent.join(format!(".{name}.lock")), ui::waiting("installing Python packages"))?;
    let (python, stamp) = (dir.join("bin/python3"), dir.join("requirements.txt"));
    // Asked for its version: an environment dies with the interpreter that it was made with.
    let wanted = format!("# {}\n{requirements}", version()?);
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) && python.is_file() {
        return Ok(python);
    }
    ui::note(format!("installing Python packages into `{}`", dir.display()));
    let _ = fs::remove_dir_all(dir);
    run(Command::new("python3").args(["-m", "venv"]).arg(dir), codes::TOOL_MISSING)
        .map_err(|error| error.hint("python3 needs its `venv` module: `apt-get install python3-venv` on Debian"))?;
    let pending = dir.join("pending.txt");
    fs::write(&pending, &wanted).map_err(|error| Error::io("cannot write", &pending, error))?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "-r"]);
    run(install.arg(&pending), codes::TOOL_FETCH)?;
    fs::rename(&pending, &stamp).map_err(|error| Error::io("cannot write", &stamp, error))?;
    Ok(python)
}

fn version() -> Result<String> {
    let done = process::run(Command::new("python3").arg("--version"), TIMEOUT)?;
    Ok(done.last_words().to_owned())
}

fn run(command: &mut Command, code: &'static diagnostic::Code) -> Result<()> {
    let done = process::run(command, TIMEOUT)?;
    if done.status.success() {
        return Ok(());
    }
    let said = done.stderr.lines().find(|line| line.starts_with("ERROR:")).unwrap_or(done.last_words());
    Err(Error::new(code, format!("Python packages: {said}")))
}

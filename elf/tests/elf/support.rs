//! Small programs for the tests, made by the system's compiler.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles `source` in `directory` to `name` with a compiler and flags.
pub(crate) fn compile(directory: &Path, compiler: &str, source: &str, name: &str, flags: &[&str]) -> PathBuf {
    fs::create_dir_all(directory).unwrap();
    let ending = if compiler == "g++" { "cpp" } else { "c" };
    fs::write(directory.join(format!("{name}.{ending}")), source).unwrap();
    let mut command = Command::new(compiler);
    command.current_dir(directory).arg(format!("{name}.{ending}")).args(["-o", name]).args(flags);
    run(&mut command);
    directory.join(name)
}

/// Standard output of a command that must succeed, and warn of nothing.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{command:?}: {}\n{stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// A file that can be executed.
pub(crate) fn write_executable(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What `readelf` prints; it must have nothing to complain of.
pub(crate) fn readelf(arguments: &[&str], path: impl AsRef<OsStr>) -> String {
    run(Command::new("readelf").args(arguments).arg(path).env("LC_ALL", "C"))
}

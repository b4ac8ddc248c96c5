//! Packages of Debian and its kin, installed by root without a question and without starting a service.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use diagnostic::{Error, Result, codes};

use crate::machine;

/// What package scripts ask before they start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Whether packages can be installed here.
pub(crate) fn is_possible() -> bool {
    Path::new("/usr/bin/apt-get").exists() && machine::is_root()
}

/// Installs packages; lists of packages that are missing or too old are fetched once.
///
/// # Errors
/// [`codes::TOOL_MISSING`] with apt's last words; we were interrupted.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let _no_services = Policy::forbid_services(Path::new(POLICY))?;
    let install = [&["install", "--no-install-recommends"], packages].concat();
    run_updated(&install, Path::new("/"))
}

/// Downloads one package into a directory, as apt names it: `libc6:amd64=2.36-9`. That needs no root, but for lists of
/// packages that are missing or too old.
///
/// # Errors
/// [`codes::TOOL_MISSING`] with apt's last words; we were interrupted.
pub(crate) fn download(package: &str, dir: &Path) -> Result<()> {
    // Otherwise apt's own user, who may not write there, is tried first.
    let download = ["-o", "APT::Sandbox::User=root", "download", package];
    if machine::is_root() { run_updated(&download, dir) } else { run(&download, dir) }
}

/// Runs it, and again with new lists of packages when it fails.
fn run_updated(arguments: &[&str], dir: &Path) -> Result<()> {
    match run(arguments, dir) {
        Err(error) if error.code() == codes::TOOL_MISSING => run(&["update"], dir).and_then(|()| run(arguments, dir)),
        done => done,
    }
}

fn run(arguments: &[&str], dir: &Path) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.current_dir(dir);
    command.args(["--quiet", "--yes"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    // Not ended by Ctrl-C: a package manager that is killed leaves a broken system.
    let child = process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()))?;
    let done = child.wait_with_output().map_err(|error| Error::io("cannot run", Path::new("apt-get"), error))?;
    process::interrupt::check()?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let said = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    Err(Error::new(codes::TOOL_MISSING, format!("`apt-get {}`: {said}", arguments.join(" "))))
}

/// By which we know our own policy again.
const MARK: &str = "# Of `cargo xtask`, while it installs packages; to be removed.";

/// Our policy, in force until it is dropped.
struct Policy {
    path: PathBuf,
}

impl Policy {
    /// Nothing where the machine has a policy of its own. One of ours, which a run that was killed has left, is replaced.
    fn forbid_services(path: &Path) -> Result<Option<Policy>> {
        let fail = |error| Error::io("cannot write", path, error);
        if fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line == MARK)) {
            fs::remove_file(path).map_err(fail)?;
        }
        let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o755).open(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
            opened => opened.map_err(fail)?,
        };
        let policy = Policy { path: path.to_owned() };
        // Should we be killed, it forbids nothing any more.
        let text = format!("#!/bin/sh\n{MARK}\n[ -d /proc/{} ] || exit 0\nexit 101\n", std::process::id());
        file.write_all(text.as_bytes()).map_err(fail)?;
        Ok(Some(policy))
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        // If it stays, it has no effect once we have ended.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(path: &Path) -> Option<i32> {
        // Through the shell: another thread may be starting a child that has the file still open for writing.
        Command::new("sh").arg(path).status().unwrap().code()
    }

    #[test]
    fn services_are_forbidden_until_the_packages_are_installed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy-rc.d");
        let policy = Policy::forbid_services(&path).unwrap().unwrap();
        assert_eq!(status(&path), Some(101));
        drop(policy);
        assert!(!path.exists());
    }

    #[test]
    fn the_policy_of_a_run_that_was_killed_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy-rc.d");
        std::mem::forget(Policy::forbid_services(&path).unwrap().unwrap());
        // No process has this number.
        let ours = format!("/proc/{} ", std::process::id());
        let stale = fs::read_to_string(&path).unwrap().replace(&ours, "/proc/0 ");
        fs::write(&path, stale).unwrap();
        assert_eq!(status(&path), Some(0));

        let policy = Policy::forbid_services(&path).unwrap().expect("a policy of our own");
        assert_eq!(status(&path), Some(101));
        drop(policy);
        assert!(!path.exists());
    }

    #[test]
    fn the_policy_of_the_machine_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy-rc.d");
        let text = "#!/bin/sh\nexit 104\n";
        fs::write(&path, text).unwrap();
        assert!(Policy::forbid_services(&path).unwrap().is_none());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

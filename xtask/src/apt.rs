//! Packages of Debian and its kin, installed by root without a question and without starting a service.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use diagnostic::{Error, Result, codes};

/// What package scripts ask before they start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Whether packages can be installed here.
pub(crate) fn is_possible() -> bool {
    Path::new("/usr/bin/apt-get").exists() && rustix::process::geteuid().is_root()
}

/// Installs packages; lists of packages that are missing or too old are fetched once.
///
/// # Errors
/// [`codes::TOOL_MISSING`] with apt's last words; we were interrupted.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let _no_services = Policy::forbid_services()?;
    let install = [&["install", "--no-install-recommends"], packages].concat();
    match run(&install) {
        Err(error) if error.code() != codes::INTERRUPTED => run(&["update"]).and_then(|()| run(&install)),
        done => done,
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
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

/// Our policy, in force until it is dropped.
struct Policy;

impl Policy {
    /// Nothing where the machine has a policy of its own.
    fn forbid_services() -> Result<Option<Policy>> {
        let path = Path::new(POLICY);
        let fail = |error| Error::io("cannot write", path, error);
        let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o755).open(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
            opened => opened.map_err(fail)?,
        };
        let policy = Policy;
        // Should we be killed, it forbids nothing any more.
        let text = format!(
            "#!/bin/sh\n# Of `cargo xtask`, while it installs packages; to be removed.\n[ -d /proc/{} ] || exit 0\nexit 101\n",
            std::process::id()
        );
        file.write_all(text.as_bytes()).map_err(fail)?;
        Ok(Some(policy))
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        // If it stays, it has no effect once we have ended.
        let _ = fs::remove_file(POLICY);
    }
}

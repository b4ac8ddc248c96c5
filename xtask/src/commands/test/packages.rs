//! Programs of the system that the tests need.

use std::env;
use std::ffi::OsStr;

use diagnostic::{Error, Result, codes};

use crate::{apt, ui};

/// A program, and the Debian package that has it.
#[derive(Debug, Clone, Copy)]
struct Program {
    name: &'static str,
    package: &'static str,
}

const PROGRAMS: &[Program] = &[
    Program { name: "docker-registry", package: "docker-registry" },
    Program { name: "skopeo", package: "skopeo" },
    Program { name: "qemu-x86_64", package: "qemu-user" },
    Program { name: "chromium-headless-shell", package: "chromium-headless-shell" },
    Program { name: "podman", package: "podman" },
    Program { name: "runc", package: "runc" },
    // What podman runs in a pod beside its containers.
    Program { name: "catatonit", package: "catatonit" },
    Program { name: "buildah", package: "buildah" },
    Program { name: "minisign", package: "minisign" },
];

/// Installs what is missing, or says how.
pub(super) fn install() -> Result<()> {
    let search = || {
        // Where `runc` lies: not in everybody's path, but podman finds it.
        let mut path = env::var_os("PATH").unwrap_or_default();
        path.push(":/usr/sbin:/sbin");
        missing(&path)
    };
    let wanted = search();
    if wanted.is_empty() {
        return Ok(());
    }
    if !apt::is_possible() {
        return Err(error(&wanted));
    }
    let packages: Vec<_> = wanted.iter().map(|program| program.package).collect();
    ui::note(format!("installing {} with apt-get", packages.join(", ")));
    apt::install(&packages).map_err(|error| error.hint(format!("run it yourself: `{}`", command(&wanted))))?;
    match search() {
        left if left.is_empty() => Ok(()),
        left => Err(error(&left)),
    }
}

/// Those that are not in the search path.
fn missing(path: &OsStr) -> Vec<Program> {
    let is_there = |program: &Program| env::split_paths(path).any(|dir| dir.join(program.name).is_file());
    PROGRAMS.iter().filter(|program| !is_there(program)).copied().collect()
}

fn error(missing: &[Program]) -> Error {
    let names: Vec<_> = missing.iter().map(|program| format!("`{}`", program.name)).collect();
    Error::new(codes::CHECK_FAILED, format!("system packages: missing are {}", names.join(", ")))
        .hint(format!("as root, on Debian or Ubuntu: `{}`", command(missing)))
}

fn command(missing: &[Program]) -> String {
    let packages: Vec<_> = missing.iter().map(|program| program.package).collect();
    format!("apt-get install -y --no-install-recommends {}", packages.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_command_that_installs_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("skopeo"), "").unwrap();
        let path = env::join_paths([dir.path(), "/no/such/dir".as_ref()]).unwrap();
        let error = error(&missing(&path));
        insta::assert_snapshot!(error, @"system packages: missing are `docker-registry`, `qemu-x86_64`, `chromium-headless-shell`, `podman`, `runc`, `catatonit`, `buildah`, `minisign`");
        insta::assert_snapshot!(error.hints()[0], @"as root, on Debian or Ubuntu: `apt-get install -y --no-install-recommends docker-registry qemu-user chromium-headless-shell podman runc catatonit buildah minisign`");
    }
}

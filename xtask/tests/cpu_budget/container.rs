//! A container of the machine's own files: nothing is pulled.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::cgroup;

/// Where every hierarchy is mounted, or the only one is.
const CGROUPS: &str = "/sys/fs/cgroup";
/// What a program needs to start, where it is no link into `/usr`.
const SYSTEM: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// A root file system that shows the machine's programs and libraries, and a storage of podman's for this test only.
pub(crate) struct Container {
    dir: TempDir,
    /// The cgroup that podman makes its own ones in.
    cgroup: String,
    /// Shown in the container at the same place, read-only.
    shown: Vec<PathBuf>,
}

impl Container {
    pub(crate) fn showing(paths: &[&Path]) -> Container {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("rootfs");
        fs::create_dir(&root).unwrap();
        let mut shown = vec![PathBuf::from("/usr")];
        for name in SYSTEM {
            let system = Path::new("/").join(name);
            match fs::read_link(&system) {
                Ok(target) => symlink(target, root.join(name)).unwrap(),
                Err(_) if system.is_dir() => shown.push(system),
                Err(_) => {}
            }
        }
        shown.extend(paths.iter().map(|path| path.canonicalize().unwrap()));
        Container { dir, cgroup: format!("caravan-test-{}-podman", std::process::id()), shown }
    }

    /// The command, run in a new container that gets as much time as this many CPUs.
    pub(crate) fn command(&self, cpus: u64, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("podman");
        for (option, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.dir.path().join(name));
        }
        // What works in virtual machines and containers too: no overlay file system, no systemd, no network of its own.
        command.args(["--storage-driver", "vfs", "--runtime", "runc", "--cgroup-manager", "cgroupfs"]);
        command.args(["--events-backend", "none", "run", "--rm", "--network", "host", "--cgroup-parent", &self.cgroup]);
        // Podman asks for more than it may have where even root is limited.
        command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]);
        command.args(["--cpus", &cpus.to_string()]);
        for path in &self.shown {
            command.arg("--volume").arg(format!("{0}:{0}:ro", path.display()));
        }
        command.arg("--rootfs").arg(self.dir.path().join("rootfs")).arg(program).args(arguments);
        command
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Podman removes what it has made in there, and leaves this: once, or with v1 once for each controller.
        let hierarchies = fs::read_dir(CGROUPS).into_iter().flatten().flatten().map(|entry| entry.path());
        for hierarchy in hierarchies.chain([PathBuf::from(CGROUPS)]) {
            cgroup::remove(&hierarchy.join(&self.cgroup));
        }
    }
}

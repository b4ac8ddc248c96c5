//! Podman with a storage of its own, as Debian 12 has it, in virtual machines and containers too.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const REMOVAL: &[&str] = &["pod", "rm", "--all", "--force", "--time", "0"];

/// Everything that podman keeps for one test; pods that still run are removed with it.
pub(crate) struct Podman {
    dir: TempDir,
    /// Does the same when this program is killed: its standard input ends then.
    watch: Option<Child>,
}

impl Podman {
    pub(crate) fn new() -> Podman {
        let dir = tempfile::tempdir().unwrap();
        // Podman asks for more than it may have where even root is limited, and `play kube` has no flag for that.
        let limits = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n";
        fs::write(dir.path().join("containers.conf"), limits).unwrap();
        let mut podman = Podman { dir, watch: None };
        let removal = podman.command(REMOVAL);
        let mut watch = Command::new("sh");
        watch.args(["-c", "read _; \"$@\"; rm -r \"$0\""]).arg(podman.file("")).arg(removal.get_program());
        watch.args(removal.get_args()).env("CONTAINERS_CONF", podman.file("containers.conf")).process_group(0);
        podman.watch = Some(watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        podman
    }

    /// A file of this test.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        // Nothing here takes a minute; a hanging runtime must not hang the tests.
        let mut command = Command::new("timeout");
        command.args(["--kill-after", "10", "180", "podman"]).env("CONTAINERS_CONF", self.file("containers.conf"));
        for (option, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.file(name));
        }
        command.args(["--storage-driver", "vfs", "--runtime", "runc", "--cgroup-manager", "cgroupfs"]);
        command.args(["--events-backend", "none", "--log-level", "warn"]);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs it to its end; what it prints.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let done = self.command(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "podman {arguments:?}: {}\n{said}", done.status);
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// Has it play a file, in the place of what it made of that file before.
    pub(crate) fn play(&self, file: &Path) {
        self.run(&["play", "kube", "--tls-verify=false", "--replace", file.to_str().unwrap()]);
    }

    /// The process that a container runs; none while it is stopped.
    pub(crate) fn process(&self, container: &str) -> Option<Pid> {
        Pid::from_raw(self.run(&["inspect", "--format", "{{.State.Pid}}", container]).parse().unwrap())
    }

    /// What a container has said.
    pub(crate) fn said(&self, container: &str) -> String {
        let done = self.command(&["logs", container]).output().unwrap();
        String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.command(REMOVAL).output();
        if let Some(mut watch) = self.watch.take() {
            let _ = watch.kill();
            let _ = watch.wait();
        }
    }
}

/// The children of a process.
pub(crate) fn children(of: Pid) -> Vec<Pid> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parent = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<i32>().ok()
    };
    pids.filter(|pid| parent(pid) == Some(of.as_raw_nonzero().get())).filter_map(Pid::from_raw).collect()
}

/// The arguments of a process.
pub(crate) fn arguments(of: Pid) -> Vec<String> {
    let line = fs::read(format!("/proc/{}/cmdline", of.as_raw_nonzero())).unwrap();
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

pub(crate) fn signal(process: Pid, signal: Signal) {
    kill_process(process, signal).unwrap();
}

//! A cgroup of our own, v1 or v2.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A directory of the cgroup file system, removed with everything that still runs in it.
pub(crate) struct Cgroup {
    dir: PathBuf,
}

impl Cgroup {
    /// One whose processes get as much time as this many CPUs.
    pub(crate) fn with_quota(cpus: u64) -> Cgroup {
        const PERIOD: u64 = 100_000;
        let made = Cgroup::new("cpu");
        if made.has("cpu.max") {
            made.set("cpu.max", &format!("{} {PERIOD}", cpus * PERIOD));
        } else {
            made.set("cpu.cfs_period_us", &PERIOD.to_string());
            made.set("cpu.cfs_quota_us", &(cpus * PERIOD).to_string());
        }
        made
    }

    /// One whose processes run on this CPU only.
    pub(crate) fn with_cpu(cpu: u64) -> Cgroup {
        let made = Cgroup::new("cpuset");
        let parent = made.dir.parent().unwrap();
        if !made.has("cgroup.controllers") {
            // v1 lets no process in before it is told which memory is allowed.
            made.set("cpuset.mems", fs::read_to_string(parent.join("cpuset.mems")).unwrap().trim());
        }
        made.set("cpuset.cpus", &cpu.to_string());
        made
    }

    /// One whose processes together get this many bytes of memory.
    pub(crate) fn with_memory(bytes: u64) -> Cgroup {
        let made = Cgroup::new("memory");
        let limit = if made.has("memory.max") { "memory.max" } else { "memory.limit_in_bytes" };
        made.set(limit, &bytes.to_string());
        if made.has("memory.swap.max") {
            made.set("memory.swap.max", "0");
        }
        made
    }

    /// The command, run in here.
    pub(crate) fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]);
        command.arg(self.dir.join("cgroup.procs")).arg(program).args(arguments);
        command
    }

    /// Below the cgroup that we are in, or below the nearest one above it where we may.
    fn new(controller: &str) -> Cgroup {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("caravan-test-{}-{count}", std::process::id());
        let mut tried = Vec::new();
        for parent in parents(controller) {
            match make(&parent, &name, controller) {
                Ok(dir) => return Cgroup { dir },
                Err(why) => tried.push(format!("{}: {why}", parent.display())),
            }
        }
        panic!(
            "no cgroup for `{controller}` can be made here, so nothing is proven: run the tests as root, outside of \
             containers that have the cgroups read-only\n{}",
            tried.join("\n")
        );
    }

    fn has(&self, file: &str) -> bool {
        self.dir.join(file).exists()
    }

    #[track_caller]
    fn set(&self, file: &str, value: &str) {
        let path = self.dir.join(file);
        fs::write(&path, value).unwrap_or_else(|error| panic!("`{value}` to `{}`: {error}", path.display()));
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        remove(&self.dir);
    }
}

/// Removes a cgroup with those below it and with everything that still runs in them.
pub(crate) fn remove(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.is_dir()).for_each(|below| remove(&below));
    for _ in 0..100 {
        let left = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        for pid in left.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy => thread::sleep(Duration::from_millis(20)),
            _ => return,
        }
    }
}

/// Makes the directory, with the files of this controller in it.
fn make(parent: &Path, name: &str, controller: &str) -> Result<PathBuf, String> {
    if parent.join("cgroup.controllers").exists() {
        // v2. Refused while the parent has processes of its own, unless it is the root.
        let enabled = || {
            let text = fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
            text.split_whitespace().any(|name| name == controller)
        };
        if !enabled() {
            let enabling = fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
            enabling.map_err(|error| format!("`{controller}` cannot be enabled: {error}"))?;
        }
    }
    let dir = parent.join(name);
    fs::create_dir(&dir).map_err(|error| error.to_string())?;
    Ok(dir)
}

/// The cgroups that we are in, the innermost first, in the hierarchies that may have this controller.
fn parents(controller: &str) -> Vec<PathBuf> {
    let membership = fs::read_to_string("/proc/self/cgroup").unwrap();
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut found = Vec::new();
    for line in membership.lines() {
        // `1:cpu:/a` (v1) or `0::/a` (v2).
        let [id, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>().try_into().unwrap();
        let is_v2 = id == "0" && controllers.is_empty();
        if !is_v2 && !controllers.split(',').any(|name| name == controller) {
            continue;
        }
        let is_there = |mount: &&str| {
            let (_, file_system) = mount.split_once(" - ").unwrap_or_default();
            let mut words = file_system.split(' ');
            let (kind, options) = (words.next(), words.nth(1).unwrap_or_default());
            if is_v2 {
                kind == Some("cgroup2")
            } else {
                kind == Some("cgroup") && options.split(',').any(|option| option == controller)
            }
        };
        for point in mountinfo.lines().filter(is_there).filter_map(|mount| mount.split(' ').nth(4)) {
            let own = Path::new(point).join(path.trim_start_matches('/'));
            found.extend(own.ancestors().take_while(|dir| dir.starts_with(point)).map(Path::to_owned));
        }
    }
    // On a machine with both, the controller is in one of the two.
    found.retain(|dir| match fs::read_to_string(dir.join("cgroup.controllers")) {
        Ok(controllers) => controllers.split_whitespace().any(|name| name == controller),
        Err(_) => dir.join("cgroup.procs").exists(),
    });
    found
}

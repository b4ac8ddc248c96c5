//! CPU quota and memory limit of a process's cgroups: v2, v1, and both at once (hybrid).
//!
//! `/proc/PID/cgroup` says in which cgroup a process is, `/proc/self/mountinfo` where its hierarchy is mounted (cgroups(7)).
//! A limit of any ancestor binds, so all of them are read, from its cgroup up to the mount point.

use std::ops::RangeInclusive;

use super::Process;
use super::mount::Mount;
use super::root::Root;
use crate::Sourced;

/// Deeper paths than this are not believed: the kernel sets no limit, but real trees have below ten levels.
const DEEPEST: usize = 128;
/// Lines of `/proc/self/cgroup` that are read: one per hierarchy, of which v1 allows one per controller, some 14.
const MOST_HIERARCHIES: usize = 64;
/// Memory limits from here on mean "none": v1 reports the largest page-aligned number.
const UNLIMITED: u64 = 1 << 62;
/// Microseconds that are believed of a period: the kernel's own bounds are 1 ms to 1 s.
const PERIOD_US: RangeInclusive<u64> = 1_000..=1_000_000;
/// Period that the kernel uses where none is given.
const DEFAULT_PERIOD_US: u64 = 100_000;

/// The two interfaces of the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// A directory of limits that bind a process, as an absolute path of that machine.
struct Cgroup {
    version: Version,
    path: String,
}

/// The tightest CPU quota, in CPUs.
pub(super) fn cpu_quota(root: &Root, process: &Process) -> Option<Sourced<f64>> {
    let quotas = of(root, process, "cpu").into_iter().filter_map(|cgroup| {
        let (quota, period, source) = match cgroup.version {
            Version::V2 => {
                let source = format!("{}/cpu.max", cgroup.path);
                let text = root.text(&source)?;
                let mut words = text.split_ascii_whitespace();
                // `max` is no number and ends here, as does anything else.
                let quota = words.next()?.parse().ok()?;
                (quota, words.next().map_or(Some(DEFAULT_PERIOD_US), |period| period.parse().ok())?, source)
            }
            Version::V1 => {
                let source = format!("{}/cpu.cfs_quota_us", cgroup.path);
                // -1 means none, and is no `u64`.
                let quota = root.number(&source)?;
                (quota, root.number(&format!("{}/cpu.cfs_period_us", cgroup.path)).unwrap_or(DEFAULT_PERIOD_US), source)
            }
        };
        let quota: u64 = quota;
        (quota > 0 && PERIOD_US.contains(&period)).then(|| Sourced::new(quota as f64 / period as f64, source))
    });
    quotas.min_by(|a, b| a.value.total_cmp(&b.value))
}

/// What the cgroups say of memory, in bytes.
pub(super) struct Memory {
    /// The lowest limit.
    pub(super) limit: Option<Sourced<u64>>,
    /// The least that any of them leaves.
    pub(super) left: Option<Sourced<u64>>,
}

/// The lowest limit, and the least that is left; not always of the same cgroup.
///
/// File cache counts as used, and with it the weights that are mapped into memory, but the kernel drops what is inactive
/// before it kills anybody. So that is taken off, as Kubernetes does it ("working set").
pub(super) fn memory(root: &Root, process: &Process) -> Memory {
    let mut limits = Vec::new();
    let mut left = Vec::new();
    let mut add = |limit: Option<u64>, source: String, used: Option<u64>, cache: Option<u64>, how: &str| {
        let Some(limit) = limit.filter(|limit| *limit < UNLIMITED) else {
            return;
        };
        left.push(match used {
            Some(used) => {
                let used = used.saturating_sub(cache.unwrap_or(0));
                Sourced::new(limit.saturating_sub(used), format!("{source} - {how}"))
            }
            None => Sourced::new(limit, format!("{source}, use unknown")),
        });
        limits.push(Sourced::new(limit, source));
    };
    for Cgroup { version, path } in of(root, process, "memory") {
        let statistics = format!("{path}/memory.stat");
        // `inactive_file 4096`.
        let statistic = |key: &str| -> Option<u64> {
            let text = root.text(&statistics)?;
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?.trim().parse().ok()
        };
        match version {
            Version::V2 => {
                let source = format!("{path}/memory.max");
                let used = root.number(&format!("{path}/memory.current"));
                add(root.number(&source), source, used, statistic("inactive_file"), "(memory.current - inactive_file)");
            }
            Version::V1 => {
                let how = "(memory.usage_in_bytes - total_inactive_file)";
                let source = format!("{path}/memory.limit_in_bytes");
                let used = root.number(&format!("{path}/memory.usage_in_bytes"));
                let cache = statistic("total_inactive_file");
                add(root.number(&source), source, used, cache, how);
                // The lowest limit up to the root of the hierarchy, also of those that a container does not see. What
                // they use is unknown, but no less than this one does.
                let source = format!("{statistics}: hierarchical_memory_limit");
                add(statistic("hierarchical_memory_limit"), source, used, cache, how);
            }
        }
    }
    let least = |values: Vec<Sourced<u64>>| values.into_iter().min_by_key(|bytes| bytes.value);
    Memory { limit: least(limits), left: least(left) }
}

/// How many processes the kernel has ended because memory ran out, in the innermost cgroup that counts them.
pub(super) fn out_of_memory_kills(root: &Root, process: &Process) -> Option<u64> {
    of(root, process, "memory").into_iter().find_map(|Cgroup { version, path }| {
        let file = match version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        let text = root.text(&format!("{path}/{file}"))?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    })
}

/// Every cgroup that binds a process for a controller, the innermost first. On a hybrid machine the controller is in one of the two hierarchies and
/// has no files in the other, so both are looked at.
fn of(root: &Root, process: &Process, controller: &str) -> Vec<Cgroup> {
    let membership = root.text(&process.file("cgroup")).unwrap_or_default();
    let mounts = Mount::all(root);
    let mut found = Vec::new();
    for line in membership.lines().take(MOST_HIERARCHIES) {
        // `4:cpu,cpuacct:/user.slice` or, for v2, `0::/user.slice`; the path may hold colons.
        let mut parts = line.splitn(3, ':');
        let (Some(id), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let version = match (id, controllers) {
            ("0", "") => Version::V2,
            _ if controllers.split(',').any(|name| name == controller) => Version::V1,
            _ => continue,
        };
        let mounts = mounts.iter().filter(|mount| mount.holds(version, controller));
        // Where the path lies below no mount (it may start with `/..` in a cgroup namespace), what is mounted is still
        // ours or an ancestor of ours in every container runtime.
        let best = mounts.max_by_key(|mount| mount.relative(path).map_or(0, |_| 1 + mount.root.len()));
        if let Some(mount) = best {
            let below = mount.relative(path).unwrap_or_default();
            found.extend(upwards(&mount.point, below).into_iter().map(|path| Cgroup { version, path }));
        }
    }
    found
}

/// `point/a/b`, `point/a`, `point` for the path `/a/b`.
fn upwards(point: &str, below: &str) -> Vec<String> {
    let names: Vec<&str> = below.split('/').filter(|name| !name.is_empty()).collect();
    let depth = if names.len() > DEEPEST || names.contains(&"..") { 0 } else { names.len() };
    let point = point.trim_end_matches('/');
    (0..=depth)
        .rev()
        .map(|depth| names[..depth].iter().fold(point.to_owned(), |path, name| format!("{path}/{name}")))
        .collect()
}

impl Mount {
    /// Whether this mount shows the hierarchy that a controller of that version is in.
    fn holds(&self, version: Version, controller: &str) -> bool {
        match version {
            Version::V1 => self.kind == "cgroup" && self.options.split(',').any(|option| option == controller),
            Version::V2 => self.kind == "cgroup2",
        }
    }

    /// The part of a cgroup's path below what is mounted, if it lies below it.
    fn relative<'a>(&self, path: &'a str) -> Option<&'a str> {
        let below = path.strip_prefix(self.root.trim_end_matches('/'))?;
        (below.is_empty() || below.starts_with('/')).then_some(below)
    }
}

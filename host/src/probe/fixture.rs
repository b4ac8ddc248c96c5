//! A machine as a text: every file that the probe reads, in the form of the trees under `tests/fixtures`.
//!
//! ```text
//! # what the machine is
//! path = content                                  \n and \t in the content are a line break and a tab
//! sys/cpu{0-15}/sib = {n}                         one file per n from 0 to 15
//! ```
//!
//! It is made to be sent to strangers. Of every file only the lines that the probe looks at are kept, which leaves out
//! serial numbers, host names and what else is mounted. Names of cgroups may hold those of users and containers, so all
//! but the usual ones are replaced.

mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Overrides;
use super::mount::Mount;
use super::root::{Root, fields};
use crate::Host;
use crate::gpu::NvmlDevice;

pub use read::host;

/// The line of a tree that holds what NVML said, as JSON.
pub const NVML: &str = "nvml.json";

/// Names of directories of cgroups that say nothing of anybody, and of where they are mounted.
const USUAL: &[&str] = &[
    "sys",
    "fs",
    "cgroup",
    "unified",
    "cpu",
    "cpuacct",
    "cpu,cpuacct",
    "cpuacct,cpu",
    "memory",
    "init.scope",
    "system.slice",
    "user.slice",
    "app.slice",
    "session.slice",
    "machine.slice",
    "kubepods",
    "kubepods.slice",
    "kubepods-burstable.slice",
    "kubepods-besteffort.slice",
    "docker",
    "lxc",
    "..",
    ".",
];

/// The machine whose files lie below `root`, as a text; `title` says what it is, and may take several lines.
pub fn tree(title: &str, root: &Path, nvml: &[NvmlDevice]) -> String {
    let root = Root::recording(root);
    let overrides = Overrides { nvml: nvml.to_vec(), ..Overrides::default() };
    Host::read(&root, overrides);
    let mut names = Names::default();
    let files = root.into_read().into_iter().map(|(path, content)| {
        let content = without_secrets(&path, &content, &mut names);
        (names.file(&path), content)
    });
    let mut files: Vec<(String, String)> = files.collect();
    files.sort_unstable();
    let mut text: String = title.lines().map(|line| format!("# {line}\n")).collect();
    for (path, content) in compact(files) {
        let content = content.replace('\n', "\\n").replace('\t', "\\t");
        text.push_str(format!("{path} = {content}").trim_end());
        text.push('\n');
    }
    if !nvml.is_empty() {
        let nvml = serde_json::to_string(nvml).expect("devices hold only strings and numbers");
        text.push_str(&format!("{NVML} = {nvml}\n"));
    }
    text
}

/// What the probe looks at of a file.
fn without_secrets(path: &str, content: &str, names: &mut Names) -> String {
    let lines_of = |keys: &[&str]| -> String {
        let kept = content.lines().filter(|line| {
            let key = line.split([':', '=', ' ']).next().unwrap_or_default().trim();
            keys.contains(&key) || line.split(':').next().is_some_and(|key| keys.contains(&key.trim()))
        });
        kept.collect::<Vec<_>>().join("\n")
    };
    let file = path.rsplit('/').next().unwrap_or(path);
    match file {
        "cpuinfo" => processors(content),
        "meminfo" if path.starts_with("proc/") => lines_of(&["MemTotal", "MemAvailable"]),
        "meminfo" => content.lines().find(|line| line.contains("MemTotal")).unwrap_or_default().to_owned(),
        "status" => lines_of(&["Cpus_allowed_list"]),
        "memory.stat" => lines_of(&["inactive_file", "total_inactive_file", "hierarchical_memory_limit"]),
        "uevent" => lines_of(&["DRIVER", "PCI_SLOT_NAME"]),
        "information" => lines_of(&["Model", "Bus Location"]),
        // Several names, each with a NUL at its end.
        "compatible" => content.replace('\0', "\n"),
        "cgroup" => memberships(content, names),
        "mountinfo" => mounts(content, names),
        _ => content.to_owned(),
    }
}

/// The first processor in full, of the others what may differ.
fn processors(content: &str) -> String {
    const KEPT: [&str; 7] =
        ["processor", "vendor_id", "model name", "flags", "Features", "CPU implementer", "CPU part"];
    let mut seen = BTreeSet::new();
    let kept = fields(content).filter(|(key, _)| KEPT.contains(key));
    let kept = kept.filter(|(key, _)| seen.insert(*key) || ["processor", "CPU part"].contains(key));
    kept.map(|(key, value)| format!("{key}\t: {value}")).collect::<Vec<_>>().join("\n")
}

/// Our cgroups, as far as the probe looks at them.
fn memberships(content: &str, names: &mut Names) -> String {
    let line = |line: &str| {
        let mut parts = line.splitn(3, ':');
        let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let v2 = id == "0" && controllers.is_empty();
        let read: Vec<_> = controllers.split(',').filter(|name| ["cpu", "memory"].contains(name)).collect();
        (v2 || !read.is_empty()).then(|| format!("{id}:{}:{}", read.join(","), names.path(path)))
    };
    content.lines().filter_map(line).collect::<Vec<_>>().join("\n")
}

/// Where cgroups are mounted.
fn mounts(content: &str, names: &mut Names) -> String {
    let line = |mount: Mount| {
        let options: Vec<_> = mount.options.split(',').filter(|name| ["cpu", "memory"].contains(name)).collect();
        let kept = match mount.kind.as_str() {
            "cgroup" => !options.is_empty(),
            "cgroup2" => true,
            _ => false,
        };
        let (root, point, kind) = (names.path(&mount.root), names.path(&mount.point), &mount.kind);
        kept.then(|| format!("1 1 0:1 {root} {point} rw - {kind} {kind} rw,{}", options.join(",")))
    };
    content.lines().filter_map(Mount::parse).filter_map(line).collect::<Vec<_>>().join("\n")
}

/// Other names for those that people or programs have given.
#[derive(Default)]
struct Names(BTreeMap<String, String>);

impl Names {
    fn path(&mut self, path: &str) -> String {
        path.split('/').map(|name| self.name(name)).collect::<Vec<_>>().join("/")
    }

    fn name(&mut self, name: &str) -> String {
        if name.is_empty() || USUAL.contains(&name) {
            return name.to_owned();
        }
        let next = self.0.len() + 1;
        self.0.entry(name.to_owned()).or_insert_with(|| format!("group{next}")).clone()
    }

    /// The path of a file that was read. Only those of cgroups hold names of people's choice.
    fn file(&mut self, path: &str) -> String {
        match path.rsplit_once('/') {
            Some((dir, file)) if ["cpu.", "memory."].iter().any(|start| file.starts_with(start)) => {
                format!("{}/{file}", self.path(dir))
            }
            _ => path.to_owned(),
        }
    }
}

/// Files of CPUs in a row become one line, when they hold the same, or all of them the number of their CPU.
fn compact(files: Vec<(String, String)>) -> Vec<(String, String)> {
    const CPU: &str = "sys/devices/system/cpu/cpu";
    let mut rows: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
    let mut lines = Vec::new();
    for (path, content) in files {
        let numbered = path.strip_prefix(CPU).and_then(|rest| {
            let (number, rest) = rest.split_once('/')?;
            Some((number.parse::<usize>().ok()?, rest.to_owned()))
        });
        match numbered {
            Some((number, rest)) if !content.contains(['{', '}']) => {
                rows.entry(rest).or_default().push((number, content));
            }
            _ => lines.push((path, content)),
        }
    }
    for (rest, mut row) in rows {
        row.sort_unstable();
        if row.iter().all(|(number, content)| *content == number.to_string()) {
            row.iter_mut().for_each(|(_, content)| "{n}".clone_into(content));
        }
        let mut row = row.into_iter().peekable();
        while let Some((first, content)) = row.next() {
            let mut last = first;
            while row.next_if(|(number, same)| *number == last + 1 && *same == content).is_some() {
                last += 1;
            }
            let cpus = if first == last { first.to_string() } else { format!("{{{first}-{last}}}") };
            lines.push((format!("{CPU}{cpus}/{rest}"), content.replace("{n}", &number_of(first, last))));
        }
    }
    lines
}

/// How a line names the CPU that it is of.
fn number_of(first: usize, last: usize) -> String {
    if first == last { first.to_string() } else { "{n}".to_owned() }
}

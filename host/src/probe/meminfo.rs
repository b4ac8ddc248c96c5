//! Main memory from `/proc/meminfo` and the cgroups, and huge pages.

use super::root::{Root, kibibytes};
use super::system::System;
use super::{Process, cgroup};
use crate::memory::{HugePages, Memory, Transparent};
use crate::{Sourced, memory};

const TRANSPARENT: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const POOLS: &str = "/sys/kernel/mm/hugepages";

pub(super) fn read(root: &Root, system: &System, process: &Process) -> Memory {
    let value = |key: &str, otherwise: Option<u64>| {
        let file = root.field("proc/meminfo", key).and_then(|text| kibibytes(&text));
        file.map(|bytes| Sourced::new(bytes, "/proc/meminfo"))
            .or_else(|| otherwise.map(|bytes| Sourced::new(bytes, "operating system")))
    };
    let available = value("MemAvailable", system.available_memory);
    let cgroups = cgroup::memory(root, process);
    Memory {
        total: value("MemTotal", system.total_memory),
        budget: memory::budget(available.as_ref(), cgroups.left.as_ref()),
        available,
        cgroup_limit: cgroups.limit,
        cgroup_left: cgroups.left,
        huge_pages: HugePages { transparent: transparent(root), free_bytes: free_huge_pages(root) },
    }
}

/// `always [madvise] never`: the setting is in brackets.
fn transparent(root: &Root) -> Option<Sourced<Transparent>> {
    let text = root.text(TRANSPARENT)?;
    let chosen = text.split_ascii_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))?;
    let setting = match chosen {
        "always" => Transparent::Always,
        "madvise" => Transparent::Madvise,
        "never" => Transparent::Never,
        _ => return None,
    };
    Some(Sourced::new(setting, TRANSPARENT))
}

/// What is free in the pools of all page sizes, in bytes.
fn free_huge_pages(root: &Root) -> Option<Sourced<u64>> {
    let pool = |name: String| {
        let page: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let free: u64 = root.number(&format!("{POOLS}/{name}/free_hugepages"))?;
        page.checked_mul(1024)?.checked_mul(free)
    };
    let pools: Vec<u64> = root.names(POOLS).into_iter().filter_map(pool).collect();
    let free = pools.iter().copied().fold(0, u64::saturating_add);
    (!pools.is_empty()).then(|| Sourced::new(free, format!("{POOLS}/*/free_hugepages")))
}

//! Cores and caches from `/sys/devices/system`.

use std::collections::{BTreeMap, BTreeSet};

use super::cpuinfo;
use super::root::Root;
use super::system::System;
use crate::topology::{CoreMix, Topology};
use crate::{CpuList, Sourced};

const CPUS: &str = "sys/devices/system/cpu";
/// The caches of one CPU that are looked at; real CPUs have up to five.
const MOST_CACHES: usize = 16;

/// The topology, and the sets of CPUs that it was counted from.
pub(super) struct Sysfs {
    pub(super) topology: Topology,
    /// Logical CPUs that are online, if it is known which.
    pub(super) online: Option<CpuList>,
    /// The logical CPUs of each physical core; empty when nothing tells them apart.
    pub(super) cores: Vec<CpuList>,
}

/// Reads the tree; the system's word counts only where the tree has none.
pub(super) fn read(root: &Root, system: &System) -> Sysfs {
    let online = root.list(&format!("{CPUS}/online")).filter(|cpus| !cpus.is_empty());
    let cores = online.as_ref().and_then(|online| cores(root, online)).unwrap_or_default();
    let logical_cpus = match (&online, cpuinfo::processors(root), system.cpus) {
        (Some(online), ..) => Sourced::new(online.len(), "/sys/devices/system/cpu/online"),
        (None, Some(count), _) => Sourced::new(count, "/proc/cpuinfo"),
        (None, None, Some(count)) => Sourced::new(count, "operating system"),
        (None, None, None) => Sourced::new(1, "nothing known"),
    };
    let physical_cores = match cores.len() {
        0 => system.cores.map(|cores| Sourced::new(cores, "operating system")),
        count => Some(Sourced::new(count, "/sys/devices/system/cpu/cpu*/topology")),
    };
    let (mix, performance_cores) = kinds(root, &cores);
    let (l2_bytes_per_core, l3_bytes_total) = caches(root, &cores);
    let packages: BTreeSet<u32> = cores.iter().filter_map(|core| package(root, core.iter().next()?)).collect();
    let topology = Topology {
        logical_cpus,
        physical_cores,
        performance_cores,
        mix,
        threads_per_core: cores.iter().map(CpuList::len).max(),
        sockets: (!packages.is_empty()).then_some(packages.len()),
        numa_nodes: numa_nodes(root),
        l2_bytes_per_core,
        l3_bytes_total,
    };
    Sysfs { topology, online, cores }
}

/// The online CPUs of each core; `None` when one of them cannot be placed.
fn cores(root: &Root, online: &CpuList) -> Option<Vec<CpuList>> {
    // Keyed by the lowest CPU of each core.
    let mut cores: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    let mut by_id: BTreeMap<(Option<u32>, Option<u32>, u32), u32> = BTreeMap::new();
    for cpu in online.iter() {
        let topology = format!("{CPUS}/cpu{cpu}/topology");
        // The second name is the newer one; a kernel has the first, or both.
        let siblings = ["thread_siblings_list", "core_cpus_list"]
            .iter()
            .find_map(|name| root.list(&format!("{topology}/{name}")).filter(|list| list.contains(cpu)));
        let first = match siblings {
            Some(siblings) => siblings.intersection(online).iter().next()?,
            None => {
                let die = root.number(&format!("{topology}/die_id"));
                let core = root.number(&format!("{topology}/core_id"))?;
                *by_id.entry((package(root, cpu), die, core)).or_insert(cpu)
            }
        };
        cores.entry(first).or_default().insert(cpu);
    }
    Some(cores.into_values().map(|cpus| cpus.into_iter().collect()).collect())
}

/// The socket of a CPU; Arm machines without that notion report -1.
fn package(root: &Root, cpu: u32) -> Option<u32> {
    root.number(&format!("{CPUS}/cpu{cpu}/topology/physical_package_id"))
}

/// Whether cores differ, and how many are the fast ones.
fn kinds(root: &Root, cores: &[CpuList]) -> (CoreMix, Option<Sourced<usize>>) {
    if cores.is_empty() {
        return (CoreMix::Uniform, None);
    }
    let among = |cpus: &CpuList| cores.iter().filter(|core| core.intersects(cpus)).count();
    // Intel: the performance counters of P and E cores are two devices, each with its list of CPUs.
    let p_cores = root.list("sys/devices/cpu_core/cpus").map_or(0, |cpus| among(&cpus));
    let e_cores = root.list("sys/devices/cpu_atom/cpus").map_or(0, |cpus| among(&cpus));
    if p_cores > 0 && e_cores > 0 {
        return (CoreMix::Hybrid, Some(Sourced::new(p_cores, "/sys/devices/cpu_core/cpus")));
    }
    // Arm: the kernel rates every CPU, the fastest with 1024. An RK3588 has little cores of about 400; two tiers of big
    // cores (prime and gold) differ by less than a third.
    let capacity = |core: &CpuList| root.number::<u32>(&format!("{CPUS}/cpu{}/cpu_capacity", core.iter().next()?));
    if let Some(capacities) = cores.iter().map(capacity).collect::<Option<Vec<u32>>>() {
        let most = capacities.iter().copied().max().unwrap_or(0);
        let big = capacities.iter().filter(|capacity| **capacity > most / 2).count();
        if 0 < big && big < cores.len() {
            let source = "/sys/devices/system/cpu/cpu*/cpu_capacity";
            return (CoreMix::BigLittle, Some(Sourced::new(big, source)));
        }
    }
    (CoreMix::Uniform, Some(Sourced::new(cores.len(), "nothing tells the cores apart")))
}

/// The largest level-2 cache, and the sum of all level-3 caches.
fn caches(root: &Root, cores: &[CpuList]) -> (Option<Sourced<u64>>, Option<Sourced<u64>>) {
    let mut l2: Option<u64> = None;
    // By the CPUs that share it, so that each is counted once.
    let mut l3: BTreeMap<CpuList, u64> = BTreeMap::new();
    for cpu in cores.iter().filter_map(|core| core.iter().next()) {
        for index in 0..MOST_CACHES {
            let cache = format!("{CPUS}/cpu{cpu}/cache/index{index}");
            let Some(level) = root.number::<u32>(&format!("{cache}/level")) else {
                break;
            };
            if level != 2 && level != 3 {
                continue;
            }
            let Some(bytes) = root.text(&format!("{cache}/size")).and_then(|size| cache_size(&size)) else {
                continue;
            };
            if level == 2 {
                l2 = l2.max(Some(bytes));
            } else {
                // Without a list of sharers it is taken to be one for all.
                l3.insert(root.list(&format!("{cache}/shared_cpu_list")).unwrap_or_default(), bytes);
            }
        }
    }
    let sourced = |bytes| Sourced::new(bytes, "/sys/devices/system/cpu/cpu*/cache");
    let l3 = (!l3.is_empty()).then(|| l3.into_values().fold(0, u64::saturating_add));
    (l2.map(sourced), l3.map(sourced))
}

/// `1024K` in bytes.
fn cache_size(text: &str) -> Option<u64> {
    let (number, unit) = match text.split_at_checked(text.len().checked_sub(1)?)? {
        (number, "K") => (number, 1 << 10),
        (number, "M") => (number, 1 << 20),
        _ => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(unit).filter(|bytes| *bytes > 0)
}

/// NUMA nodes that have CPUs.
fn numa_nodes(root: &Root) -> Option<usize> {
    let nodes = root.list("sys/devices/system/node/has_cpu");
    let nodes = nodes.or_else(|| root.list("sys/devices/system/node/online"))?;
    (!nodes.is_empty()).then_some(nodes.len())
}

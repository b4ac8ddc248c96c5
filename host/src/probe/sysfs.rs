//! Cores and caches from `/sys/devices/system`.

use std::collections::{BTreeMap, BTreeSet};

use super::cpuinfo;
use super::root::{Root, kibibytes};
use super::system::System;
use crate::topology::{CoreMix, CpuSets, NumaNode, Topology};
use crate::{CpuList, Sourced};

const CPUS: &str = "sys/devices/system/cpu";
/// The caches of one CPU that are looked at; real CPUs have up to five.
const MOST_CACHES: usize = 16;
const NODES: &str = "sys/devices/system/node";
/// NUMA nodes that are looked at: the kernel's own limit.
const MOST_NODES: usize = 1024;

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
    let kinds = kinds(root, &cores);
    let (l2_bytes_per_core, l3_bytes_total) = caches(root, &cores);
    let packages: BTreeSet<u32> = cores.iter().filter_map(|core| package(root, core.iter().next()?)).collect();
    let topology = Topology {
        logical_cpus,
        physical_cores,
        performance_cores: kinds.performance_cores,
        mix: kinds.mix,
        threads_per_core: cores.iter().map(CpuList::len).max(),
        sockets: (!packages.is_empty()).then_some(packages.len()),
        numa_nodes: numa_nodes(root),
        l2_bytes_per_core,
        l3_bytes_total,
        cpus: CpuSets {
            online: online.clone().unwrap_or_default(),
            performance: kinds.performance,
            efficiency: kinds.efficiency,
            one_per_core: cores.iter().filter_map(CpuList::first).collect(),
        },
        nodes: nodes(root, online.as_ref()),
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

/// The kinds of cores.
struct Kinds {
    mix: CoreMix,
    performance_cores: Option<Sourced<usize>>,
    performance: CpuList,
    efficiency: CpuList,
}

/// Whether cores differ, and which are the fast ones.
fn kinds(root: &Root, cores: &[CpuList]) -> Kinds {
    if cores.is_empty() {
        let none = CpuList::default;
        return Kinds { mix: CoreMix::Uniform, performance_cores: None, performance: none(), efficiency: none() };
    }
    let split = |mix, source: &str, fast: &[bool]| {
        let of = |wanted: bool| {
            let cores = cores.iter().zip(fast).filter(move |(_, fast)| **fast == wanted);
            cores.flat_map(|(core, _)| core.iter()).collect()
        };
        let count = fast.iter().filter(|fast| **fast).count();
        Kinds {
            mix,
            performance_cores: Some(Sourced::new(count, source)),
            performance: of(true),
            efficiency: of(false),
        }
    };
    // Intel: the performance counters of P and E cores are two devices, each with its list of CPUs; from Linux 6.13 the
    // low-power E-cores of some models are a third.
    let list = |device: &str| root.list(&format!("sys/devices/{device}/cpus")).unwrap_or_default();
    let p_cpus = list("cpu_core");
    let e_cpus = list("cpu_atom").union(&list("cpu_lowpower"));
    let fast: Vec<bool> = cores.iter().map(|core| core.intersects(&p_cpus)).collect();
    if fast.contains(&true) && cores.iter().any(|core| core.intersects(&e_cpus)) {
        return split(CoreMix::Hybrid, "/sys/devices/cpu_core/cpus", &fast);
    }
    // Arm: the kernel rates every CPU, the fastest with 1024. An RK3588 has little cores of about 400; two tiers of big
    // cores (prime and gold) differ by less than a third.
    let capacity = |core: &CpuList| root.number::<u32>(&format!("{CPUS}/cpu{}/cpu_capacity", core.first()?));
    if let Some(capacities) = cores.iter().map(capacity).collect::<Option<Vec<u32>>>() {
        let most = capacities.iter().copied().max().unwrap_or(0);
        let fast: Vec<bool> = capacities.iter().map(|capacity| *capacity > most / 2).collect();
        if fast.contains(&true) && fast.contains(&false) {
            return split(CoreMix::BigLittle, "/sys/devices/system/cpu/cpu*/cpu_capacity", &fast);
        }
    }
    split(CoreMix::Uniform, "nothing tells the cores apart", &vec![true; cores.len()])
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
    let nodes = root.list(&format!("{NODES}/has_cpu"));
    let nodes = nodes.or_else(|| root.list(&format!("{NODES}/online")))?;
    (!nodes.is_empty()).then_some(nodes.len())
}

/// Every NUMA node with its CPUs that are online, and its memory.
fn nodes(root: &Root, online: Option<&CpuList>) -> Vec<NumaNode> {
    let ids = root.list(&format!("{NODES}/online")).unwrap_or_default();
    let node = |id: u32| {
        let cpus = root.list(&format!("{NODES}/node{id}/cpulist"))?;
        let source = format!("/{NODES}/node{id}/meminfo");
        // `Node 0 MemTotal:       32611004 kB`.
        let memory = root.field(&source, &format!("Node {id} MemTotal"));
        let memory = memory.and_then(|text| kibibytes(&text)).map(|bytes| Sourced::new(bytes, source));
        Some(NumaNode { id, cpus: online.map_or(cpus.clone(), |online| cpus.intersection(online)), memory })
    };
    ids.iter().take(MOST_NODES).filter_map(node).collect()
}

//! How the cores of a machine are arranged.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{CpuList, Sourced};

/// Cores and caches of the whole machine, whatever this process may use of it. What could not be found out is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Logical CPUs that are online.
    pub logical_cpus: Sourced<usize>,
    /// Physical cores of every kind.
    pub physical_cores: Option<Sourced<usize>>,
    /// Physical P-cores (Intel), big cores (Arm); all of them on a uniform machine.
    pub performance_cores: Option<Sourced<usize>>,
    /// Whether all cores are alike.
    pub mix: CoreMix,
    /// The most SMT threads that one core runs: 1 without SMT.
    pub threads_per_core: Option<usize>,
    /// Processor packages.
    pub sockets: Option<usize>,
    /// NUMA nodes that have CPUs; nodes of memory only (CXL, GPU memory) are not counted.
    pub numa_nodes: Option<usize>,
    /// Bytes of the largest level-2 cache that a core sees, its own or shared with a cluster.
    pub l2_bytes_per_core: Option<Sourced<u64>>,
    /// Bytes of all level-3 caches of the machine together.
    pub l3_bytes_total: Option<Sourced<u64>>,
    /// Which CPUs are which, for affinity masks.
    #[serde(default)]
    pub cpus: CpuSets,
    /// Every NUMA node, also those of memory only; empty where the kernel names none.
    #[serde(default)]
    pub nodes: Vec<NumaNode>,
}

/// Logical CPUs by what they are; a set is empty where nothing says it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuSets {
    /// All that are online.
    pub online: CpuList,
    /// Those of P-cores or big cores, with their SMT siblings; all of them on a uniform machine.
    pub performance: CpuList,
    /// Those of E-cores or little cores; none on a uniform machine.
    pub efficiency: CpuList,
    /// The lowest CPU of each physical core.
    pub one_per_core: CpuList,
}

/// One NUMA node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumaNode {
    /// The kernel's number of it.
    pub id: u32,
    /// Its CPUs; none on a node of memory only.
    pub cpus: CpuList,
    /// Bytes of memory on it.
    pub memory: Option<Sourced<u64>>,
}

/// Whether all cores are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoreMix {
    /// All alike, or nothing says otherwise.
    Uniform,
    /// Intel P-cores and E-cores: an E-core does a fair share of the work.
    Hybrid,
    /// Arm big and little cores: a little core has at most half the capacity of a big one and holds it up.
    BigLittle,
}

impl Topology {
    /// A machine of one socket with `cores` equal cores.
    pub fn uniform(cores: usize, threads_per_core: usize, source: &str) -> Topology {
        Topology {
            logical_cpus: Sourced::new(cores * threads_per_core, source),
            physical_cores: Some(Sourced::new(cores, source)),
            performance_cores: Some(Sourced::new(cores, source)),
            mix: CoreMix::Uniform,
            threads_per_core: Some(threads_per_core),
            sockets: Some(1),
            numa_nodes: Some(1),
            l2_bytes_per_core: None,
            l3_bytes_total: None,
            cpus: CpuSets::default(),
            nodes: Vec::new(),
        }
    }

    /// Physical cores, or logical CPUs where nothing tells them apart; at least 1.
    pub fn cores(&self) -> usize {
        self.physical_cores.as_ref().map_or(self.logical_cpus.value, |cores| cores.value).max(1)
    }

    /// P-cores or big cores, or all cores where nothing tells them apart.
    pub fn big_cores(&self) -> usize {
        self.performance_cores.as_ref().map_or(self.cores(), |cores| cores.value.min(self.cores()))
    }

    /// No less than the bytes that all level-2 and level-3 caches hold together (a shared level-2 cache is counted once
    /// per core): a buffer well above this is read from memory. `None` when no cache is known.
    pub fn cache_bytes_at_most(&self) -> Option<u64> {
        let l2 = self.l2_bytes_per_core.as_ref().map(|l2| l2.value.saturating_mul(self.cores() as u64));
        let l3 = self.l3_bytes_total.as_ref().map(|l3| l3.value);
        match (l2, l3) {
            (None, None) => None,
            (l2, l3) => Some(l2.unwrap_or(0).saturating_add(l3.unwrap_or(0))),
        }
    }
}

/// `12 cores (8 P + 4 E), 20 CPUs`.
impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p, n) = (self.big_cores(), self.cores());
        if self.physical_cores.is_none() {
            return write!(f, "{} CPUs", self.logical_cpus.value);
        }
        write!(f, "{n} core{}", if n == 1 { "" } else { "s" })?;
        match self.mix {
            CoreMix::Uniform => {}
            CoreMix::Hybrid => write!(f, " ({p} P + {} E)", n - p)?,
            CoreMix::BigLittle => write!(f, " ({p} big + {} little)", n - p)?,
        }
        if self.logical_cpus.value != n {
            write!(f, ", {} CPUs", self.logical_cpus.value)?;
        }
        match self.sockets {
            Some(sockets) if sockets > 1 => write!(f, ", {sockets} sockets"),
            _ => Ok(()),
        }
    }
}

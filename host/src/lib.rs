//! What this machine is: CPU features, topology, CPU budget, memory, and how many threads to run on it.
//!
//! The types are plain data and the rules are pure functions, so they compile to WASM. Looking at the machine is behind
//! the feature `probe` (on by default); it reads `/sys` and `/proc` below a root directory, so that the trees of other
//! machines can be probed in tests.
//!
//! | module | job |
//! |---|---|
//! | [`cpu`], [`isa`] | model, usable instruction-set features, x86-64 level |
//! | [`topology`] | cores, SMT, sockets, P and E cores, caches |
//! | [`budget`] | how many CPUs this process may use |
//! | [`memory`] | what there is, what the cgroups leave, huge pages |
//! | [`gpu`] | GPUs, and which memory is theirs |
//! | [`disk`] | what a directory is stored on |
//! | [`threads`], [`job`] | the thread choice: heuristic, measurement, job variables, `--threads` |
//! | [`variants`] | which CPU variant of a portable build a machine takes, and why no other |
//! | [`cpu_list`] | the kernel's `0-3,8` notation |
//! | `probe` | fills all of these in |
//! | `fixture` | a machine as a text that tests can probe |
//!
//! On Linux all of this is read from files. Elsewhere `sysinfo` gives CPU and core counts, model and memory; not covered
//! there are P and E cores, affinity, job objects of Windows, caches, disks, and GPUs (but for those of NVIDIA, and that
//! of an Apple processor).
//!
//! ```
//! use host::threads::{self, Wish};
//! use host::{CpuBudget, Sourced, Topology};
//!
//! let cores = Topology::uniform(8, 2, "example");
//! let budget = CpuBudget::new(Sourced::new(16, "example"), None, None);
//! let choice = threads::choose(&cores, &budget, &Wish::default())?;
//! assert_eq!((choice.generation, choice.prompt), (6, 6));
//! # Ok::<(), diagnostic::Error>(())
//! ```
#![forbid(unsafe_code)]

pub mod budget;
pub mod cpu;
pub mod cpu_list;
pub mod disk;
mod fingerprint;
pub mod gpu;
pub mod isa;
pub mod job;
pub mod memory;
#[cfg(feature = "probe")]
mod probe;
mod sourced;
pub mod threads;
pub mod topology;
pub mod variants;

use serde::{Deserialize, Serialize};

pub use budget::CpuBudget;
pub use cpu::Cpu;
pub use cpu_list::CpuList;
pub use disk::Disk;
pub use gpu::Gpu;
pub use memory::Memory;
#[cfg(feature = "probe")]
pub use probe::{Overrides, System, fixture, hostname, out_of_memory_kills};
pub use sourced::Sourced;
pub use topology::{CpuSets, NumaNode, Topology};

/// Everything we know about a machine and about what this process may use of it.
///
/// It holds no host name: it is printed beside benchmark figures and sent in bug reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// The processor.
    pub cpu: Cpu,
    /// How its cores are arranged.
    pub topology: Topology,
    /// How many CPUs this process may use, now.
    pub budget: CpuBudget,
    /// Memory, and what the cgroups allow of it.
    pub memory: Memory,
    /// Graphics processors.
    #[serde(default)]
    pub gpus: Vec<Gpu>,
    /// Operating system and version for people, such as `Linux (Debian GNU/Linux 12)`.
    pub os: Option<String>,
    /// Kernel version.
    pub kernel: Option<String>,
}

//! What the operating system says through calls instead of files.

use std::thread;

use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind};

use crate::{CpuList, Sourced};

/// What the running system says itself; a value that it does not say is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct System {
    /// Operating system and version for people.
    pub os: Option<String>,
    /// Kernel version.
    pub kernel: Option<String>,
    /// CPUs that this process may use, as std counts them.
    pub cpus: Option<usize>,
    /// Physical cores.
    pub cores: Option<usize>,
    /// Model of the processor, where no file says it: on other systems than Linux.
    pub cpu_model: Option<String>,
    /// Bytes of main memory.
    pub total_memory: Option<u64>,
    /// Bytes of memory that can be had without swapping.
    pub available_memory: Option<u64>,
}

impl System {
    /// Asks the system that we run on.
    pub(super) fn live() -> System {
        let kinds = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
        let kinds = if cfg!(target_os = "linux") { kinds } else { kinds.with_cpu(CpuRefreshKind::nothing()) };
        let system = sysinfo::System::new_with_specifics(kinds).ok();
        let model = system.as_ref().and_then(|system| system.cpus().first()).map(|cpu| cpu.brand().trim().to_owned());
        System {
            os: sysinfo::System::long_os_version().ok(),
            kernel: sysinfo::System::kernel_version().ok(),
            cpus: thread::available_parallelism().ok().map(usize::from),
            cores: sysinfo::System::physical_core_count().ok(),
            cpu_model: model.filter(|model| !model.is_empty()),
            total_memory: system.as_ref().map(sysinfo::System::total_memory).filter(|bytes| *bytes > 0),
            available_memory: system.as_ref().map(sysinfo::System::available_memory).filter(|bytes| *bytes > 0),
        }
    }
}

/// The name of this machine, for `build_info.json`.
pub fn hostname() -> Option<String> {
    sysinfo::System::host_name().ok().filter(|name| !name.is_empty())
}

/// The CPUs that the scheduler may put the calling thread on. `None` where there is no such call, or on a machine of
/// more CPUs than its set can hold; `/proc/self/status` then says it.
#[cfg(target_os = "linux")]
pub(super) fn affinity() -> Option<Sourced<CpuList>> {
    use rustix::thread::{CpuSet, sched_getaffinity};

    let set = sched_getaffinity(None).ok()?;
    let cpus = (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).filter_map(|cpu| u32::try_from(cpu).ok());
    Some(Sourced::new(cpus.collect(), "sched_getaffinity"))
}

/// Other systems have no such call.
#[cfg(not(target_os = "linux"))]
pub(super) fn affinity() -> Option<Sourced<CpuList>> {
    None
}

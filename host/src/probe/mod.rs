//! Looking at the machine.
//!
//! Everything is read below a root directory, through [`root::Root`], which bounds what a file may cost. A file that is
//! missing or makes no sense leaves its value unknown; probing never fails.

mod cgroup;
#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
mod cpuid;
mod cpuinfo;
mod disk;
pub mod fixture;
mod gpu;
mod meminfo;
mod mount;
#[cfg(feature = "nvml")]
mod nvml;
mod root;
mod sysfs;
mod system;

use std::path::Path;

use crate::gpu::NvmlDevice;
use crate::{Cpu, CpuBudget, CpuList, Host, Sourced};

use root::Root;
pub use system::{System, hostname};

/// What the running system says itself. The default leaves everything to the files below the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// In place of `/proc/cpuinfo`.
    pub cpu: Option<Cpu>,
    /// In place of `Cpus_allowed_list` in `/proc/self/status`.
    pub affinity: Option<Sourced<CpuList>>,
    /// What NVML says of NVIDIA GPUs.
    pub nvml: Vec<NvmlDevice>,
    /// Used where the files say nothing, as on other systems than Linux.
    pub system: System,
    /// Whose cgroups and affinity count, in place of our own.
    pub process: Option<u32>,
}

impl Overrides {
    /// What the system that we run on says, for the calling thread; NVML is not asked.
    pub fn live() -> Overrides {
        #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
        let cpu = Some(cpuid::read());
        #[cfg(not(any(target_arch = "x86_64", target_arch = "x86")))]
        let cpu = None;
        Overrides { cpu, affinity: system::affinity(), nvml: Vec::new(), system: System::live(), process: None }
    }

    /// Looks at what another process may use.
    #[must_use]
    pub fn of_process(self, pid: u32) -> Overrides {
        Overrides { affinity: None, process: Some(pid), ..self }
    }

    /// Asks NVML too. Not everybody does, because it loads the driver's library into this process and may take a second.
    #[cfg(feature = "nvml")]
    pub fn with_nvml(self) -> Overrides {
        Overrides { nvml: nvml::devices(), ..self }
    }
}

impl Host {
    /// Looks at the machine that we run on, and at the affinity of the calling thread.
    pub fn probe() -> Host {
        Host::probe_at(Path::new("/"), Overrides::live())
    }

    /// Looks at the machine whose `/sys`, `/proc` and cgroup files lie below `root`.
    pub fn probe_at(root: &Path, overrides: Overrides) -> Host {
        Host::read(&Root::new(root), overrides)
    }

    fn read(root: &Root, overrides: Overrides) -> Host {
        let Overrides { cpu, affinity, nvml, system, process } = overrides;
        let process = Process::of(process);
        let sysfs = sysfs::read(root, &system);
        let affinity = affinity.or_else(|| {
            let status = process.file("status");
            let cpus = root.field(&status, "Cpus_allowed_list")?;
            Some(Sourced::new(CpuList::parse(&cpus)?, format!("/{status}")))
        });
        let budget = budget(affinity, &sysfs, cgroup::cpu_quota(root, &process));
        let memory = meminfo::read(root, &system, &process);
        let mut cpu = cpu.unwrap_or_else(|| cpuinfo::read(root));
        if let (None, Some(model)) = (&cpu.model, &system.cpu_model) {
            cpu.model = Some(model.clone());
            cpu.source = "operating system".to_owned();
        }
        Host {
            cpu,
            budget,
            gpus: gpu::read(root, &nvml, &memory, &system),
            memory,
            topology: sysfs.topology,
            os: system.os,
            kernel: system.kernel,
        }
    }
}

/// A process, by its name in `/proc`.
struct Process(String);

impl Process {
    /// `None` is this one.
    fn of(pid: Option<u32>) -> Process {
        Process(pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string()))
    }

    /// One of its files, relative to the root.
    fn file(&self, name: &str) -> String {
        format!("proc/{}/{name}", self.0)
    }
}

/// How many processes of our cgroup the kernel has ended because memory ran out; `None` where it does not say.
pub fn out_of_memory_kills(root: &Path) -> Option<u64> {
    cgroup::out_of_memory_kills(&Root::new(root), &Process::of(None))
}

fn budget(affinity: Option<Sourced<CpuList>>, sysfs: &sysfs::Sysfs, quota: Option<Sourced<f64>>) -> CpuBudget {
    let online = &sysfs.online;
    let usable = affinity.map(|affinity| match online {
        // `Cpus_allowed_list` of a process that nobody restricted also names CPUs that are offline, or that this
        // machine could only get by hotplug.
        Some(online) if online.intersects(&affinity.value) => {
            Sourced::new(affinity.value.intersection(online), affinity.source)
        }
        _ => affinity,
    });
    match usable {
        Some(usable) if !usable.value.is_empty() => {
            let cores = sysfs.cores.iter().filter(|core| core.intersects(&usable.value)).count();
            let affinity = Sourced::new(usable.value.len(), format!("{}: {}", usable.source, usable.value));
            CpuBudget::new(affinity, quota, (cores > 0).then_some(cores))
        }
        _ => {
            let all = &sysfs.topology.logical_cpus;
            let source = format!("affinity unknown, so all CPUs of {}", all.source);
            let cores = sysfs.topology.physical_cores.as_ref().map(|cores| cores.value);
            CpuBudget::new(Sourced::new(all.value, source), quota, cores)
        }
    }
}

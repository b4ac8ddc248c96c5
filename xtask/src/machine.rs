//! This machine, and the thread counts that fit it.

use std::ffi::OsString;

use build_info::HostFingerprint;
use diagnostic::Result;
use host::Host;
use host::job::JobThreads;
use host::threads::{self, Measured, ThreadChoice, Wish};
use measure::bandwidth;

/// The key under which measurements of this machine are kept.
pub(crate) fn fingerprint(host: &Host) -> HostFingerprint {
    host.fingerprint().parse().expect("a host's fingerprint has the form that build_info asks for")
}

/// The threads that the heuristic gives, before any measurement, capped by the CPU budget.
pub(crate) fn heuristic(host: &Host) -> Result<ThreadChoice> {
    threads::choose(&host.topology, &host.budget, &Wish::default())
}

/// The threads to run with: the job's variable, what was measured, or the heuristic; capped by the CPU budget.
pub(crate) fn choice(host: &Host, measured: Option<Measured>) -> Result<ThreadChoice> {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let job = JobThreads::from_env(&std::env::vars_os().filter_map(text).collect())?;
    threads::choose(&host.topology, &host.budget, &Wish { measured, job, ..Wish::default() })
}

/// Checks thread counts that a person asked for.
pub(crate) fn explicit(host: &Host, counts: &[usize]) -> Result<()> {
    for &count in counts {
        threads::choose(&host.topology, &host.budget, &Wish { explicit: Some(count), ..Wish::default() })?;
    }
    Ok(())
}

/// How to measure this machine's read bandwidth.
pub(crate) fn bandwidth(host: &Host) -> bandwidth::Plan {
    let cache = host.topology.cache_bytes_at_most().unwrap_or(0);
    bandwidth::Plan::new(host.budget.cpus, cache, available_memory(host).unwrap_or(u64::MAX))
}

/// The memory that this process may still take, in bytes: what is available, and no more than its cgroups leave.
pub(crate) fn available_memory(host: &Host) -> Option<u64> {
    host.memory.budget.as_ref().map(|bytes| bytes.value)
}

/// Whether we may do what only root may.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Processes that ran or wanted to, over the last minute.
pub(crate) fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_ascii_whitespace().next()?.parse().ok().filter(|load: &f64| load.is_finite() && *load >= 0.0)
}

/// Why measuring now is unwise: how much others are running.
pub(crate) fn busy(host: &Host) -> Option<String> {
    let (load, cpus) = (load()?, host.topology.logical_cpus.value);
    // Half a CPU is what a desktop does by itself.
    (load > 0.5 + 0.1 * cpus as f64)
        .then(|| format!("the machine is busy: load {load:.1} on {cpus} CPUs in the last minute"))
}

/// What goes into reports.
pub(crate) fn description(host: &Host) -> serde_json::Value {
    let mut value = serde_json::to_value(host).expect("a host holds only strings and numbers");
    value["fingerprint"] = host.fingerprint().into();
    value["cpu_budget"] = host.budget.cpus.into();
    value
}

/// What one compiler of the largest files takes.
const BYTES_PER_JOB: u64 = 1 << 30;

/// Ninja's own rule (a little more than there are CPUs, to fill the gaps between jobs), for the CPUs and the memory that
/// this process may really use.
pub(crate) fn default_jobs(host: &Host) -> usize {
    let wanted = match host.budget.cpus {
        cpus @ 0..=2 => cpus + 1,
        cpus => cpus + 2,
    };
    let memory = available_memory(host).map_or(wanted, |bytes| (bytes / BYTES_PER_JOB) as usize);
    wanted.min(memory).max(1)
}

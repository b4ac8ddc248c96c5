//! The machine that runs the tests, against what std and coreutils say of it.
#![cfg(all(feature = "probe", target_os = "linux"))]

use std::process::Command;
use std::thread;

use host::Host;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

#[test]
fn std_and_nproc_agree_on_the_budget() {
    let budget = Host::probe().budget;
    assert_eq!(budget.cpus, thread::available_parallelism().unwrap().get(), "{budget}");

    let nproc = Command::new("nproc").env_remove("OMP_NUM_THREADS").env_remove("OMP_THREAD_LIMIT").output().unwrap();
    let nproc: usize = String::from_utf8(nproc.stdout).unwrap().trim().parse().unwrap();
    // nproc knows of quotas only since coreutils 9.8.
    assert!(nproc == budget.cpus || nproc == budget.affinity.value, "nproc says {nproc}, we say {budget}");
}

#[test]
fn a_smaller_affinity_is_a_smaller_budget_but_the_same_machine() {
    let before = Host::probe();
    // The affinity belongs to the thread, so this one does not disturb the others.
    let after = thread::spawn(|| {
        let allowed = sched_getaffinity(None).unwrap();
        let last = (0..CpuSet::MAX_CPU).rfind(|cpu| allowed.is_set(*cpu)).unwrap();
        let mut one = CpuSet::new();
        one.set(last);
        sched_setaffinity(None, &one).unwrap();
        let host = Host::probe();
        assert_eq!(host.budget.affinity.source, format!("sched_getaffinity: {last}"));
        assert_eq!(host.budget.cpus, thread::available_parallelism().unwrap().get());
        host
    });
    let after = after.join().unwrap();
    assert_eq!((after.budget.cpus, after.budget.cores), (1, Some(1)));
    assert_eq!(after.topology, before.topology);
    assert_eq!(after.fingerprint(), before.fingerprint());
}

#[test]
fn the_machine_is_known() {
    let host = Host::probe();
    assert!(host.cpu.model.is_some() && !host.cpu.features.is_empty(), "{:?}", host.cpu);
    assert!(host.topology.cores() <= host.topology.logical_cpus.value);
    assert!(host.memory.available.unwrap().value <= host.memory.total.unwrap().value);
    assert!(host.kernel.is_some() && host.os.is_some());
    assert!(host::hostname().is_some());
}

/// CPUID and `/proc/cpuinfo` are two witnesses of the same CPU.
#[test]
#[cfg(target_arch = "x86_64")]
fn cpuid_agrees_with_the_kernel() {
    let live = Host::probe().cpu;
    let kernel = Host::probe_at(std::path::Path::new("/"), host::Overrides::default()).cpu;
    assert_eq!((live.source.as_str(), kernel.source.as_str()), ("CPUID", "/proc/cpuinfo"));
    assert_eq!(live.features, kernel.features);
    assert_eq!((live.vendor, live.model), (kernel.vendor, kernel.model));
}

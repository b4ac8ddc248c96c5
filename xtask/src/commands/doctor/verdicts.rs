//! What stands in the way of speed, and what to do about it.

use host::disk::DiskKind;
use host::memory::Transparent;
use serde::Serialize;

use super::facts::{Facts, upstream_threads};
use super::screen::{gib, list};

/// A model of 7 billion parameters in Q4_K_M (4.4 GiB) with a context of some thousand tokens.
const USUAL_MODEL: u64 = 5 << 30;
/// What a build and its updates need on disk.
const USUAL_BUILD: u64 = 2_000_000_000;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    /// A name that scripts may rely on.
    pub(super) id: &'static str,
    pub(super) level: Level,
    pub(super) text: String,
    pub(super) hint: Option<String>,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    /// Costs speed, or keeps something from running.
    Warning,
    /// Good to know.
    Note,
}

impl Level {
    pub(super) fn name(self) -> &'static str {
        match self {
            Level::Warning => "warning",
            Level::Note => "note",
        }
    }
}

/// Every finding; warnings first.
pub(super) fn of(facts: &Facts) -> Vec<Verdict> {
    let groups = [build(facts), cpus(facts), memory(facts), disk(facts), others(facts)];
    let mut verdicts: Vec<Verdict> = groups.into_iter().flatten().collect();
    verdicts.sort_by_key(|verdict| verdict.level == Level::Note);
    verdicts
}

fn warning(id: &'static str, text: String, hint: impl Into<String>) -> Verdict {
    Verdict { id, level: Level::Warning, text, hint: Some(hint.into()) }
}

fn note(id: &'static str, text: String, hint: impl Into<String>) -> Verdict {
    Verdict { id, level: Level::Note, text, hint: Some(hint.into()) }
}

fn build(facts: &Facts) -> Vec<Verdict> {
    match &facts.build {
        Err(error) => vec![warning(
            "build_damaged",
            format!("the active build cannot be used: {error}"),
            "install it again with `cargo xtask install-fast`, or go back with `cargo xtask rollback`",
        )],
        Ok(None) => vec![warning(
            "no_build",
            "no build is active".to_owned(),
            "`cargo xtask install-fast` installs one, `cargo xtask install-optimized` compiles one for this CPU",
        )],
        Ok(Some(build)) => match &build.variant {
            Some(Err(error)) => vec![warning(
                "no_variant",
                format!("the active build does not start here: {error}"),
                "`cargo xtask show-build` says why",
            )],
            _ if !build.tuned => vec![note(
                "not_measured",
                "the active build has not been measured here, so the threads are a guess".to_owned(),
                "`cargo xtask tune` measures and keeps the best settings, `cargo xtask bench` the best threads",
            )],
            _ => Vec::new(),
        },
    }
}

fn cpus(facts: &Facts) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let (cpu, topology, budget) = (&facts.host.cpu, &facts.host.topology, &facts.host.budget);
    let threads = facts.threads.as_ref().map_or(budget.cpus, |threads| threads.generation);
    let upstream = upstream_threads(&facts.host);
    let cores = budget.cores.unwrap_or(budget.cpus).min(budget.cpus);
    if upstream > cores {
        let text = if budget.limited_by_quota() || upstream > budget.cpus {
            format!("llama.cpp by itself would start {upstream} threads, and may use {}", plural(budget.cpus, "CPU"))
        } else {
            format!("llama.cpp by itself would start {upstream} threads, and may use {cores} cores")
        };
        verdicts.push(warning(
            "too_many_threads",
            text,
            format!("run it with `-t {threads}`: threads wait for the slowest"),
        ));
    } else if upstream < topology.big_cores().min(cores) {
        let text = format!("llama.cpp by itself would start {upstream} threads on {} fast cores", topology.big_cores());
        verdicts.push(warning("too_few_threads", text, format!("run it with `-t {threads}`")));
    }
    if let Err(error) = &facts.threads {
        let hint =
            error.hints().first().cloned().unwrap_or_else(|| "see the variables in docs/environment.md".to_owned());
        verdicts.push(warning("threads_unknown", format!("the number of threads cannot be chosen: {error}"), hint));
    }
    if !cpu.disabled_by_os.is_empty() {
        let text = format!("the CPU has, and the operating system does not enable: {}", list(&cpu.disabled_by_os, 6));
        let hint = "look for `clearcpuid`, `noxsave` or `nosmt` in `/proc/cmdline`, and at the CPU model of the virtual machine";
        verdicts.push(warning("disabled_by_os", text, hint));
    }
    if let Some(level @ 1..=2) = cpu.x86_64_level() {
        let text = format!("the CPU is x86-64-v{level}: without AVX2 and FMA, models run several times slower");
        verdicts.push(note("old_cpu", text, "in a virtual machine, let it see the CPU of its host"));
    }
    if topology.threads_per_core.is_some_and(|threads| threads > 1) && budget.affinity.value > cores {
        let text =
            format!("{} of the {} usable CPUs are SMT siblings", budget.affinity.value - cores, budget.affinity.value);
        let hint = format!("one CPU per core: `taskset -c {}`", topology.cpus.one_per_core);
        if !budget.limited_by_quota() {
            verdicts.push(note("smt", text, hint));
        }
    }
    let nodes = topology.nodes.iter().filter(|node| !node.cpus.is_empty()).count();
    if nodes > 1 {
        let text = format!("memory is on {nodes} NUMA nodes: a thread reads its own faster");
        verdicts.push(note("numa", text, "try `--numa distribute`, or one server per node: `numactl -N 0 -m 0`"));
    }
    if let Some(load) = facts.load.filter(|load| *load >= 1.0 && *load > budget.cpus as f64 * 0.25) {
        let text = format!("the machine is busy: load {load:.2}, and {} to use", plural(budget.cpus, "CPU"));
        verdicts.push(warning("busy", text, "what is measured now will scatter; see `top` for who it is"));
    }
    verdicts
}

fn memory(facts: &Facts) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let memory = &facts.host.memory;
    if let Some(budget) = &memory.budget {
        if budget.value < USUAL_MODEL {
            let text = format!(
                "{} of memory are left ({}): less than a 7B model in Q4_K_M needs",
                gib(budget.value),
                budget.source
            );
            verdicts.push(warning(
                "memory_tight",
                text,
                "take a smaller model, a shorter context, or stop other programs",
            ));
        } else if let Some(available) = memory.available.as_ref().filter(|available| available.value > budget.value) {
            let (there, left) = (gib(available.value), gib(budget.value));
            let text = format!("of {there} that the machine has available a cgroup leaves {left}");
            verdicts.push(note("memory_limited", text, "what is beyond that ends the process (out of memory)"));
        }
    }
    if memory.huge_pages.transparent.as_ref().is_some_and(|setting| setting.value == Transparent::Never) {
        let text = "transparent huge pages are off".to_owned();
        let hint = "as root: `echo madvise > /sys/kernel/mm/transparent_hugepage/enabled`; weights that are mapped from a file gain nothing";
        verdicts.push(note("huge_pages_off", text, hint));
    }
    verdicts
}

fn disk(facts: &Facts) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    if let Some(free) = facts.free_bytes.filter(|free| *free < USUAL_BUILD) {
        let text = format!("the disk of the store has {} left", gib(free));
        verdicts.push(warning(
            "disk_full",
            text,
            "`CARAVAN_HOME` puts the store elsewhere; `cargo xtask uninstall` removes builds",
        ));
    }
    let kind = facts.disk.as_ref().and_then(|disk| disk.kind.as_ref()).map(|kind| kind.value);
    let slow = match kind {
        Some(DiskKind::Rotational) => "on a rotating disk: models load slowly",
        Some(DiskKind::Network) => "on another machine: models load as fast as the network is",
        Some(DiskKind::Memory) => "in main memory: every model there is missing elsewhere",
        Some(DiskKind::Overlay) => "in the layers of a container: it goes when the container goes",
        Some(DiskKind::SolidState) | None => return verdicts,
    };
    verdicts.push(note("disk", format!("the store is {slow}"), "`CARAVAN_HOME` puts it elsewhere"));
    verdicts
}

fn others(facts: &Facts) -> Vec<Verdict> {
    let gpus = &facts.host.gpus;
    let mut verdicts = Vec::new();
    if !gpus.is_empty() {
        let text = format!("{} will not be used: these builds compute on the CPU", plural(gpus.len(), "GPU"));
        verdicts.push(Verdict { id: "gpu_unused", level: Level::Note, text, hint: None });
    }
    verdicts
}

/// `1 CPU`, `2 CPUs`.
fn plural(count: usize, name: &str) -> String {
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

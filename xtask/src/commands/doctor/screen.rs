//! All of it on one screen.

use std::fmt::Write as _;

use host::{Cpu, Gpu, Memory, Topology};

use super::facts::{Build, Facts, upstream_threads};
use super::verdicts::Verdict;

/// Nodes and GPUs that are shown, of each; all of them are in the JSON.
const MOST_ROWS: usize = 4;

/// What a person reads; a function of what is known, and of nothing else.
pub(super) fn of(facts: &Facts, verdicts: &[Verdict]) -> String {
    let host = &facts.host;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // What files of the machine say must not steer a terminal.
        let value: String = value.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        writeln!(text, "{name:<12} {value}").expect("a String takes any text");
    };
    cpu(&host.cpu, &mut line);
    topology(&host.topology, &mut line);
    line("cpu budget", host.budget.to_string());
    match &facts.threads {
        Ok(threads) => line("threads", format!("-t {} -tb {}: {}", threads.generation, threads.prompt, threads.why)),
        Err(error) => line("threads", format!("unknown: {error}")),
    }
    line("", format!("before measuring: {}; llama.cpp by itself: {}", facts.heuristic, upstream_threads(host)));
    memory(&host.memory, &mut line);
    if host.gpus.is_empty() {
        line("gpu", "none".to_owned());
    }
    for (n, gpu) in host.gpus.iter().take(MOST_ROWS).enumerate() {
        line(if n == 0 { "gpu" } else { "" }, gpu_row(gpu));
    }
    more(host.gpus.len(), &mut line);
    let free = facts.free_bytes.map_or("free space unknown".to_owned(), |bytes| format!("{} free", gib(bytes)));
    let disk = facts.disk.as_ref().map_or("disk unknown".to_owned(), ToString::to_string);
    line("store", format!("{}: {free}, {disk}", facts.store));
    line("build", build(facts.build.as_ref().map(Option::as_ref).map_err(String::as_str)));
    let unknown = || "unknown".to_owned();
    let load = facts.load.map_or_else(unknown, |load| format!("{load:.2}"));
    let name = |name: &Option<String>| name.clone().unwrap_or_else(unknown);
    line("system", format!("{}, kernel {}, load {load}", name(&host.os), name(&host.kernel)));
    line("host", format!("{} (measurements are kept under this)", host.fingerprint()));
    text.push('\n');
    if verdicts.is_empty() {
        text.push_str("nothing stands in the way\n");
    }
    for verdict in verdicts {
        writeln!(text, "{}: {}", verdict.level.name(), printable(&verdict.text)).expect("a String takes any text");
        if let Some(hint) = &verdict.hint {
            writeln!(text, "hint: {}", printable(hint)).expect("a String takes any text");
        }
    }
    text
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn cpu(cpu: &Cpu, line: &mut impl FnMut(&str, String)) {
    let model = cpu.model.as_deref().unwrap_or("unknown model");
    let level = cpu.x86_64_level().map_or(String::new(), |level| format!(", x86-64-v{level}"));
    line("cpu", format!("{model}{level} ({})", cpu.source));
    // Those that make the most difference to a model.
    const TOLD: [&str; 16] = [
        "amx_int8",
        "amx_bf16",
        "avx512_bf16",
        "avx512_vnni",
        "avx512_vbmi",
        "avx512f",
        "avx_vnni",
        "avx2",
        "fma",
        "f16c",
        "sve2",
        "sve",
        "i8mm",
        "bf16",
        "asimddp",
        "asimd",
    ];
    let told: Vec<String> = TOLD.iter().filter(|name| cpu.has(name)).map(|name| (*name).to_owned()).collect();
    line("", format!("{} features: {}", cpu.features.len(), list(&told, told.len())));
    if !cpu.disabled_by_os.is_empty() {
        line("", format!("off: {}", list(&cpu.disabled_by_os, 8)));
    }
}

fn topology(topology: &Topology, line: &mut impl FnMut(&str, String)) {
    line("topology", topology.to_string());
    let cpus = &topology.cpus;
    if cpus.efficiency.is_empty() {
        if topology.threads_per_core.is_some_and(|threads| threads > 1) {
            line("", format!("one CPU per core: {}", cpus.one_per_core));
        }
    } else {
        line("", format!("fast CPUs {}, slow ones {}", cpus.performance, cpus.efficiency));
    }
    if topology.nodes.len() > 1 {
        for (n, node) in topology.nodes.iter().take(MOST_ROWS).enumerate() {
            let memory = node.memory.as_ref().map_or("memory unknown".to_owned(), |memory| gib(memory.value));
            let cpus = if node.cpus.is_empty() { "no CPUs".to_owned() } else { format!("CPUs {}", node.cpus) };
            line(if n == 0 { "numa" } else { "" }, format!("node {}: {memory}, {}", node.id, shortened(&cpus)));
        }
        more(topology.nodes.len(), line);
    }
    let caches = [("L2", &topology.l2_bytes_per_core, "per core"), ("L3", &topology.l3_bytes_total, "in all")];
    let known =
        caches.iter().filter_map(|(name, bytes, of)| Some(format!("{name} {} {of}", gib(bytes.as_ref()?.value))));
    let known: Vec<String> = known.collect();
    line("caches", if known.is_empty() { "unknown".to_owned() } else { known.join(", ") });
}

fn more(count: usize, line: &mut impl FnMut(&str, String)) {
    if count > MOST_ROWS {
        line("", format!("and {} more: see `--json`", count - MOST_ROWS));
    }
}

fn memory(memory: &Memory, line: &mut impl FnMut(&str, String)) {
    let size = |bytes: &Option<host::Sourced<u64>>| bytes.as_ref().map_or("unknown".to_owned(), |it| gib(it.value));
    line("memory", format!("{}, {} available", size(&memory.total), size(&memory.available)));
    if let Some(limit) = &memory.cgroup_limit {
        line("", format!("cgroup limit {} ({})", gib(limit.value), limit.source));
    }
    if let Some(budget) = &memory.budget {
        line("", format!("budget {} ({})", gib(budget.value), budget.source));
    }
    let pages = &memory.huge_pages;
    let setting = pages.transparent.as_ref().map_or("unknown".to_owned(), |setting| setting.value.to_string());
    let pools = pages.free_bytes.as_ref().map_or("unknown".to_owned(), |free| gib(free.value));
    line("huge pages", format!("transparent: {setting}; free in pools: {pools}"));
}

fn gpu_row(gpu: &Gpu) -> String {
    let mut parts = vec![gpu.label()];
    match gpu.integrated.as_ref().map(|integrated| integrated.value) {
        Some(true) => parts.push("integrated".to_owned()),
        Some(false) => {}
        None => parts.push("of its own or integrated: unknown".to_owned()),
    }
    if let Some(bytes) = &gpu.dedicated {
        parts.push(format!("{} of its own", gib(bytes.value)));
    }
    if let Some(bytes) = &gpu.shared {
        parts.push(format!("{} of main memory", gib(bytes.value)));
    }
    parts.push(gpu.usable.as_ref().map_or("memory unknown".to_owned(), |it| format!("{} usable", gib(it.value))));
    parts.join(", ")
}

fn build(build: Result<Option<&Build>, &str>) -> String {
    match build {
        Err(error) => format!("damaged: {error}"),
        Ok(None) => "none".to_owned(),
        Ok(Some(build)) => {
            let variant = match &build.variant {
                None => "native".to_owned(),
                Some(Ok(variant)) => format!("variant {variant}"),
                Some(Err(error)) => format!("no variant: {error}"),
            };
            format!("{}, {variant}, {}", build.id, if build.tuned { "measured here" } else { "not measured here" })
        }
    }
}

/// `55.4 GiB`, `1.0 MiB`.
pub(super) fn gib(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// The first `most`, and how many more there are.
pub(super) fn list(names: &[String], most: usize) -> String {
    let shown = names[..most.min(names.len())].join(" ");
    match names.len().saturating_sub(most) {
        0 if names.is_empty() => "none".to_owned(),
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A list of CPUs that fits the screen; even and odd ones on two nodes make a long one.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

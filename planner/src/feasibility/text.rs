//! The answer for people.

use std::fmt;

use super::{Answer, Verdict};
use crate::hardware::{Hardware, SHARE};
use crate::memory::{CpuExperts, Part};

/// The answer beside the machine that it is about.
pub struct Screen<'a> {
    /// What was found out.
    pub answer: &'a Answer,
    /// Where it would run.
    pub hardware: &'a Hardware,
    /// What is known of its speed.
    pub speed: &'a str,
}

impl Answer {
    /// The answer in one sentence: `fits with offload: 20 of 33 layers on the GPU`.
    pub fn sentence(&self) -> String {
        let split = match (self.breakdown.gpu_layers, self.setting.cpu_experts) {
            (0, _) => String::new(),
            (on_gpu, CpuExperts::First(layers)) if layers > 0 => {
                format!(": {on_gpu} of {} layers on the GPU, the experts of {layers} on the CPU", self.breakdown.layers)
            }
            (on_gpu, _) => format!(": {on_gpu} of {} layers on the GPU", self.breakdown.layers),
        };
        format!("{}{split}", self.verdict.name())
    }
}

impl fmt::Display for Screen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Screen { answer, hardware, speed } = self;
        let breakdown = &answer.breakdown;
        let mut line = |key: &str, value: &str| writeln!(f, "{key:<12} {value}");
        line("verdict", &answer.sentence())?;
        line("machine", &format!("{} ({})", hardware.name, hardware.source))?;
        let fewer = if answer.setting.ctx < answer.wanted_ctx {
            format!(", {} were wanted", answer.wanted_ctx)
        } else {
            String::new()
        };
        line("context", &format!("{} tokens for `{}`{fewer}", breakdown.ctx, answer.use_case))?;
        let on_cpu = breakdown.layers - breakdown.gpu_layers;
        line("layers", &format!("{} on the GPU, {on_cpu} on the CPU", breakdown.gpu_layers))?;
        let caches = breakdown.bytes(Part::PromptCache) + breakdown.bytes(Part::Checkpoints);
        let host = breakdown.host();
        let at_once = host.total().saturating_sub(caches);
        line("memory", &format!("{}, of which {SHARE} % count", of_budget(at_once, hardware.machine.ram)))?;
        for item in host.items.iter().filter(|item| ![Part::PromptCache, Part::Checkpoints].contains(&item.part)) {
            line("", &format!("{:<18} {:>8}  {}", item.part.name(), size(item.bytes), item.why))?;
        }
        if caches > 0 {
            line("", &format!("{:<18} {:>8}  at most, with use", "caches", size(caches)))?;
        }
        for (usage, gpu) in breakdown.gpus().iter().zip(&hardware.machine.gpus) {
            line("gpu", &format!("{}: {}", usage.name, of_budget(usage.total(), Some(gpu.memory))))?;
            for item in &usage.items {
                line("", &format!("{:<18} {:>8}  {}", item.part.name(), size(item.bytes), item.why))?;
            }
        }
        line("speed", speed)?;
        table(answer, f)?;
        let mut list = |word: &str, items: &[String]| items.iter().try_for_each(|item| writeln!(f, "{word}: {item}"));
        list("given up", &answer.sacrifices)?;
        list("note", &answer.notes)?;
        let better = if answer.verdict == Verdict::DoesNotFit { "would fit with" } else { "better" };
        list(better, &answer.changes)
    }
}

/// What else there is.
fn table(answer: &Answer, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let widest = answer.alternatives.iter().map(|row| row.change.len()).max().unwrap_or(0).max(12);
    writeln!(f, "\n{:<widest$}  {:>8} {:>9} {:>9} {:>9}  fits", "alternatives", "context", "on GPU", "memory", "GPU")?;
    for row in &answer.alternatives {
        let (fits, cost) = (if row.fits { "yes" } else { "no" }, row.cost);
        let cost = if cost.is_empty() { String::new() } else { format!(", {cost}") };
        let layers = format!("{}/{}", row.gpu_layers, answer.breakdown.layers);
        let (ram, vram) = (size(row.ram_bytes), size(row.vram_bytes));
        writeln!(f, "{:<widest$}  {:>8} {layers:>9} {ram:>9} {vram:>9}  {fits}{cost}", row.change, row.ctx)?;
    }
    writeln!(f)
}

/// `1.2 GB of 8.0 GB`.
fn of_budget(used: u64, budget: Option<u64>) -> String {
    let budget = budget.map_or_else(|| "an unknown amount".to_owned(), size);
    format!("{} of {budget}", size(used))
}

/// `1.2 GB`, `45 MB`.
fn size(bytes: u64) -> String {
    match bytes {
        1_000_000_000.. => format!("{:.1} GB", bytes as f64 / 1e9),
        _ => format!("{:.0} MB", bytes as f64 / 1e6),
    }
}

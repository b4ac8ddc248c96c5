//! A configuration from an answer.

use crate::feasibility::{Answer, CHECKPOINTS, Verdict};
use crate::hardware::Hardware;
use crate::memory::{CpuExperts, FlashAttention, GpuLayers, KvType, Load};

use super::{Configuration, Memory, Metadata, Setting, Value};

/// A setting that was measured on the machine, by llama-server's name without dashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// Such as `repack`.
    pub name: String,
    /// Such as `0`.
    pub value: String,
    /// Where and when.
    pub source: String,
}

/// The model that a configuration is for, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model<'a> {
    /// Its file.
    pub path: &'a str,
    /// Its size: `8b`.
    pub size: &'a str,
    /// How its weights are kept: `q4_k_m`.
    pub precision: &'a str,
}

/// Writes an answer as llama-server's options. What was measured wins over what is usual, but for a larger step through
/// prompts than was counted with.
pub fn make(
    answer: &Answer,
    hardware: &Hardware,
    model: &Model<'_>,
    measured: &[Measured],
    expected: &str,
) -> Configuration {
    let setting = &answer.setting;
    let mut settings = Vec::new();
    let ctx = match answer.setting.ctx < answer.wanted_ctx {
        true => format!("what fits; {} were wanted", answer.wanted_ctx),
        false => format!("`{}`", answer.use_case),
    };
    settings.push(Setting::text("ctx-size", setting.ctx, ctx));
    if !setting.kv_unified {
        settings.push(Setting::text(
            "parallel",
            setting.sequences,
            format!("`{}`: one request at a time", answer.use_case),
        ));
    }
    if let Some(threads) = &hardware.threads {
        settings.push(Setting::text("threads", threads.generation, &*threads.why));
        settings.push(Setting::text("threads-batch", threads.prompt, &*threads.why));
    }
    settings.push(Setting::text("batch-size", setting.batch, "as llama-server has it"));
    let ubatch = measured.iter().find(|measured| measured.name == "ubatch-size");
    let ubatch = ubatch.and_then(|found| Some((found.value.parse().ok()?, found.source.as_str())));
    let (tokens, source) =
        ubatch.filter(|(tokens, _)| *tokens <= setting.ubatch).unwrap_or((setting.ubatch, "counted with"));
    settings.push(Setting::text("ubatch-size", tokens, source));
    for (name, kind) in [("cache-type-k", setting.kv_k), ("cache-type-v", setting.kv_v)] {
        if kind != KvType::F16 {
            settings.push(Setting::text(name, kind, "so that the context fits"));
        }
    }
    if setting.kv_v.is_quantized() || setting.flash_attention == FlashAttention::On {
        settings.push(Setting::text("flash-attn", "on", "quantised values need it"));
    }
    if !hardware.machine.gpus.is_empty() {
        let layers = match setting.gpu_layers {
            GpuLayers::All => answer.breakdown.layers,
            GpuLayers::Last(count) => count.min(answer.breakdown.layers),
        };
        settings.push(Setting::text("n-gpu-layers", layers, answer.sentence()));
    }
    if let CpuExperts::First(layers) = setting.cpu_experts {
        settings.push(Setting::text("n-cpu-moe", layers, "so that everything else fits on the GPU"));
    }
    if hardware.machine.ram.is_some() {
        let why = "MiB: half of the memory that is left";
        settings.push(Setting::text("cache-ram", setting.prompt_cache_mib, why));
        if setting.checkpoints < CHECKPOINTS {
            settings.push(Setting::text("ctx-checkpoints", setting.checkpoints, "what a quarter of it holds"));
        }
    }
    let mode = if setting.load == Load::Mapped { "mmap" } else { "none" };
    settings.push(Setting::text("load-mode", mode, "processes share the weights, and the kernel may drop them"));
    for Measured { name, value, source } in measured.iter().filter(|measured| measured.name != "ubatch-size") {
        let known = super::options::by_name(name);
        let value = match known {
            Some(known) if !known.option.takes_value => Value::Switch(super::options::is_true(value)),
            Some(_) => Value::Text(value.clone()),
            // llama-bench has options that llama-server lacks.
            None => continue,
        };
        settings.retain(|setting| setting.name != *name);
        settings.push(Setting { name: name.clone(), value, source: source.clone() });
    }
    let host = answer.breakdown.host().total();
    Configuration {
        name: None,
        model: Some(model.path.to_owned()),
        settings,
        metadata: Metadata {
            hardware: format!("{} ({})", hardware.name, hardware.source),
            use_case: answer.use_case.to_string(),
            model_size: model.size.to_owned(),
            precision: model.precision.to_owned(),
            expected: expected.to_owned(),
            estimated_memory: Memory { ram_bytes: host, vram_bytes: answer.breakdown.total() - host },
            degraded: if answer.verdict == Verdict::Degraded { answer.sacrifices.clone() } else { Vec::new() },
        },
    }
}

//! What else there is: other KV types, a smaller quantisation, the CPU alone.

use diagnostic::Result;
use gguf::{Header, TensorInfo, TensorType};
use serde::Serialize;

use super::{Answer, Question, Verdict, place};
use crate::hardware::Hardware;
use crate::memory::{self, Breakdown, GpuLayers, KvType, Machine, Setting};

/// Another way to run the model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alternative {
    /// What is different.
    pub change: String,
    /// Tokens of the context.
    pub ctx: u64,
    /// Layers on GPUs, the output counted as one.
    pub gpu_layers: u64,
    /// Bytes of main memory.
    pub ram_bytes: u64,
    /// Bytes of all GPUs.
    pub vram_bytes: u64,
    /// Whether it fits, with a tenth of the memory left free.
    pub fits: bool,
    /// What it costs.
    pub cost: &'static str,
    /// Whether the context's keys and values are rounded.
    #[serde(skip)]
    rounds_context: bool,
    /// Whether it leaves the GPUs out.
    #[serde(skip)]
    bare: bool,
}

/// The table. What was wanted comes first, as it was wanted.
pub(super) fn of(question: &Question<'_>, answer: &Answer, hardware: &Hardware) -> Result<Vec<Alternative>> {
    let machine = hardware.within_share();
    let wanted = question.use_case.setting(answer.wanted_ctx);
    let mut table = Vec::new();
    let mut row = |change: String, cost, header: &Header, setting: &Setting, machine: &Machine| -> Result<bool> {
        let Some((fits, breakdown)) = tried(header, setting, machine)? else { return Ok(false) };
        table.push(Alternative {
            change,
            ctx: breakdown.ctx,
            gpu_layers: breakdown.gpu_layers,
            ram_bytes: breakdown.host().total(),
            vram_bytes: breakdown.total() - breakdown.host().total(),
            fits,
            cost,
            rounds_context: setting.kv_k.is_quantized(),
            bare: machine.gpus.is_empty() && !hardware.machine.gpus.is_empty(),
        });
        Ok(fits)
    };
    row("as wanted".to_owned(), "", question.header, &wanted, &machine)?;
    if !machine.gpus.is_empty() {
        let bare = hardware.without_gpus().within_share();
        row("without the GPU".to_owned(), "much slower", question.header, &wanted, &bare)?;
    }
    let q8 = wanted.clone().with_kv(KvType::Q8_0);
    row("KV cache in q8_0".to_owned(), "answers change a little", question.header, &q8, &machine)?;
    let q4 = wanted.clone().with_kv(KvType::Q4_0);
    row("KV cache in q4_0".to_owned(), "answers change, often for the worse", question.header, &q4, &machine)?;
    for (tensor_type, name) in SMALLER {
        let Some(header) = requantised(question.header, tensor_type) else { continue };
        row(format!("weights in {name} (about)"), "the model itself is rounded", &header, &wanted, &machine)?;
    }
    let mut ctx = answer.wanted_ctx / 2;
    while ctx >= answer.min_ctx {
        let shorter = Setting { ctx, ..wanted.clone() };
        if row(format!("a context of {ctx}"), "forgets earlier", question.header, &shorter, &machine)? {
            break;
        }
        ctx /= 2;
    }
    Ok(table)
}

/// Smaller types of weights, the largest first, by the name of the mixture that is mostly made of them.
const SMALLER: [(TensorType, &str); 4] =
    [(TensorType::Q8_0, "q8_0"), (TensorType::Q6K, "q6_k"), (TensorType::Q4K, "q4_k"), (TensorType::Q3K, "q3_k")];

/// Whether it fits, and what it takes where the layers are as well as they can be; `None` when llama.cpp would refuse it.
fn tried(header: &Header, setting: &Setting, machine: &Machine) -> Result<Option<(bool, Breakdown)>> {
    if let Some((_, breakdown)) = place(header, setting, machine)? {
        return Ok(Some((true, breakdown)));
    }
    let on_cpu = Setting { gpu_layers: GpuLayers::Last(0), ..setting.clone() };
    Ok(memory::breakdown(header, &on_cpu, machine).ok().map(|breakdown| (false, breakdown)))
}

/// The model as it would be with its matrices in this type; those that are smaller already stay. `None` when that would
/// save less than a tenth.
fn requantised(header: &Header, to: TensorType) -> Option<Header> {
    let mut saved = 0_u64;
    let tensors = header.tensors.iter().map(|tensor| {
        let elements = tensor.dims.iter().fold(1_u64, |product, dim| product.saturating_mul(*dim));
        let whole = tensor.dims.first().is_some_and(|row| row.is_multiple_of(to.block_elements()));
        let bytes = (elements / to.block_elements()).saturating_mul(to.block_bytes());
        if tensor.dims.len() < 2 || !whole || bytes >= tensor.bytes {
            return tensor.clone();
        }
        saved = saved.saturating_add(tensor.bytes - bytes);
        TensorInfo { tensor_type: to, bytes, ..tensor.clone() }
    });
    let tensors = tensors.collect();
    let whole = header.tensors.iter().map(|tensor| tensor.bytes).fold(0, u64::saturating_add);
    (saved > whole / 10).then(|| Header { tensors, ..header.clone() })
}

/// What would make it better, the cheapest first. Nothing where all is well.
pub(super) fn changes(answer: &Answer, hardware: &Hardware) -> Vec<String> {
    // What the model was not trained for, no other setting changes.
    let untrained = answer.trained_ctx.is_some_and(|trained| trained < answer.wanted_ctx);
    let for_memory = answer.sacrifices.len() > usize::from(untrained);
    let helps = |row: &&Alternative| match answer.verdict {
        Verdict::Gpu => false,
        Verdict::CpuOnly => row.fits && row.gpu_layers > 0,
        Verdict::Offload => row.fits && row.gpu_layers == answer.breakdown.layers,
        // What was chosen already is no change.
        Verdict::Degraded => for_memory && row.fits && !row.rounds_context && row.ctx >= answer.breakdown.ctx,
        Verdict::DoesNotFit => row.fits,
    };
    let rows = answer.alternatives.iter().filter(|row| !row.bare).skip(1).filter(helps);
    let mut changes: Vec<String> = rows.map(|row| format!("{}: {}", row.change, row.cost)).collect();
    if answer.verdict == Verdict::DoesNotFit {
        let short = answer.breakdown.shortfalls(&hardware.within_share());
        changes.extend(short.iter().map(|short| {
            let missing = short.needed.saturating_sub(short.budget);
            format!("{} more of memory for {}", memory::gigabytes(missing), short.name)
        }));
    }
    if untrained {
        changes.push(format!("a model that was trained for {} tokens", answer.wanted_ctx));
    }
    changes
}

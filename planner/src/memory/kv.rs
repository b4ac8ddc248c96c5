//! The KV cache and the recurrent state, to the byte: `llama_kv_cache` and `llama_kv_cache_iswa` in
//! src/llama-kv-cache.cpp and -iswa.cpp, `llama_memory_recurrent` in src/llama-memory-recurrent.cpp.

use diagnostic::Result;

use super::architecture::Memory;
use super::parameters::{Layer, Parameters, invalid};
use super::setting::{FlashAttention, Setting};

/// Cells are allocated in multiples of this: `GGML_PAD(cparams.n_ctx, 256)` in src/llama-context.cpp.
pub(super) const CELLS: u64 = 256;
/// Tensors start at multiples of this: `TENSOR_ALIGNMENT` in ggml/src/ggml-impl.h.
pub(super) const ALIGNMENT: u64 = 32;
/// `LLAMA_MAX_SEQ` in src/llama-cparams.h.
const MAX_SEQUENCES: u64 = 256;

/// The sizes of a context: `llama_context::llama_context` in src/llama-context.cpp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Tokens of all sequences together.
    pub(super) n_ctx: u64,
    /// Cells of a cache that sees everything.
    pub(super) cells: u64,
    /// Cells of a cache that sees only a window.
    pub(super) cells_swa: u64,
    /// How many caches there are side by side: one, or one per sequence.
    pub(super) streams: u64,
    pub(super) sequences: u64,
    pub(super) n_batch: u64,
    pub(super) n_ubatch: u64,
    pub(super) flash_attention: bool,
}

/// Bytes of one layer's memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LayerBytes {
    /// Keys and values.
    pub(super) kv: u64,
    /// The recurrent state, for all sequences.
    pub(super) recurrent: u64,
}

/// The sizes that a setting comes to.
///
/// # Errors
/// What it asks for is nothing, more than can be counted, or what llama.cpp refuses.
pub(super) fn sizes(model: &Parameters, setting: &Setting) -> Result<Sizes> {
    let asked = if setting.ctx == 0 { model.n_ctx_train } else { setting.ctx };
    if asked == 0 {
        return Err(invalid("it does not say for how long a context it was trained").hint("set a context"));
    }
    let sequences = setting.sequences.max(1);
    let limit =
        |value: u64| if value <= u64::from(u32::MAX) { Ok(value) } else { Err(invalid("the context is too long")) };
    let asked = limit(asked)?;
    if sequences > MAX_SEQUENCES {
        return Err(invalid(format!("{sequences} sequences, and llama.cpp takes {MAX_SEQUENCES}")));
    }
    let n_batch = if model.causal { asked.min(setting.batch) } else { setting.batch };
    let n_ubatch = n_batch.min(if setting.ubatch == 0 { setting.batch } else { setting.ubatch });
    if n_ubatch == 0 {
        return Err(invalid("a batch of no tokens"));
    }
    let padded = asked.next_multiple_of(CELLS);
    let cells = if setting.kv_unified { padded } else { (padded / sequences).next_multiple_of(CELLS) };
    if cells == 0 {
        return Err(invalid(format!("a context of {padded} tokens is too short for {sequences} sequences")));
    }
    let (streams, n_ctx) = if setting.kv_unified { (1, padded) } else { (sequences, cells * sequences) };
    let window = model.n_swa.saturating_mul(if setting.kv_unified { sequences } else { 1 });
    let cells_swa = match setting.swa_full {
        true => cells,
        false => cells.min(window.saturating_add(n_ubatch)).next_multiple_of(CELLS),
    };
    let flash_attention = flash_attention(model, setting)?;
    Ok(Sizes { n_ctx, cells, cells_swa, streams, sequences, n_batch, n_ubatch, flash_attention })
}

/// Whether attention is computed in one step: `llama_init_from_model` in src/llama-context.cpp.
fn flash_attention(model: &Parameters, setting: &Setting) -> Result<bool> {
    let on = setting.flash_attention != FlashAttention::Off && model.name != "grok";
    if !on && setting.kv_v.is_quantized() {
        return Err(invalid(format!("values of the KV cache cannot be `{}` without flash attention", setting.kv_v))
            .hint("turn flash attention on, or keep values in `f16`"));
    }
    if model.mla && setting.kv_k != setting.kv_v {
        return Err(invalid("this model keeps keys and values in one, and so in one type"));
    }
    Ok(on)
}

/// Bytes of every layer's memory.
///
/// # Errors
/// A type whose blocks do not divide the heads, which llama.cpp refuses, or more bytes than can be counted.
pub(super) fn layers(model: &Parameters, setting: &Setting, sizes: &Sizes) -> Result<Vec<LayerBytes>> {
    // Without flash attention values lie transposed, and are padded to those of the largest layer.
    let widest = model.layers.iter().map(Layer::v_gqa).max().unwrap_or(0);
    let rows = sizes.sequences;
    model
        .layers
        .iter()
        .map(|layer| {
            let mut bytes = LayerBytes::default();
            if layer.kv {
                let cells = if layer.swa { sizes.cells_swa } else { sizes.cells };
                let v_gqa = if sizes.flash_attention { layer.v_gqa() } else { widest };
                if sizes.flash_attention {
                    divides(setting, layer, model.mla)?;
                }
                let keys = tensor(setting.kv_k.bytes(layer.k_gqa()), cells, sizes.streams)?;
                let values = if model.mla { 0 } else { tensor(setting.kv_v.bytes(v_gqa), cells, sizes.streams)? };
                bytes.kv = keys.saturating_add(values);
            }
            if layer.recurrent {
                // Always f32, whatever the type of the KV cache.
                let r = tensor(model.n_embd_r.checked_mul(4), rows, 1)?;
                let s = tensor(model.n_embd_s.checked_mul(4), rows, 1)?;
                bytes.recurrent = r.saturating_add(s);
            }
            Ok(bytes)
        })
        .collect()
}

/// Whether the blocks of the types divide the heads of a layer.
fn divides(setting: &Setting, layer: &Layer, mla: bool) -> Result<()> {
    let checks = [("keys", setting.kv_k, layer.head_k), ("values", setting.kv_v, if mla { 0 } else { layer.head_v })];
    for (what, kind, head) in checks {
        let block = kind.tensor_type().block_elements();
        if head % block != 0 {
            return Err(invalid(format!(
                "{what} of the KV cache cannot be `{kind}`: its blocks of {block} do not divide heads of {head}"
            ))
            .hint("keep them in `f16`"));
        }
    }
    Ok(())
}

/// A tensor of rows, padded as the allocator does.
fn tensor(row: Option<u64>, rows: u64, streams: u64) -> Result<u64> {
    row.and_then(|row| row.checked_mul(rows)?.checked_mul(streams)?.checked_next_multiple_of(ALIGNMENT))
        .filter(|&bytes| bytes <= i64::MAX as u64)
        .ok_or_else(|| {
            invalid("its KV cache takes more bytes than can be counted, or its type does not divide its rows")
        })
}

/// Bytes of what llama-server keeps of one sequence to come back to, in its own words a context checkpoint: the recurrent
/// state, and what layers with a window see. Models that have neither keep none (`do_checkpoint` in
/// tools/server/server-context.cpp).
pub(super) fn checkpoint(model: &Parameters, setting: &Setting, sizes: &Sizes, layers: &[LayerBytes]) -> u64 {
    let memory = model.known.map(|known| known.memory);
    if matches!(memory, Some(Memory::None)) {
        return 0;
    }
    let recurrent = layers.iter().map(|bytes| bytes.recurrent / sizes.sequences).fold(0, u64::saturating_add);
    if setting.swa_full {
        return recurrent;
    }
    // A unified cache holds the windows of all sequences.
    let shared = if setting.kv_unified { 1 } else { sizes.streams };
    let windows = model.layers.iter().zip(layers).filter(|(layer, _)| layer.swa && layer.kv);
    windows.map(|(_, bytes)| bytes.kv / shared).fold(recurrent, u64::saturating_add)
}

//! How a model is to be run, as far as memory depends on it: llama-server's options in plain words.

use std::fmt;
use std::str::FromStr;

use gguf::TensorType;
use serde::{Deserialize, Serialize};

/// How the KV cache keeps a value: `kv_cache_types` in llama.cpp's common/arg.cpp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvType {
    /// 4 bytes a value.
    F32,
    /// 2 bytes a value, llama.cpp's default.
    F16,
    /// 2 bytes a value.
    Bf16,
    /// 34 bytes for 32 values.
    Q8_0,
    /// 18 bytes for 32 values.
    Q4_0,
    /// 20 bytes for 32 values.
    Q4_1,
    /// 18 bytes for 32 values.
    Iq4Nl,
    /// 22 bytes for 32 values.
    Q5_0,
    /// 24 bytes for 32 values.
    Q5_1,
}

impl KvType {
    /// Every type that llama.cpp allows.
    pub const ALL: [KvType; 9] = [
        KvType::F32,
        KvType::F16,
        KvType::Bf16,
        KvType::Q8_0,
        KvType::Q4_0,
        KvType::Q4_1,
        KvType::Iq4Nl,
        KvType::Q5_0,
        KvType::Q5_1,
    ];

    /// The name that `--cache-type-k` takes.
    pub fn name(self) -> &'static str {
        self.tensor_type().name()
    }

    /// ggml's type.
    pub fn tensor_type(self) -> TensorType {
        match self {
            KvType::F32 => TensorType::F32,
            KvType::F16 => TensorType::F16,
            KvType::Bf16 => TensorType::Bf16,
            KvType::Q8_0 => TensorType::Q8_0,
            KvType::Q4_0 => TensorType::Q4_0,
            KvType::Q4_1 => TensorType::Q4_1,
            KvType::Iq4Nl => TensorType::Iq4Nl,
            KvType::Q5_0 => TensorType::Q5_0,
            KvType::Q5_1 => TensorType::Q5_1,
        }
    }

    /// Whether values are kept in blocks that share a scale.
    pub fn is_quantized(self) -> bool {
        self.tensor_type().block_elements() > 1
    }

    /// Bytes of `values` values; `None` when they are no whole blocks, or too many.
    pub fn bytes(self, values: u64) -> Option<u64> {
        let kind = self.tensor_type();
        if !values.is_multiple_of(kind.block_elements()) {
            return None;
        }
        (values / kind.block_elements()).checked_mul(kind.block_bytes())
    }
}

impl fmt::Display for KvType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for KvType {
    type Err = String;

    fn from_str(text: &str) -> Result<KvType, String> {
        KvType::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names = KvType::ALL.map(|kind| format!("`{kind}`")).join(", ");
            format!("unknown KV type `{}`, there are {names}", text.escape_debug())
        })
    }
}

/// llama-server's `--flash-attn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlashAttention {
    /// On wherever the device can: on the CPU always, but for grok.
    Auto,
    /// On.
    On,
    /// Off: attention then keeps a score for every pair of a token of the batch and one of the context.
    Off,
}

/// llama-server's `--n-gpu-layers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuLayers {
    /// All, and the output.
    All,
    /// So many of the last ones; the output counts as one, and is the first to go.
    Last(u64),
}

/// Which layers' experts stay in main memory although the layer is on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CpuExperts {
    /// None.
    None,
    /// Those of the first so many layers: `--n-cpu-moe`.
    First(u64),
    /// All: `--cpu-moe`.
    All,
}

/// How weights get into main memory: `--load-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// Mapped from the file: what is not repacked may be dropped by the kernel, and read again.
    Mapped,
    /// Read into memory of our own.
    Read,
}

/// How many tokens of a batch may ask for logits, which is what the compute buffer has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogitsRows {
    /// One per sequence: llama-server (`server_output_limits`).
    PerSequence,
    /// Every token of a micro-batch: llama-bench, llama-fit-params, perplexity.
    EveryToken,
}

/// How a model is to be run.
///
/// There is no `Default`: what is best depends on the program. [`Setting::server`] is llama-server's,
/// [`Setting::single`] that of one conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Tokens of the context, of all sequences together; 0 for what the model was trained for. `--ctx-size`.
    pub ctx: u64,
    /// How keys are kept.
    pub kv_k: KvType,
    /// How values are kept.
    pub kv_v: KvType,
    /// Tokens that are handed over at once: `--batch-size`.
    pub batch: u64,
    /// Tokens that are computed at once: `--ubatch-size`.
    pub ubatch: u64,
    /// Sequences, which are llama-server's slots: `--parallel`.
    pub sequences: u64,
    /// Whether all sequences share one cache, and not each has its part: `--kv-unified`.
    pub kv_unified: bool,
    /// `--flash-attn`.
    pub flash_attention: FlashAttention,
    /// `--n-gpu-layers`. Without a GPU it means nothing.
    pub gpu_layers: GpuLayers,
    /// `--tensor-split`: shares of the GPUs; empty to share by their memory.
    pub tensor_split: Vec<f32>,
    /// `--cpu-moe`, `--n-cpu-moe`.
    pub cpu_experts: CpuExperts,
    /// Whether the KV cache of a layer is where the layer is; otherwise it is in main memory. `--kv-offload`.
    pub kv_offload: bool,
    /// Whether layers with a sliding window keep the whole context: `--swa-full`.
    pub swa_full: bool,
    /// Whether weights in main memory are rearranged for the CPU's instructions: `--repack`.
    pub repack: bool,
    /// `--load-mode`.
    pub load: Load,
    /// How many tokens of a batch may ask for logits.
    pub logits: LogitsRows,
    /// MiB of prompts that llama-server keeps for requests to come: `--cache-ram`.
    pub prompt_cache_mib: u64,
    /// States of recurrent or sliding-window layers that llama-server keeps for each slot: `--ctx-checkpoints`.
    pub checkpoints: u64,
}

impl Setting {
    /// llama-server with a context of `ctx` tokens and its defaults for the rest: four slots that share one cache. But
    /// without a prompt cache and checkpoints, which grow with use and have limits of their own.
    pub fn server(ctx: u64) -> Setting {
        Setting { sequences: 4, kv_unified: true, ..Setting::single(ctx) }
    }

    /// One conversation, with llama.cpp's defaults for the rest.
    pub fn single(ctx: u64) -> Setting {
        Setting {
            ctx,
            kv_k: KvType::F16,
            kv_v: KvType::F16,
            batch: 2048,
            ubatch: 512,
            sequences: 1,
            kv_unified: false,
            flash_attention: FlashAttention::Auto,
            gpu_layers: GpuLayers::All,
            tensor_split: Vec::new(),
            cpu_experts: CpuExperts::None,
            kv_offload: true,
            swa_full: false,
            repack: true,
            load: Load::Mapped,
            logits: LogitsRows::PerSequence,
            prompt_cache_mib: 0,
            checkpoints: 0,
        }
    }

    /// The same with keys and values of one type.
    pub fn with_kv(self, kind: KvType) -> Setting {
        Setting { kv_k: kind, kv_v: kind, ..self }
    }
}

//! What llama.cpp's code, and no file, says of an architecture: where it keeps its context, and which layers look back
//! only so far.
//!
//! Sources at the pin: `llama_model::create_memory` in src/llama-model.cpp, `llm_arch_is_recurrent` and
//! `llm_arch_is_hybrid` in src/llama-arch.cpp, `load_arch_hparams` in src/models/.

/// Where an architecture keeps what it has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// Nowhere: encoders and diffusion models.
    None,
    /// In a KV cache.
    Attention,
    /// In a state of constant size: Mamba, RWKV.
    Recurrent,
    /// Some layers so, others so.
    Hybrid(Recurrence),
    /// In a form of its own that is not modelled here.
    Special,
}

/// Which layers of a hybrid are recurrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recurrence {
    /// Those without KV heads.
    NoKvHeads,
    /// Those without KV heads and without a feed-forward part; those with one have no memory at all.
    NoKvHeadsNoFfn,
    /// All, and all have attention beside it: Falcon H1.
    Everywhere,
    /// As `attention.recurrent_layers` lists, or all but every `full_attention_interval`-th, 4 unless given.
    Interval,
}

/// Which layers look back only over a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Window {
    /// None.
    None,
    /// By `attention.sliding_window_pattern`, a list or a period; this period where the file gives none.
    Pattern {
        /// Of each `period` layers one sees everything: the last, or the first.
        period: u64,
        /// Whether it is the first.
        dense_first: bool,
        /// How far the others see when the file does not say so; 0 makes it an ordinary cache then.
        tokens: u64,
        /// Whether the file's own number counts.
        fixed: bool,
    },
    /// By `attention.sliding_window_pattern`, which is a list.
    List,
    /// All layers that are not recurrent, where the file gives a window.
    EveryAttention,
}

impl Window {
    const fn last(period: u64, tokens: u64) -> Window {
        Window::Pattern { period, dense_first: false, tokens, fixed: false }
    }

    const fn first(period: u64) -> Window {
        Window::Pattern { period, dense_first: true, tokens: 0, fixed: false }
    }
}

/// What is known of an architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Architecture {
    pub(super) memory: Memory,
    pub(super) window: Window,
    /// Whether the graph of this architecture was compared with llama.cpp's: the figure of the compute buffer is as good
    /// as the oracle says. The others use the same parts, and get a margin.
    pub(super) compared: bool,
}

/// What is known of the architecture with this name (`general.architecture`); `None` when it is none of llama.cpp's at
/// the pin.
pub(super) fn known(name: &str) -> Option<Architecture> {
    let window = match name {
        "afmoe" | "cohere2" | "mellum" | "muse-glimmer" | "olmo2" => Window::last(4, 0),
        "cohere2moe" | "laguna" => Window::first(4),
        "exaone-moe" => Window::last(4, 128),
        // Only its 64-layer model has a window: `parameters::read` looks.
        "exaone4" => Window::last(4, 4096),
        "gemma2" => Window::last(2, 4096),
        "gemma3" => Window::last(6, 0),
        "gemma3n" => Window::last(5, 0),
        "gpt-oss" => Window::last(2, 0),
        "plamo3" => Window::last(8, 0),
        "llama4" => Window::Pattern { period: 4, dense_first: false, tokens: 8192, fixed: true },
        "smallthinker" => Window::Pattern { period: 4, dense_first: true, tokens: 4096, fixed: true },
        "gemma4" | "granite_swa" | "maple" | "mimo2" | "spark2_5" | "step35" => Window::List,
        "lfm2" => Window::EveryAttention,
        _ => Window::None,
    };
    let memory = match name {
        "bert" | "jina-bert-v2" | "jina-bert-v3" | "nomic-bert" | "nomic-bert-moe" | "neo-bert" | "eurobert"
        | "wavtokenizer-dec" | "modern-bert" | "gemma-embedding" | "dream" | "llada" | "llada-moe" | "rnd1" => {
            Memory::None
        }
        "mamba" | "mamba2" | "rwkv6" | "rwkv6qwen2" | "rwkv7" | "arwkv7" => Memory::Recurrent,
        "jamba" | "plamo2" | "granitehybrid" | "lfm2" | "lfm2moe" | "kimi-linear" | "bailingmoe3" => {
            Memory::Hybrid(Recurrence::NoKvHeads)
        }
        "nemotron_h" | "nemotron_h_moe" => Memory::Hybrid(Recurrence::NoKvHeadsNoFfn),
        "falcon-h1" => Memory::Hybrid(Recurrence::Everywhere),
        "qwen3next" | "qwen35" | "qwen35moe" | "minimax-01" => Memory::Hybrid(Recurrence::Interval),
        // An index beside the cache, layers that are computed several times, a second model that it leans on.
        "minimax-m3" | "glm-dsa" | "deepseek32" | "deepseek4" | "glm5-next" | "hy_v4" | "dots3note" | "dflash"
        | "eagle3" | "qwen4exp" | "kimi-k3" | "gemma4-assistant" | "graniteswitch" | "nanbeige" | "hrm_text"
        | "qwen3tts" | "pockettts" | "t5" | "t5encoder" | "clip" => Memory::Special,
        _ if ATTENTION.contains(&name) || window != Window::None => Memory::Attention,
        _ => return None,
    };
    Some(Architecture { memory, window, compared: COMPARED.contains(&name) })
}

/// The architectures that the oracle is asked about (tests/oracle.rs).
pub(super) const COMPARED: [&str; 13] = [
    "llama",
    "qwen2",
    "qwen3",
    "qwen3moe",
    "gemma2",
    "gemma3",
    "phi3",
    "deepseek2",
    "gpt-oss",
    "falcon-h1",
    "mamba",
    "jamba",
    "granitehybrid",
];

/// `LLM_ARCH_NAMES` in src/llama-arch.cpp, those with an ordinary KV cache and no window.
const ATTENTION: [&str; 75] = [
    "llama",
    "deci",
    "falcon",
    "grok",
    "gpt2",
    "gptj",
    "gptneox",
    "mpt",
    "baichuan",
    "starcoder",
    "refact",
    "bloom",
    "stablelm",
    "qwen",
    "qwen2",
    "qwen2moe",
    "qwen2vl",
    "qwen3",
    "qwen3moe",
    "qwen3vl",
    "qwen3vlmoe",
    "phi2",
    "phi3",
    "phimoe",
    "plamo",
    "codeshell",
    "orion",
    "internlm2",
    "minicpm",
    "minicpm3",
    "gemma",
    "starcoder2",
    "xverse",
    "command-r",
    "dbrx",
    "olmo",
    "olmoe",
    "openelm",
    "arctic",
    "deepseek",
    "deepseek2",
    "deepseek2-ocr",
    "chatglm",
    "glm4",
    "glm4moe",
    "bitnet",
    "jais",
    "jais2",
    "nemotron",
    "exaone",
    "granite",
    "granitemoe",
    "chameleon",
    "plm",
    "bailingmoe",
    "bailingmoe2",
    "dots1",
    "arcee",
    "ernie4_5",
    "ernie4_5-moe",
    "hunyuan-moe",
    "hunyuan-dense",
    "hunyuan_vl",
    "hy_v3",
    "smollm3",
    "seed_oss",
    "grovemoe",
    "apertus",
    "minimax-m2",
    "cogvlm",
    "pangu-embedded",
    "mistral3",
    "mistral4",
    "paddleocr",
    "maincoder",
];

//! The numbers of a model that memory depends on, read from its header as `llama_model_base::load_hparams` in
//! src/llama-model.cpp reads them.

use diagnostic::{Error, Result, codes};
use gguf::{Array, Header, Value};

use super::architecture::{self, Architecture, Memory, Recurrence, Window};

/// `LLAMA_MAX_LAYERS` in src/llama-hparams.h: a file that claims more is refused there, and here.
const MAX_LAYERS: u64 = 512;
/// `LLAMA_MAX_EXPERTS` there.
const MAX_EXPERTS: u64 = 1024;
/// No width, head or vocabulary is as large; what is comes from a damaged file. It keeps every product below within 64 bits.
const MAX_WIDTH: u64 = 1 << 24;
/// Values of a recurrent state: a thousand times those of the largest model.
const MAX_STATE: u64 = 1 << 36;

/// A model's numbers, in llama.cpp's words.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parameters {
    pub(super) name: String,
    /// `None`: an architecture that llama.cpp does not know at the pin.
    pub(super) known: Option<Architecture>,
    pub(super) n_ctx_train: u64,
    pub(super) n_embd: u64,
    pub(super) n_vocab: u64,
    /// Layers that a prompt goes through.
    pub(super) n_layer: u64,
    /// And those that only guess the token after the next, which llama.cpp does not load unless asked.
    pub(super) layers: Vec<Layer>,
    pub(super) n_expert: u64,
    /// Keys are compressed and hold the values: one key per token, no value (multi-head latent attention).
    pub(super) mla: bool,
    /// How far layers with a window see.
    pub(super) n_swa: u64,
    pub(super) causal: bool,
    /// Of the state of a recurrent layer: what the convolution looks back on, and the state itself, in values.
    pub(super) n_embd_r: u64,
    pub(super) n_embd_s: u64,
    pub(super) ssm: Ssm,
    /// Of multi-head latent attention.
    pub(super) latent: Latent,
}

/// One layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) n_head: u64,
    pub(super) n_head_kv: u64,
    pub(super) n_ff: u64,
    pub(super) n_ff_exp: u64,
    pub(super) n_expert_used: u64,
    pub(super) head_k: u64,
    pub(super) head_v: u64,
    /// Sees only a window.
    pub(super) swa: bool,
    /// Has a KV cache of its own.
    pub(super) kv: bool,
    /// Has a recurrent state.
    pub(super) recurrent: bool,
}

impl Layer {
    /// Values of a token's keys.
    pub(super) fn k_gqa(&self) -> u64 {
        self.head_k.saturating_mul(self.n_head_kv)
    }

    /// Values of a token's values.
    pub(super) fn v_gqa(&self) -> u64 {
        self.head_v.saturating_mul(self.n_head_kv)
    }
}

/// The parts of a state-space layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ssm {
    pub(super) conv: u64,
    pub(super) inner: u64,
    pub(super) state: u64,
    pub(super) dt_rank: u64,
    pub(super) group: u64,
}

/// The parts of multi-head latent attention.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Latent {
    pub(super) q_lora: u64,
    pub(super) kv_lora: u64,
    pub(super) head_k: u64,
    pub(super) head_v: u64,
    pub(super) rope: u64,
}

impl Parameters {
    /// Whether any layer sees only a window, so that there are two caches.
    pub(super) fn windowed(&self) -> bool {
        self.layers.iter().any(|layer| layer.swa)
    }
}

/// Reads them.
///
/// # Errors
/// [`codes::MODEL_INVALID`]: the header lacks what every model has, or gives numbers that make no sense.
pub(super) fn read(header: &Header) -> Result<Parameters> {
    let name =
        header.metadata.architecture().ok_or_else(|| invalid("metadata `general.architecture` is missing"))?.to_owned();
    let keys = Keys { header };
    let known = architecture::known(&name);
    let n_layer_all = keys.required("block_count")?;
    if n_layer_all == 0 || n_layer_all > MAX_LAYERS {
        return Err(invalid(format!("it has {n_layer_all} layers, and llama.cpp takes 1 to {MAX_LAYERS}")));
    }
    let n_embd = keys.required("embedding_length")?;
    let nextn = keys.number("nextn_predict_layers")?.unwrap_or(0);
    let n_layer = n_layer_all.checked_sub(nextn).ok_or_else(|| invalid("it has more layers than layers"))?;
    let per_layer = |key: &str, default: u64| keys.per_layer(key, n_layer_all, default);

    let n_head = per_layer("attention.head_count", 0)?;
    let n_head_kv = match keys.value("attention.head_count_kv") {
        None => n_head.clone(),
        Some(_) => per_layer("attention.head_count_kv", 0)?,
    };
    let n_ff = per_layer("feed_forward_length", 0)?;
    let n_ff_exp = per_layer("expert_feed_forward_length", 0)?;
    let n_expert_used = per_layer("expert_used_count", 0)?;
    // What has no attention heads in its first layer has none: `hparams.n_head() > 0`.
    let head = |key: &str| -> Result<u64> {
        match n_head[0] {
            0 => Ok(0),
            heads => Ok(keys.number(key)?.unwrap_or(n_embd / heads)),
        }
    };
    let (head_k, head_v) = (head("attention.key_length")?, head("attention.value_length")?);
    let head_k_swa = keys.number("attention.key_length_swa")?.unwrap_or(head_k);
    let head_v_swa = keys.number("attention.value_length_swa")?.unwrap_or(head_v);

    let memory = known.map_or(Memory::Special, |known| known.memory);
    let recurrent = recurrent(memory, &keys, n_layer, &n_head_kv, &n_ff)?;
    let window = known.map_or(Window::None, |known| known.window);
    let (n_swa, swa) = windows(window, &keys, &name, n_layer_all, n_layer, &recurrent)?;
    let kv_layers = match name.as_str() {
        // `n_layer_kv_from_start`: the others use the cache of a layer before them.
        "gemma3n" => 20,
        "gemma4" => n_layer_all.saturating_sub(keys.number("attention.shared_kv_layers")?.unwrap_or(0)),
        _ => n_layer,
    };
    let layers = (0..n_layer_all as usize)
        .map(|i| {
            let trunk = (i as u64) < n_layer;
            Layer {
                n_head: n_head[i],
                n_head_kv: n_head_kv[i],
                n_ff: n_ff[i],
                n_ff_exp: n_ff_exp[i],
                n_expert_used: n_expert_used[i],
                head_k: if swa[i] { head_k_swa } else { head_k },
                head_v: if swa[i] { head_v_swa } else { head_v },
                swa: swa[i],
                kv: trunk && (i as u64) < kv_layers && attends(memory, recurrent[i], n_ff[i]),
                recurrent: trunk && recurrent[i],
            }
        })
        .collect();

    let ssm = Ssm {
        conv: keys.number("ssm.conv_kernel")?.unwrap_or(0),
        inner: keys.number("ssm.inner_size")?.unwrap_or(0),
        state: keys.number("ssm.state_size")?.unwrap_or(0),
        dt_rank: keys.number("ssm.time_step_rank")?.unwrap_or(0),
        group: keys.number("ssm.group_count")?.unwrap_or(0),
    };
    let latent = Latent {
        q_lora: keys.number("attention.q_lora_rank")?.unwrap_or(0),
        kv_lora: keys.number("attention.kv_lora_rank")?.unwrap_or(0),
        head_k: keys.number("attention.key_length_mla")?.unwrap_or(0),
        head_v: keys.number("attention.value_length_mla")?.unwrap_or(0),
        rope: keys.number("rope.dimension_count")?.unwrap_or(head_k),
    };
    let n_expert = keys.number("expert_count")?.unwrap_or(0);
    if n_expert > MAX_EXPERTS {
        return Err(invalid(format!("it has {n_expert} experts, and llama.cpp takes {MAX_EXPERTS}")));
    }
    let (n_embd_r, n_embd_s) = state(&keys, &name, &ssm, n_embd, n_head[0], head_k)?;
    Ok(Parameters {
        n_ctx_train: keys.number("context_length")?.unwrap_or(0),
        n_vocab: vocabulary(header, &keys)?,
        mla: latent.head_k != 0 && latent.head_v != 0,
        causal: !matches!(keys.value("attention.causal"), Some(Value::Bool(false))),
        name,
        known,
        n_embd,
        n_layer,
        layers,
        n_swa,
        n_expert,
        n_embd_r,
        n_embd_s,
        ssm,
        latent,
    })
}

/// Whether a layer has a KV cache: the `filter_attn` of `create_memory`.
fn attends(memory: Memory, recurrent: bool, n_ff: u64) -> bool {
    match memory {
        Memory::None | Memory::Recurrent => false,
        Memory::Attention | Memory::Special | Memory::Hybrid(Recurrence::Everywhere) => true,
        Memory::Hybrid(Recurrence::NoKvHeadsNoFfn) => !recurrent && n_ff == 0,
        Memory::Hybrid(Recurrence::NoKvHeads | Recurrence::Interval) => !recurrent,
    }
}

/// Which layers have a recurrent state: `is_recr_impl`.
fn recurrent(memory: Memory, keys: &Keys<'_>, n_layer: u64, n_head_kv: &[u64], n_ff: &[u64]) -> Result<Vec<bool>> {
    let layers = n_head_kv.len() as u64;
    Ok(match memory {
        Memory::None | Memory::Attention | Memory::Special => vec![false; n_head_kv.len()],
        Memory::Recurrent | Memory::Hybrid(Recurrence::Everywhere) => vec![true; n_head_kv.len()],
        Memory::Hybrid(Recurrence::NoKvHeads) => n_head_kv.iter().map(|&heads| heads == 0).collect(),
        Memory::Hybrid(Recurrence::NoKvHeadsNoFfn) => {
            n_head_kv.iter().zip(n_ff).map(|(&heads, &n_ff)| heads == 0 && n_ff == 0).collect()
        }
        Memory::Hybrid(Recurrence::Interval) => match keys.flags("attention.recurrent_layers", layers)? {
            Some(listed) => listed,
            None => {
                let interval = keys.number("full_attention_interval")?.unwrap_or(4).max(1);
                (0..layers).map(|layer| layer < n_layer && (layer + 1) % interval != 0).collect()
            }
        },
    })
}

/// How far layers with a window see, and which those are: `n_swa` and `is_swa_impl`.
fn windows(
    window: Window,
    keys: &Keys<'_>,
    name: &str,
    layers: u64,
    n_layer: u64,
    recurrent: &[bool],
) -> Result<(u64, Vec<bool>)> {
    let none = (0, vec![false; recurrent.len()]);
    let given = keys.number("attention.sliding_window")?;
    let listed = || keys.flags("attention.sliding_window_pattern", layers);
    Ok(match window {
        Window::None => none,
        Window::Pattern { .. } if name == "exaone4" && n_layer != 64 => none,
        Window::Pattern { period, dense_first, tokens, fixed } => {
            let n_swa = match given {
                Some(0) => return Ok(none),
                None if tokens == 0 || name == "smallthinker" => return Ok(none),
                Some(given) if !fixed => given,
                _ => tokens,
            };
            let swa = match listed()? {
                Some(listed) => listed,
                None => {
                    let period = keys.number("attention.sliding_window_pattern")?.unwrap_or(period);
                    let dense = |layer: u64| match (period, dense_first) {
                        (0, _) => false,
                        (_, true) => layer.is_multiple_of(period),
                        (_, false) => layer % period == period - 1,
                    };
                    (0..layers).map(|layer| layer < n_layer && !dense(layer)).collect()
                }
            };
            (n_swa, swa)
        }
        Window::List => {
            let swa = listed()?.ok_or_else(|| invalid("it does not say which layers have a sliding window"))?;
            (given.ok_or_else(|| invalid("it does not say how wide its sliding window is"))?, swa)
        }
        Window::EveryAttention => match given {
            None | Some(0) => none,
            Some(given) => (given, recurrent.iter().map(|recurrent| !recurrent).collect()),
        },
    })
}

/// Values of a recurrent layer's state for one sequence: `n_embd_r` and `n_embd_s` in src/llama-hparams.cpp.
fn state(keys: &Keys<'_>, name: &str, ssm: &Ssm, n_embd: u64, n_head: u64, head_k: u64) -> Result<(u64, u64)> {
    let product = |factors: &[u64]| {
        let product = factors.iter().try_fold(1_u64, |product, &factor| product.checked_mul(factor));
        product
            .filter(|&product| product <= MAX_STATE)
            .ok_or_else(|| invalid("its recurrent state takes more bytes than any model's"))
    };
    if let Some(head) = keys.number("wkv.head_size")?.filter(|&head| head != 0) {
        let shifts = keys.number("token_shift_count")?.unwrap_or(2);
        return Ok((product(&[shifts, n_embd])?, product(&[n_embd, head])?));
    }
    if let Some(cache) = keys.number("shortconv.l_cache")?.filter(|&cache| cache != 0) {
        return Ok((product(&[n_embd, cache - 1])?, product(&[ssm.state, ssm.inner])?));
    }
    if let Some(head) = keys.number("kda.head_dim")?.filter(|&head| head != 0) {
        let conv = if ssm.conv > 0 { ssm.conv - 1 } else { 3 };
        return Ok((product(&[3, conv, n_head, head])?, product(&[head, head, n_head])?));
    }
    let groups = product(&[2, ssm.group, ssm.state])?;
    let r = product(&[ssm.conv.saturating_sub(1), ssm.inner.saturating_add(groups)])?;
    match name {
        "minimax-01" => Ok((r, product(&[head_k, head_k, n_head])?)),
        _ => Ok((r, product(&[ssm.state, ssm.inner])?)),
    }
}

/// Tokens of the vocabulary, which the embedding knows best: lists of tokens may be padded.
fn vocabulary(header: &Header, keys: &Keys<'_>) -> Result<u64> {
    let embedding = header.tensors.iter().find(|tensor| tensor.name == "token_embd.weight");
    if let Some(rows) = embedding.and_then(|tensor| tensor.dims.get(1)) {
        return bounded("vocab_size", *rows);
    }
    Ok(keys.number("vocab_size")?.unwrap_or(0))
}

/// The keys of the model's own architecture.
struct Keys<'a> {
    header: &'a Header,
}

impl Keys<'_> {
    fn value(&self, name: &str) -> Option<&Value> {
        self.header.architecture_value(name)
    }

    fn number(&self, name: &str) -> Result<Option<u64>> {
        match self.value(name) {
            // Where a list is allowed, whoever asks for a number wants none.
            None | Some(Value::Array(_)) => Ok(None),
            Some(value) => bounded(name, value.as_u64().ok_or_else(|| not_a_number(name))?).map(Some),
        }
    }

    fn required(&self, name: &str) -> Result<u64> {
        self.number(name)?.ok_or_else(|| invalid(format!("metadata `{name}` is missing")))
    }

    /// A number for every layer, from a list or from one for all: `get_key_or_arr`.
    fn per_layer(&self, name: &str, layers: u64, default: u64) -> Result<Vec<u64>> {
        match self.value(name) {
            None => Ok(vec![default; layers as usize]),
            Some(Value::Array(list)) => match list.to_u64s() {
                Some(list) if list.len() as u64 == layers => {
                    list.into_iter().map(|value| bounded(name, value)).collect()
                }
                Some(list) => Err(invalid(format!("metadata `{name}` lists {} of {layers} layers", list.len()))),
                None => Err(not_a_number(name)),
            },
            Some(value) => {
                let value = bounded(name, value.as_u64().ok_or_else(|| not_a_number(name))?)?;
                Ok(vec![value; layers as usize])
            }
        }
    }

    /// Yes or no for every layer; `None` when there is no such list.
    fn flags(&self, name: &str, layers: u64) -> Result<Option<Vec<bool>>> {
        let mut flags = match self.value(name) {
            Some(Value::Array(Array::Bool(list))) => list.clone(),
            Some(Value::Array(list)) => {
                let list = list.to_u64s().ok_or_else(|| not_a_number(name))?;
                list.into_iter().map(|flag| flag != 0).collect()
            }
            _ => return Ok(None),
        };
        if flags.len() as u64 > layers {
            return Err(invalid(format!("metadata `{name}` lists {} of {layers} layers", flags.len())));
        }
        flags.resize(layers as usize, false);
        Ok(Some(flags))
    }
}

/// A number that can be a width, or the length of a context.
fn bounded(name: &str, value: u64) -> Result<u64> {
    let most = if name == "context_length" { u64::from(u32::MAX) } else { MAX_WIDTH };
    if value <= most { Ok(value) } else { Err(invalid(format!("metadata `{name}` is {value}, which nothing is"))) }
}

fn not_a_number(name: &str) -> Error {
    invalid(format!("metadata `{name}` is not a non-negative integer"))
}

pub(super) fn invalid(what: impl Into<String>) -> Error {
    Error::new(codes::MODEL_INVALID, what)
}

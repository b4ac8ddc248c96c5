//! The compute buffer: the graph of a whole micro-batch over a full cache, as llama.cpp builds it to reserve memory
//! (`llama_context::sched_reserve` in src/llama-context.cpp), given to ggml's allocator.
//!
//! The graph is made from the tensors that a file has: a norm where there is a norm, experts where there are experts. That
//! is what src/models/ does, one file per architecture; the differences that no tensor shows are in [`Manner`].

mod attention;
mod feed_forward;
mod state_space;

use std::collections::BTreeMap;

use gguf::{Header, TensorInfo, Value};

use super::graph::{Graph, Id, Type};
use super::kv::Sizes;
use super::parameters::{Layer, Parameters};
use super::setting::{LogitsRows, Setting};

/// Which part of a model one device computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share<'a> {
    /// Whether a layer is its own.
    pub(super) layers: &'a [bool],
    /// Whether it looks the tokens up.
    pub(super) embeds: bool,
    /// Whether it computes the logits.
    pub(super) outputs: bool,
}

/// What an architecture does otherwise than most, without a tensor that would show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Manner {
    /// Multiplies the embedding, or the queries, by a number: a node more.
    scales_embedding: bool,
    scales_queries: bool,
    /// Turns queries and keys by their position.
    rotates: bool,
    /// Squeezes attention scores through a tanh.
    caps_scores: bool,
    /// Squeezes logits through a tanh.
    caps_logits: bool,
    /// Keeps the last layer of all tokens, not only of those whose logits are asked for.
    keeps_last_layer: bool,
    /// Makes the weights of the chosen experts sum to one.
    norms_experts: bool,
    /// Chooses experts by a softmax of the chosen ones only.
    softmax_of_chosen: bool,
    /// Adds to the residual, not the residual to the result: after mixing, after the feed-forward part. It decides whose
    /// memory the sum takes over.
    adds_to_residual: (bool, bool),
}

impl Manner {
    fn of(name: &str, header: &Header) -> Manner {
        let has = |key: &str| header.architecture_value(key).is_some();
        // Granite's way to say that positions do not count.
        let unturned = name.starts_with("granite")
            && header.architecture_value("rope.scaling.finetuned") == Some(&Value::Bool(false));
        Manner {
            scales_embedding: name.starts_with("gemma") || has("embedding_scale"),
            scales_queries: name.starts_with("gemma") || matches!(name, "phi2" | "phi3"),
            rotates: !matches!(name, "jamba" | "gpt2" | "bloom" | "mpt") && !unturned,
            caps_scores: has("attn_logit_softcapping"),
            caps_logits: has("final_logit_softcapping"),
            keeps_last_layer: name == "gpt-oss",
            norms_experts: matches!(name, "llama" | "qwen3moe" | "phimoe" | "granitemoe" | "granitehybrid")
                || has("expert_weights_norm"),
            softmax_of_chosen: name == "gpt-oss",
            adds_to_residual: (name == "jamba", matches!(name, "jamba" | "phi3" | "phimoe")),
        }
    }
}

/// Bytes of the compute buffer of a device that computes this share.
pub(super) fn bytes(header: &Header, model: &Parameters, setting: &Setting, sizes: &Sizes, share: Share<'_>) -> u64 {
    let mut builder = Builder::new(header, model, setting, sizes);
    builder.build(share);
    builder.graph.bytes()
}

/// Builds the graph: `llm_graph_context` in src/llama-graph.cpp.
struct Builder<'a> {
    graph: Graph,
    model: &'a Parameters,
    setting: &'a Setting,
    sizes: &'a Sizes,
    manner: Manner,
    /// The tensors of each layer by what follows `blk.N.`.
    layers: Vec<BTreeMap<&'a str, &'a TensorInfo>>,
    /// Tokens of a micro-batch, and of those, whose logits are asked for.
    n_tokens: u64,
    n_outputs: u64,
    inputs: Inputs,
}

/// What is filled in before the graph is computed.
#[derive(Debug, Clone, Copy, Default)]
struct Inputs {
    positions: Option<Id>,
    output_ids: Option<Id>,
    /// Of the cache that sees everything, and of the one that sees a window.
    full: Cache,
    window: Cache,
    /// Which states belong to the sequences of the batch.
    states: Option<Id>,
}

/// What it takes to write to a cache and to look into it.
#[derive(Debug, Clone, Copy, Default)]
struct Cache {
    key_cells: Option<Id>,
    value_cells: Option<Id>,
    mask: Option<Id>,
    /// Matrices that spread outliers before a value is quantised (`attn_rot_k`, `attn_rot_v`).
    key_rotation: Option<Id>,
    value_rotation: Option<Id>,
}

impl<'a> Builder<'a> {
    fn new(header: &'a Header, model: &'a Parameters, setting: &'a Setting, sizes: &'a Sizes) -> Builder<'a> {
        let mut layers = vec![BTreeMap::new(); model.layers.len()];
        for tensor in &header.tensors {
            let Some((layer, name)) = tensor.name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) else {
                continue;
            };
            if let Some(layer) = layer.parse::<usize>().ok().and_then(|layer| layers.get_mut(layer)) {
                layer.insert(name, tensor);
            }
        }
        // A multiple of the sequences, and no more than the context.
        let n_tokens = sizes.n_ctx.min(sizes.n_ubatch).next_multiple_of(sizes.sequences);
        let n_outputs = match setting.logits {
            LogitsRows::PerSequence => n_tokens.min(sizes.sequences),
            LogitsRows::EveryToken => sizes.n_ctx.min(sizes.n_ubatch).min(sizes.n_batch),
        };
        let manner = Manner::of(&model.name, header);
        let graph = Graph::default();
        Builder { graph, model, setting, sizes, manner, layers, n_tokens, n_outputs, inputs: Inputs::default() }
    }

    fn build(&mut self, share: Share<'_>) {
        let n_embd = self.model.n_embd;
        let tokens = self.graph.input(Type::I32, [self.n_tokens, 1, 1, 1]);
        // Either tokens or embeddings come in; there is room for both.
        let embeddings = self.graph.input(Type::F32, [n_embd, self.n_tokens, 1, 1]);
        let mut current = match share.embeds {
            true => {
                let looked_up = self.graph.operation([n_embd, self.n_tokens, 1, 1], &[tokens]);
                self.graph.expand(looked_up);
                self.graph.expand(embeddings);
                looked_up
            }
            // What another device has computed comes as a copy.
            false => embeddings,
        };
        if share.embeds && self.manner.scales_embedding {
            current = self.graph.in_place(&[current]);
        }
        self.make_inputs();
        let last = self.model.n_layer.saturating_sub(1) as usize;
        for layer in 0..=last {
            if share.layers.get(layer).copied().unwrap_or(false) {
                current = self.layer(layer, current, layer == last);
            }
        }
        if share.outputs {
            current = self.head(current, share.layers.get(last).copied().unwrap_or(false));
        }
        self.graph.expand(current);
    }

    /// Norm and logits: the end of every file in src/models/.
    fn head(&mut self, mut current: Id, last_layer: bool) -> Id {
        if self.manner.keeps_last_layer {
            self.graph.keep(current);
        }
        if self.manner.keeps_last_layer || !last_layer {
            current = self.chosen(current);
        }
        let normed = self.norm(current);
        self.graph.keep(normed);
        let rows = self.graph.ne(normed)[1];
        let mut logits = self.graph.operation([self.model.n_vocab, rows, 1, 1], &[normed]);
        if self.manner.caps_logits {
            logits = self.graph.in_place(&[logits]);
            logits = self.graph.in_place(&[logits]);
            logits = self.graph.in_place(&[logits]);
        }
        self.graph.keep(logits);
        logits
    }

    /// `build_inp_pos`, `build_inp_out_ids`, `build_attn_inp_kv`, `build_attn_inp_kv_iswa`, `build_rs_inp`.
    fn make_inputs(&mut self) {
        self.inputs.positions = Some(self.graph.input(Type::I32, [self.n_tokens, 1, 1, 1]));
        self.inputs.output_ids = Some(self.graph.input(Type::I32, [self.n_outputs, 1, 1, 1]));
        self.inputs.full = self.cache(self.sizes.cells, false);
        if self.model.windowed() {
            self.inputs.window = self.cache(self.sizes.cells_swa, true);
        }
        self.inputs.states = Some(self.graph.input(Type::I32, [self.sizes.sequences, 1, 1, 1]));
    }

    fn cache(&mut self, cells: u64, window: bool) -> Cache {
        let streams = self.sizes.streams;
        let mask_type = if self.sizes.flash_attention { Type::F16 } else { Type::F32 };
        let widest = self.model.layers.iter().map(Layer::v_gqa).max().unwrap_or(0);
        // Transposed values are written one by one.
        let values = if self.sizes.flash_attention { 1 } else { widest.max(1) };
        let graph = &mut self.graph;
        let (k, v) = rotations(self.model, self.setting, window);
        Cache {
            key_cells: Some(graph.input(Type::I64, [self.n_tokens, 1, 1, 1])),
            value_cells: Some(graph.input(Type::I64, [self.n_tokens.saturating_mul(values), 1, 1, 1])),
            mask: Some(graph.input(mask_type, [cells, self.n_tokens / streams, 1, streams])),
            key_rotation: k.map(|n| graph.input(Type::F32, [n, n, 1, 1])),
            value_rotation: v.map(|n| graph.input(Type::F32, [n, n, 1, 1])),
        }
    }

    /// One layer: mixing tokens, then each token for itself, each added to what came in.
    fn layer(&mut self, layer: usize, input: Id, last: bool) -> Id {
        let mut residual = input;
        let kind = self.model.layers[layer];
        let mut current = match (kind.kv, kind.recurrent) {
            (true, true) => self.parallel_mix(layer, input),
            (false, true) => {
                let normed = self.norm_if(layer, "attn_norm.weight", input);
                self.recurrent(layer, normed)
            }
            (true, false) => {
                let normed = self.norm_if(layer, "attn_norm.weight", input);
                self.attention(layer, normed)
            }
            (false, false) => input,
        };
        let both = kind.kv && kind.recurrent;
        if both {
            residual = self.graph.in_place(&[current, residual]);
            current = residual;
        }
        if last && !self.manner.keeps_last_layer {
            current = self.chosen(current);
            residual = if both { current } else { self.chosen(residual) };
        }
        let post = self.has(layer, "post_attention_norm.weight") && self.has(layer, "ffn_norm.weight");
        if post {
            current = self.norm(current);
        }
        let (first, second) = self.manner.adds_to_residual;
        let mixed = if both { current } else { self.sum(current, residual, first) };
        if !self.has_ffn(layer) {
            return mixed;
        }
        let normed = self.norm(mixed);
        let mut out = self.feed_forward(layer, normed);
        if self.has(layer, "post_ffw_norm.weight") {
            out = self.norm(out);
        }
        self.sum(out, mixed, second)
    }

    fn sum(&mut self, result: Id, residual: Id, residual_first: bool) -> Id {
        self.graph.in_place(&if residual_first { [residual, result] } else { [result, residual] })
    }

    /// Attention and a recurrent state side by side, each on a norm of its own: Falcon H1.
    fn parallel_mix(&mut self, layer: usize, input: Id) -> Id {
        let normed = self.norm(input);
        let attended = self.attention(layer, normed);
        let normed = self.norm(input);
        let state = self.recurrent(layer, normed);
        self.graph.in_place(&[attended, state])
    }

    /// Only the tokens whose logits are asked for.
    fn chosen(&mut self, current: Id) -> Id {
        let ids = self.inputs.output_ids.expect("inputs are made before layers");
        let ne = self.graph.ne(current);
        self.graph.operation([ne[0], self.n_outputs, 1, 1], &[current, ids])
    }

    fn norm_if(&mut self, layer: usize, name: &str, current: Id) -> Id {
        if self.has(layer, name) { self.norm(current) } else { current }
    }

    /// A norm and its weight.
    fn norm(&mut self, current: Id) -> Id {
        let normed = self.graph.in_place(&[current]);
        self.graph.in_place(&[normed])
    }

    /// A product with a matrix of that name, with its bias if it has one; `None` when there is no such matrix.
    fn product(&mut self, layer: usize, name: &str, current: Id) -> Option<Id> {
        let rows = self.layers[layer].get(format!("{name}.weight").as_str())?.dims.get(1).copied()?;
        let ne = self.graph.ne(current);
        let result = self.graph.operation([rows, ne[1], ne[2], ne[3]], &[current]);
        Some(self.biased(layer, name, result))
    }

    fn biased(&mut self, layer: usize, name: &str, current: Id) -> Id {
        match self.has(layer, &format!("{name}.bias")) {
            true => self.graph.in_place(&[current]),
            false => current,
        }
    }

    fn has(&self, layer: usize, name: &str) -> bool {
        self.layers[layer].contains_key(name)
    }
}

/// The widths of the matrices that spread outliers: `attn_rot_k` and `build_input_k_rot` in src/llama-kv-cache.cpp. Only
/// heads of one size in all layers of a cache are turned.
fn rotations(model: &Parameters, setting: &Setting, window: bool) -> (Option<u64>, Option<u64>) {
    let mut layers = model.layers.iter().filter(|layer| layer.kv && layer.swa == window).peekable();
    // Keys that hold the values are never turned: `build_attn_inp_k` has no such input.
    let Some(first) = layers.peek().copied().filter(|_| !model.mla) else { return (None, None) };
    let (head_k, head_v) = (first.head_k, first.head_v);
    let (mut same_k, mut same_v) = (true, true);
    for layer in layers {
        same_k &= layer.head_k == head_k;
        same_v &= layer.head_v == head_v;
    }
    let k = (same_k && setting.kv_k.is_quantized() && head_k > 0 && head_k % 64 == 0).then(|| {
        let mut n = 64;
        while head_k % (n * 2) == 0 {
            n *= 2;
        }
        n
    });
    let v = (same_v && setting.kv_v.is_quantized() && head_v > 0 && head_v % 64 == 0).then_some(64);
    (k, v)
}

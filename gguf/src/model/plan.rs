//! Lays a generated model out: metadata, tensors, and what to fill them with.

use std::fmt;

use super::names::{Dims, Quant, Role, Shape};
use super::vocab;
use crate::tensor::{self, TensorInfo};
use crate::types::TensorType;
use crate::value::{Metadata, Value};
use crate::{DEFAULT_ALIGNMENT, encode};

/// Positions the model was "trained" for: llama.cpp's default context, and more than that draws a warning.
const CONTEXT_LENGTH: u32 = 4096;
/// The weight of the final norm. It is the standard deviation of the logits: large enough that the tokens with a zero
/// row in `output.weight` stay far below the best of the others (see `vocab.rs`), and about what trained models have.
const LOGIT_STD: f32 = 6.0;

/// A generated model down to the last byte, before any is written.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelPlan {
    /// Its dimensions.
    pub shape: Shape,
    /// How its weights are stored.
    pub quant: Quant,
    /// What its random bits are made from.
    pub seed: u64,
    /// Keys and values, in the order of the file.
    pub metadata: Metadata,
    /// The tensors, in the order of the file.
    pub tensors: Vec<TensorInfo>,
    /// Where the data section starts, in bytes from the start of the file.
    pub data_offset: u64,
    /// The size of the whole file.
    pub file_bytes: u64,
    /// What each of `tensors` is filled with.
    pub(super) fills: Vec<Fill>,
}

/// What a tensor is filled with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fill {
    /// The same `f32` everywhere.
    Constant(f32),
    /// Random blocks whose values have mean 0 and this standard deviation.
    Random { std: f32 },
    /// As `Random`, in the rows of those tokens that may be generated; zero in all others.
    RandomWhereGenerated { std: f32 },
}

/// Lays out a model. Pure: the same arguments give the same plan, and the same plan the same bytes.
pub fn plan(shape: Shape, quant: Quant, seed: u64) -> ModelPlan {
    let dims = shape.dims();
    let metadata = metadata(shape, quant, seed, &dims);
    let (mut tensors, fills): (Vec<TensorInfo>, Vec<Fill>) = matrices(quant, &dims).into_iter().unzip();
    let mut offset = 0;
    for tensor in &mut tensors {
        tensor.offset = offset;
        offset = aligned(offset + tensor.bytes);
    }
    let data_offset = aligned(encode::header(&metadata, &tensors).len() as u64);
    ModelPlan { shape, quant, seed, metadata, tensors, data_offset, file_bytes: data_offset + offset, fills }
}

impl ModelPlan {
    /// What to call the file: `tiny-q4_k_m.gguf`.
    pub fn file_name(&self) -> String {
        format!("{}-{}.gguf", self.shape, self.quant)
    }

    /// How many weights it has.
    pub fn parameters(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.dims.iter().product::<u64>()).sum()
    }
}

impl fmt::Display for ModelPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Dims { n_layer, n_embd, n_ff, n_head, n_head_kv, n_vocab } = self.shape.dims();
        writeln!(f, "model {} {}, seed {}", self.shape, self.quant, self.seed)?;
        writeln!(
            f,
            "  {n_layer} layers x {n_embd}, ffn {n_ff}, {n_head} heads, {n_head_kv} KV heads, {n_vocab} tokens"
        )?;
        writeln!(f, "  {:.1} M parameters in {} tensors", self.parameters() as f64 / 1e6, self.tensors.len())?;
        write!(f, "  {:.1} MB ({} bytes)", self.file_bytes as f64 / 1e6, self.file_bytes)
    }
}

fn aligned(position: u64) -> u64 {
    tensor::align_up(position, DEFAULT_ALIGNMENT).expect("the largest shape is far smaller than 2^63 bytes")
}

fn metadata(shape: Shape, quant: Quant, seed: u64, dims: &Dims) -> Metadata {
    let n_vocab = small(dims.n_vocab);
    let entries: Vec<(&str, Value)> = vec![
        ("general.architecture", "llama".into()),
        ("general.type", "model".into()),
        ("general.name", format!("Caravan test model {shape}").into()),
        (
            "general.description",
            format!("random {quant} weights made from seed {seed}, for tests and benchmarks").into(),
        ),
        ("general.size_label", shape.name().into()),
        ("general.file_type", quant.file_type().into()),
        ("general.quantization_version", 2_u32.into()),
        ("llama.context_length", CONTEXT_LENGTH.into()),
        ("llama.embedding_length", small(dims.n_embd).into()),
        ("llama.block_count", small(dims.n_layer).into()),
        ("llama.feed_forward_length", small(dims.n_ff).into()),
        ("llama.attention.head_count", small(dims.n_head).into()),
        ("llama.attention.head_count_kv", small(dims.n_head_kv).into()),
        ("llama.attention.layer_norm_rms_epsilon", 1e-5_f32.into()),
        ("llama.rope.dimension_count", small(dims.n_embd / dims.n_head).into()),
        ("llama.rope.freq_base", 10_000_f32.into()),
        ("llama.vocab_size", n_vocab.into()),
        ("tokenizer.ggml.model", "llama".into()),
        ("tokenizer.ggml.pre", "default".into()),
        ("tokenizer.ggml.tokens", vocab::texts(n_vocab).into()),
        ("tokenizer.ggml.scores", vec![0_f32; n_vocab as usize].into()),
        ("tokenizer.ggml.token_type", vocab::types(n_vocab).into()),
        ("tokenizer.ggml.unknown_token_id", vocab::UNKNOWN.into()),
        ("tokenizer.ggml.bos_token_id", vocab::BEGIN_OF_TEXT.into()),
        ("tokenizer.ggml.eos_token_id", vocab::END_OF_TEXT.into()),
        ("tokenizer.ggml.add_bos_token", true.into()),
        ("tokenizer.ggml.add_eos_token", false.into()),
        // Otherwise a prompt gets a space in front, and text would not come back as it went in.
        ("tokenizer.ggml.add_space_prefix", false.into()),
        ("tokenizer.ggml.suppress_tokens", vocab::suppressed(n_vocab).into()),
    ];
    Metadata(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn small(dim: u64) -> u32 {
    u32::try_from(dim).expect("no shape has a dimension beyond 32 bits")
}

/// The tensors in the order in which a forward pass reads them; offsets are still to come.
fn matrices(quant: Quant, dims: &Dims) -> Vec<(TensorInfo, Fill)> {
    let &Dims { n_layer, n_embd, n_ff, n_head, n_head_kv, n_vocab } = dims;
    let n_embd_kv = n_embd / n_head * n_head_kv;
    let norm = |name: String, value: f32| (described(name, vec![n_embd], TensorType::F32), Fill::Constant(value));
    // A row is a sum over n_in inputs: with this standard deviation it has the variance of one input, so activations
    // neither blow up nor vanish from layer to layer.
    let std = |n_in: u64| 1.0 / (n_in as f32).sqrt();
    let matrix = |name: String, n_in: u64, n_out: u64, role: Role| {
        (described(name, vec![n_in, n_out], quant.tensor_type(role)), Fill::Random { std: std(n_in) })
    };

    // The embedding of a token is looked up, not summed: its only input is 1.
    let embedding = described("token_embd.weight".to_owned(), vec![n_embd, n_vocab], quant.tensor_type(Role::Plain));
    let mut tensors = vec![(embedding, Fill::Random { std: 1.0 })];
    for layer in 0..n_layer {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let sensitive = Role::Sensitive { layer, n_layer };
        tensors.extend([
            norm(name("attn_norm"), 1.0),
            matrix(name("attn_q"), n_embd, n_embd, Role::Plain),
            matrix(name("attn_k"), n_embd, n_embd_kv, Role::Plain),
            matrix(name("attn_v"), n_embd, n_embd_kv, sensitive),
            matrix(name("attn_output"), n_embd, n_embd, Role::Plain),
            norm(name("ffn_norm"), 1.0),
            matrix(name("ffn_gate"), n_embd, n_ff, Role::Plain),
            matrix(name("ffn_up"), n_embd, n_ff, Role::Plain),
            matrix(name("ffn_down"), n_ff, n_embd, sensitive),
        ]);
    }
    tensors.push(norm("output_norm.weight".to_owned(), LOGIT_STD));
    let output = described("output.weight".to_owned(), vec![n_embd, n_vocab], quant.tensor_type(Role::Output));
    tensors.push((output, Fill::RandomWhereGenerated { std: std(n_embd) }));
    tensors
}

fn described(name: String, dims: Vec<u64>, tensor_type: TensorType) -> TensorInfo {
    let bytes = tensor::bytes(&dims, tensor_type).expect("every shape has rows of whole blocks");
    TensorInfo { name, dims, tensor_type, offset: 0, bytes }
}

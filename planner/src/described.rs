//! Models that are only described: a size and a quantisation, in the shape that models of this size usually have.
//!
//! Shapes are those of published models with grouped-query attention (Qwen2.5 for the smaller ones, Llama 3 for the
//! others, from their `config.json`); a size between them is the nearest one with more or fewer layers. Whoever has the
//! file should name that.

use std::fmt;
use std::str::FromStr;

use gguf::model::Quant;
use gguf::{Header, Metadata, TensorInfo, TensorType, Value};

/// A model in words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Described {
    /// Parameters, in billions.
    pub billions: f64,
    /// How weights are kept.
    pub quant: Quant,
}

/// Layers, width, width of the feed-forward part, heads, KV heads, tokens of the vocabulary, whether the output is the
/// embedding, and parameters in billions.
type Shape = (u64, u64, u64, u64, u64, u64, bool, f64);

const SHAPES: [Shape; 9] = [
    (24, 896, 4864, 14, 2, 151_936, true, 0.49),
    (28, 1536, 8960, 12, 2, 151_936, true, 1.54),
    (36, 2048, 11_008, 16, 2, 151_936, true, 3.09),
    (32, 4096, 14_336, 32, 8, 128_256, false, 8.03),
    (48, 5120, 13_824, 40, 8, 152_064, false, 14.8),
    (64, 5120, 27_648, 40, 8, 152_064, false, 32.8),
    (80, 8192, 28_672, 64, 8, 128_256, false, 70.6),
    (88, 12_288, 28_672, 96, 8, 32_768, false, 122.6),
    (126, 16_384, 53_248, 128, 8, 128_256, false, 405.9),
];

/// What they were trained for: the shapes come from models of the long kind.
const TRAINED: u32 = 131_072;

/// `8B`, `0.5b`, `70`.
impl FromStr for Described {
    type Err = String;

    fn from_str(text: &str) -> Result<Described, String> {
        let number = text.trim().trim_end_matches(['b', 'B']).parse::<f64>().ok();
        match number.filter(|billions| (0.05..=1000.0).contains(billions)) {
            Some(billions) => Ok(Described { billions, quant: Quant::Q4KM }),
            None => Err(format!("`{}` is no size of a model such as `8B`, from 0.05B to 1000B", text.escape_debug())),
        }
    }
}

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a usual model of {}B in {}", self.billions, self.quant)
    }
}

impl Described {
    /// The header that such a model would have.
    pub fn header(&self) -> Header {
        let distance = |shape: &&Shape| (shape.7 / self.billions).ln().abs();
        let nearest = SHAPES.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
        let &(layers, n_embd, n_ff, heads, kv_heads, n_vocab, tied, billions) = nearest.expect("there are shapes");
        let vocabulary = (n_embd * n_vocab * if tied { 1 } else { 2 }) as f64 / 1e9;
        let per_layer = (billions - vocabulary) / layers as f64;
        let layers = (((self.billions - vocabulary) / per_layer).round() as u64).max(1);
        let small = |number: u64| u32::try_from(number).expect("no shape has a dimension beyond 32 bits");
        let label = format!("{}B", self.billions);
        let entries: Vec<(&str, Value)> = vec![
            ("general.architecture", "llama".into()),
            ("general.name", self.to_string().into()),
            ("general.size_label", label.into()),
            ("llama.context_length", TRAINED.into()),
            ("llama.embedding_length", small(n_embd).into()),
            ("llama.block_count", small(layers).into()),
            ("llama.feed_forward_length", small(n_ff).into()),
            ("llama.attention.head_count", small(heads).into()),
            ("llama.attention.head_count_kv", small(kv_heads).into()),
            ("llama.rope.dimension_count", small(n_embd / heads).into()),
            ("llama.vocab_size", small(n_vocab).into()),
        ];
        let metadata = Metadata(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect());
        let (plain, sensitive, output) = self.types();
        let mut tensors = Tensors(Vec::new());
        let kv = n_embd / heads * kv_heads;
        tensors.matrix("token_embd", n_embd, n_vocab, if tied { output } else { plain });
        for layer in 0..layers {
            let name = |part: &str| format!("blk.{layer}.{part}");
            // Half of the sensitive ones get more bits (`use_more_bits` in llama.cpp's quantiser).
            let sensitive = if layer % 2 == 0 { sensitive } else { plain };
            for part in ["attn_norm", "ffn_norm"] {
                tensors.push(name(part), vec![n_embd], TensorType::F32);
            }
            tensors.matrix(&name("attn_q"), n_embd, n_embd, plain);
            tensors.matrix(&name("attn_k"), n_embd, kv, plain);
            tensors.matrix(&name("attn_v"), n_embd, kv, sensitive);
            tensors.matrix(&name("attn_output"), n_embd, n_embd, plain);
            tensors.matrix(&name("ffn_gate"), n_embd, n_ff, plain);
            tensors.matrix(&name("ffn_up"), n_embd, n_ff, plain);
            tensors.matrix(&name("ffn_down"), n_ff, n_embd, sensitive);
        }
        tensors.push("output_norm".to_owned(), vec![n_embd], TensorType::F32);
        if !tied {
            tensors.matrix("output", n_embd, n_vocab, output);
        }
        Header { version: gguf::VERSION, metadata, tensors: tensors.0, data_offset: 0 }
    }

    /// Types of plain matrices, of those where errors hurt most, and of the output.
    fn types(&self) -> (TensorType, TensorType, TensorType) {
        match self.quant {
            Quant::Q4KM => (TensorType::Q4K, TensorType::Q6K, TensorType::Q6K),
            Quant::Q4_0 => (TensorType::Q4_0, TensorType::Q4_0, TensorType::Q6K),
            Quant::Q8_0 => (TensorType::Q8_0, TensorType::Q8_0, TensorType::Q8_0),
            Quant::Q6K => (TensorType::Q6K, TensorType::Q6K, TensorType::Q6K),
            Quant::F16 => (TensorType::F16, TensorType::F16, TensorType::F16),
        }
    }
}

struct Tensors(Vec<TensorInfo>);

impl Tensors {
    /// A matrix, in a type whose blocks its rows are made of, as the quantiser falls back.
    fn matrix(&mut self, name: &str, n_in: u64, n_out: u64, tensor_type: TensorType) {
        let whole = n_in.is_multiple_of(tensor_type.block_elements());
        let tensor_type = if whole { tensor_type } else { TensorType::Q8_0 };
        self.push(name.to_owned(), vec![n_in, n_out], tensor_type);
    }

    fn push(&mut self, name: String, dims: Vec<u64>, tensor_type: TensorType) {
        let elements: u64 = dims.iter().product();
        let bytes = elements / tensor_type.block_elements() * tensor_type.block_bytes();
        let offset = self.0.last().map_or(0, |last| last.offset + last.bytes);
        self.0.push(TensorInfo { name: name + ".weight", dims, tensor_type, offset, bytes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn billions(header: &Header) -> f64 {
        header.tensors.iter().map(|tensor| tensor.dims.iter().product::<u64>()).sum::<u64>() as f64 / 1e9
    }

    #[test]
    fn a_described_model_has_about_the_size_that_was_asked_for() {
        for (text, at_most) in
            [("0.5B", 0.1), ("1b", 0.1), ("3B", 0.05), ("7B", 0.05), ("8", 0.02), ("70B", 0.02), ("405b", 0.02)]
        {
            let described: Described = text.parse().unwrap();
            let found = billions(&described.header());
            assert!((found / described.billions - 1.0).abs() < at_most, "{text}: {found}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "b", "-1B", "nan", "inf", "0", "1e9B", "8GB"] {
            assert!(text.parse::<Described>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_8b_takes_what_llama_3_takes() {
        let header = "8B".parse::<Described>().unwrap().header();
        // 32 layers, 8 heads of 128, keys and values of 2 bytes.
        assert_eq!(header.kv_bytes_per_token().unwrap(), 131_072);
        let weights: u64 = header.tensors.iter().map(|tensor| tensor.bytes).sum();
        assert!((4_800_000_000..5_050_000_000).contains(&weights), "{weights}");
    }
}

//! The shapes and quantisations on offer, by the names that people type.

use std::fmt;
use std::str::FromStr;

use crate::types::TensorType;

/// The dimensions of a generated model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Loads and generates in milliseconds; for tests.
    Tiny,
    /// 1.1 B parameters: small enough for any machine, large enough not to fit a cache.
    OneB,
    /// 10.7 B parameters, the reference workload.
    Solar10B7,
}

/// The numbers behind a [`Shape`], in llama.cpp's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dims {
    pub(super) n_layer: u64,
    pub(super) n_embd: u64,
    pub(super) n_ff: u64,
    pub(super) n_head: u64,
    pub(super) n_head_kv: u64,
    pub(super) n_vocab: u64,
}

impl Shape {
    /// Every shape, the smallest first.
    pub const ALL: [Shape; 3] = [Shape::Tiny, Shape::OneB, Shape::Solar10B7];

    /// The name that `--shape` takes.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Tiny => "tiny",
            Shape::OneB => "1b",
            Shape::Solar10B7 => "solar-10.7b",
        }
    }

    pub(super) fn dims(self) -> Dims {
        match self {
            // Rows are whole K-quant blocks of 256 values, and the vocabulary is a little larger than the 260 tokens in
            // use, so that padding tokens are exercised too.
            Shape::Tiny => Dims { n_layer: 2, n_embd: 256, n_ff: 768, n_head: 4, n_head_kv: 2, n_vocab: 288 },
            Shape::OneB => Dims { n_layer: 22, n_embd: 2048, n_ff: 5632, n_head: 32, n_head_kv: 4, n_vocab: 32000 },
            Shape::Solar10B7 => {
                Dims { n_layer: 48, n_embd: 4096, n_ff: 14336, n_head: 32, n_head_kv: 8, n_vocab: 32000 }
            }
        }
    }
}

/// How the weights of a generated model are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quant {
    /// llama.cpp's `Q4_K_M`: mostly `q4_K`, with `q6_K` where its own quantiser spends more bits.
    Q4KM,
    /// `Q4_0`.
    Q4_0,
    /// `Q8_0`.
    Q8_0,
    /// `Q6_K`.
    Q6K,
    /// `F16`.
    F16,
}

/// What a weight matrix is for, as far as the choice of its type goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// `output.weight`.
    Output,
    /// `attn_v` or `ffn_down` of a layer, where errors hurt most.
    Sensitive { layer: u64, n_layer: u64 },
    /// Any other matrix.
    Plain,
}

impl Quant {
    /// Every quantisation.
    pub const ALL: [Quant; 5] = [Quant::Q4KM, Quant::Q4_0, Quant::Q8_0, Quant::Q6K, Quant::F16];

    /// The name that `--quant` takes.
    pub fn name(self) -> &'static str {
        match self {
            Quant::Q4KM => "q4_k_m",
            Quant::Q4_0 => "q4_0",
            Quant::Q8_0 => "q8_0",
            Quant::Q6K => "q6_k",
            Quant::F16 => "f16",
        }
    }

    /// `general.file_type`: `enum llama_ftype` in llama.cpp's include/llama.h.
    pub(super) fn file_type(self) -> u32 {
        match self {
            Quant::F16 => 1,
            Quant::Q4_0 => 2,
            Quant::Q8_0 => 7,
            Quant::Q4KM => 15,
            Quant::Q6K => 18,
        }
    }

    /// The type that llama.cpp's quantiser gives a matrix: `llama_tensor_get_type_impl` in src/llama-quant.cpp, for the
    /// llama architecture without experts and fewer than 80 layers.
    pub(super) fn tensor_type(self, role: Role) -> TensorType {
        match (self, role) {
            (Quant::F16, _) => TensorType::F16,
            (Quant::Q8_0, _) => TensorType::Q8_0,
            (_, Role::Output) => TensorType::Q6K,
            (Quant::Q4KM, Role::Sensitive { layer, n_layer }) if use_more_bits(layer, n_layer) => TensorType::Q6K,
            (Quant::Q4KM, _) => TensorType::Q4K,
            (Quant::Q4_0, _) => TensorType::Q4_0,
            (Quant::Q6K, _) => TensorType::Q6K,
        }
    }
}

/// The first and last eighth of the layers, and every third between them; the divisions round down.
fn use_more_bits(layer: u64, n_layer: u64) -> bool {
    layer < n_layer / 8 || layer >= 7 * n_layer / 8 || (layer - n_layer / 8) % 3 == 2
}

macro_rules! by_name {
    ($type:ident, $what:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<$type, String> {
                $type::ALL.into_iter().find(|candidate| candidate.name() == text).ok_or_else(|| {
                    let names = $type::ALL.map(|candidate| format!("`{candidate}`")).join(", ");
                    format!(concat!("unknown ", $what, " `{}`, there are {}"), text.escape_debug(), names)
                })
            }
        }
    };
}

by_name!(Shape, "shape");
by_name!(Quant, "quantisation");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_wrong_ones_are_answered_with_the_right_ones() {
        for shape in Shape::ALL {
            assert_eq!(shape.name().parse(), Ok(shape));
        }
        for quant in Quant::ALL {
            assert_eq!(quant.name().parse(), Ok(quant));
        }
        insta::assert_snapshot!("7b".parse::<Shape>().unwrap_err(), @"unknown shape `7b`, there are `tiny`, `1b`, `solar-10.7b`");
        insta::assert_snapshot!("Q4_K_M".parse::<Quant>().unwrap_err(), @"unknown quantisation `Q4_K_M`, there are `q4_k_m`, `q4_0`, `q8_0`, `q6_k`, `f16`");
    }

    #[test]
    fn more_bits_go_to_the_layers_that_upstream_picks() {
        let picked = |n_layer| (0..n_layer).filter(|&layer| use_more_bits(layer, n_layer)).collect::<Vec<_>>();
        assert_eq!(picked(2), [1]);
        assert_eq!(picked(22), [0, 1, 4, 7, 10, 13, 16, 19, 20, 21]);
    }
}

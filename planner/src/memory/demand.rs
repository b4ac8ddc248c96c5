//! The memory that running a model on a CPU takes, in three figures and one sentence.

use std::fmt;

use diagnostic::{Error, Result, codes};
use gguf::Header;

use super::breakdown;
use super::breakdown::Part;
use super::machine::{Machine, Repacks};
use super::setting::Setting;

/// What llama.cpp takes for activations and logits of a model that cannot be modelled, in bytes: a few hundred MB for a
/// batch of 512 tokens.
const COMPUTE: u64 = 400_000_000;

/// What running a model takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// The weights, once: repacked ones take the place of those that were read.
    pub weights: u64,
    /// The KV cache, and the state of recurrent layers.
    pub kv_cache: u64,
    /// Activations and logits.
    pub compute: u64,
    /// The tokens that the KV cache holds.
    pub tokens: u64,
}

impl Demand {
    /// What a model takes whose file has `file_bytes` when it is run with this setting on a CPU. Of a model whose header
    /// does not tell what its context takes, the KV cache counts as nothing.
    pub fn of(header: &Header, file_bytes: u64, setting: &Setting) -> Demand {
        // Whether weights are rearranged makes no difference here, but for an output that is the embedding: it is there
        // twice then.
        let machine = Machine::cpu_only(None, Repacks::Avx512);
        let Ok(breakdown) = breakdown(header, setting, &machine) else {
            return Demand { weights: file_bytes, kv_cache: 0, compute: COMPUTE, tokens: setting.ctx };
        };
        let host = breakdown.host();
        Demand {
            weights: file_bytes.max(host.bytes(Part::Weights).saturating_add(host.bytes(Part::Repacked))),
            kv_cache: host.bytes(Part::KvCache).saturating_add(host.bytes(Part::RecurrentState)),
            compute: host.bytes(Part::Compute).saturating_add(host.bytes(Part::Outputs)),
            tokens: breakdown.ctx,
        }
    }

    /// All of it, in bytes.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.kv_cache).saturating_add(self.compute)
    }

    /// Refuses a model that does not fit into the `available` bytes, before the kernel ends whoever loads it; `model` is
    /// its name in the message.
    ///
    /// # Errors
    /// [`codes::MODEL_TOO_LARGE`], with the sum.
    pub fn check(&self, model: impl fmt::Display, available: u64) -> Result<()> {
        if self.total() <= available {
            return Ok(());
        }
        let message = format!("model `{model}` needs {self}, and {} are available", gigabytes(available));
        Err(Error::new(codes::MODEL_TOO_LARGE, message).hint(
            "take a smaller model or a smaller quantisation, end other programs, or raise the limit of the cgroup",
        ))
    }
}

/// `1.2 GB (weights 0.7 GB, KV cache of 512 tokens 0.1 GB, buffers 0.4 GB)`.
impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (weights {}, KV cache of {} tokens {}, buffers {})",
            gigabytes(self.total()),
            gigabytes(self.weights),
            self.tokens,
            gigabytes(self.kv_cache),
            gigabytes(self.compute),
        )
    }
}

/// Bytes as people read them: `6.5 GB`.
pub fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMAND: Demand = Demand { weights: 700_000_000, kv_cache: 45_000_000, compute: COMPUTE, tokens: 1024 };

    #[test]
    fn what_does_not_fit_is_refused_with_the_sum() {
        assert!(DEMAND.check("a.gguf", 1_145_000_000).is_ok());
        let error = DEMAND.check("a.gguf", 1_144_999_999).unwrap_err();
        assert_eq!(error.code(), codes::MODEL_TOO_LARGE);
        insta::assert_snapshot!(error, @"model `a.gguf` needs 1.1 GB (weights 0.7 GB, KV cache of 1024 tokens 0.0 GB, buffers 0.4 GB), and 1.1 GB are available");
    }

    #[test]
    fn absurd_sizes_do_not_overflow() {
        let absurd = Demand { weights: u64::MAX, kv_cache: u64::MAX, ..DEMAND };
        assert!(absurd.check("a.gguf", u64::MAX - 1).is_err());
    }
}

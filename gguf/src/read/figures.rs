//! What one generated token costs in memory traffic, computed from a header.

use diagnostic::Result;

use super::source::invalid;
use super::{Header, split};
use crate::value::Value;

/// Bytes of one value in llama.cpp's default KV cache, which is f16.
const F16_BYTES: u64 = 2;

impl Header {
    /// Bytes of weights that generating one token reads: every tensor of the layers and of the output. The input
    /// embedding counts only when it is also the output (tied), because otherwise a single row of it is read. Of a
    /// mixture of experts, the share of the experts that a token uses counts.
    ///
    /// # Errors
    /// [`diagnostic::codes::MODEL_INVALID`]: it is the header of one part of a split model, or its expert counts make no sense.
    pub fn bytes_per_token(&self) -> Result<u64> {
        self.refuse_parts()?;
        let (used, experts) = match self.optional("expert_count")? {
            None | Some(0) => (1, 1),
            Some(experts) => (self.required("expert_used_count")?, experts),
        };
        if used == 0 || used > experts {
            return Err(invalid(format!("it uses {used} of {experts} experts")));
        }
        let tied = !self.tensors.iter().any(|tensor| tensor.name == "output.weight");
        self.tensors
            .iter()
            .map(|tensor| match tensor.name.as_str() {
                "token_embd.weight" if tied => (tensor.bytes, 1, 1),
                // All experts of a layer are one tensor, such as `blk.0.ffn_up_exps.weight`.
                name if name.starts_with("blk.") && name.contains("_exps.") => (tensor.bytes, used, experts),
                name if name.starts_with("blk.") || name.starts_with("output") => (tensor.bytes, 1, 1),
                _ => (0, 1, 1),
            })
            .try_fold(0_u64, |sum, (bytes, used, experts)| sum.checked_add(bytes.checked_mul(used)? / experts))
            .ok_or_else(|| invalid("its tensors take more bytes than can be counted"))
    }

    /// Bytes that one token adds to the KV cache when it is kept in f16, and that every later token reads again: keys
    /// and values of all layers. For architectures of the llama family, that is, full attention in every layer.
    ///
    /// # Errors
    /// [`diagnostic::codes::MODEL_INVALID`]: the metadata lacks what the figure is made of.
    pub fn kv_bytes_per_token(&self) -> Result<u64> {
        let layers = self.required("block_count")?;
        let heads = self.required("attention.head_count")?;
        let head_dim = || {
            let embedding = self.required("embedding_length")?;
            embedding.checked_div(heads).ok_or_else(|| invalid("it has no attention heads"))
        };
        let key_dim = self.optional("attention.key_length")?.map_or_else(head_dim, Ok)?;
        let value_dim = self.optional("attention.value_length")?.map_or_else(head_dim, Ok)?;
        let key = self.key("attention.head_count_kv")?;
        let kv_heads_of_all_layers = match self.metadata.get(&key) {
            None => heads.checked_mul(layers),
            // Some models give a number per layer.
            Some(Value::Array(per_layer)) => per_layer
                .to_u64s()
                .ok_or_else(|| not_a_number(&key))?
                .iter()
                .try_fold(0_u64, |sum, &n| sum.checked_add(n)),
            Some(value) => value.as_u64().ok_or_else(|| not_a_number(&key))?.checked_mul(layers),
        };
        kv_heads_of_all_layers
            .zip(key_dim.checked_add(value_dim))
            .and_then(|(heads, dims)| heads.checked_mul(dims)?.checked_mul(F16_BYTES))
            .ok_or_else(|| invalid("its KV cache takes more bytes than can be counted"))
    }

    /// The tokens that the model was trained to look back on; `None` where the file does not say.
    ///
    /// # Errors
    /// [`diagnostic::codes::MODEL_INVALID`]: what it says is no number.
    pub fn context_length(&self) -> Result<Option<u64>> {
        self.optional("context_length")
    }

    /// A value of the model's own architecture: `attention.causal` is `llama.attention.causal` for one of the llama family.
    pub fn architecture_value(&self, name: &str) -> Option<&Value> {
        self.metadata.get(&self.key(name).ok()?)
    }

    /// The full name of a key of the model's own architecture.
    fn key(&self, name: &str) -> Result<String> {
        let architecture =
            self.metadata.architecture().ok_or_else(|| invalid("metadata `general.architecture` is missing"))?;
        Ok(format!("{architecture}.{name}"))
    }

    fn optional(&self, name: &str) -> Result<Option<u64>> {
        let key = self.key(name)?;
        self.metadata.get(&key).map(|value| value.as_u64().ok_or_else(|| not_a_number(&key))).transpose()
    }

    fn required(&self, name: &str) -> Result<u64> {
        self.optional(name)?.ok_or_else(|| match self.key(name) {
            Ok(key) => invalid(format!("metadata `{key}` is missing")),
            Err(error) => error,
        })
    }

    fn refuse_parts(&self) -> Result<()> {
        match split::parts(&self.metadata) {
            Some(parts) => Err(invalid(format!("one of {parts} parts of a split model"))
                .hint("join the parts with `llama-gguf-split --merge`")),
            None => Ok(()),
        }
    }
}

fn not_a_number(key: &str) -> diagnostic::Error {
    invalid(format!("metadata `{}` is not a non-negative integer", key.escape_debug()))
}

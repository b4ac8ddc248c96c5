//! Attention: `build_qkv`, `build_attn` and `build_attn_mha` in src/llama-graph.cpp.

use super::super::graph::{Id, Type};
use super::super::parameters::Layer;
use super::super::setting::KvType;
use super::{Builder, Cache};

impl Builder<'_> {
    /// Attention of one layer, on what its norm gave.
    pub(super) fn attention(&mut self, layer: usize, normed: Id) -> Id {
        if self.has(layer, "attn_kv_a_mqa.weight") {
            return self.latent_attention(layer, normed);
        }
        let kind = self.model.layers[layer];
        let n_tokens = self.n_tokens;
        let (q, k, v) = self.queries_keys_values(layer, &kind, normed);
        let heads = |head, count| [head, count, n_tokens, 1];
        let mut q = self.normed_head(layer, "attn_q_norm.weight", q, heads(kind.head_k, kind.n_head));
        let mut k = self.normed_head(layer, "attn_k_norm.weight", k, heads(kind.head_k, kind.n_head_kv));
        if self.manner.rotates {
            let positions = self.inputs.positions.expect("inputs are made before layers");
            q = self.graph.in_place(&[q, positions]);
            k = self.graph.in_place(&[k, positions]);
        }
        if self.manner.scales_queries {
            q = self.graph.in_place(&[q]);
        }
        let cache = if kind.swa { self.inputs.window } else { self.inputs.full };
        q = self.spread(q, cache.key_rotation);
        k = self.spread(k, cache.key_rotation);
        let v = self.spread(v, cache.value_rotation);
        self.graph.expand(q);
        self.graph.expand(v);
        self.graph.expand(k);
        self.store_keys(k, &cache);
        self.store_values(v, &kind, &cache);
        let mut current = self.attend(q, &kind, &cache, kind.head_v);
        current = self.spread(current, cache.value_rotation);
        self.product(layer, "attn_output", current).unwrap_or(current)
    }

    /// From one matrix for all three, or from three.
    fn queries_keys_values(&mut self, layer: usize, kind: &Layer, normed: Id) -> (Id, Id, Id) {
        let n_tokens = self.n_tokens;
        let q_ne = [kind.head_k, kind.n_head, n_tokens, 1];
        let k_ne = [kind.head_k, kind.n_head_kv, n_tokens, 1];
        let v_ne = [kind.head_v, kind.n_head_kv, n_tokens, 1];
        if let Some(all) = self.product(layer, "attn_qkv", normed) {
            return (self.graph.part(all, q_ne), self.graph.part(all, k_ne), self.graph.part(all, v_ne));
        }
        let dense = |builder: &mut Self, name: &str, ne: [u64; 4]| {
            let product = builder.product(layer, name, normed);
            let product =
                product.unwrap_or_else(|| builder.graph.operation([ne[0] * ne[1], n_tokens, 1, 1], &[normed]));
            builder.graph.reshape(product, ne)
        };
        (dense(self, "attn_q", q_ne), dense(self, "attn_k", k_ne), dense(self, "attn_v", v_ne))
    }

    fn normed_head(&mut self, layer: usize, name: &str, head: Id, ne: [u64; 4]) -> Id {
        if !self.has(layer, name) {
            return head;
        }
        let normed = self.norm(head);
        debug_assert_eq!(self.graph.ne(normed), ne);
        normed
    }

    /// A product with a small matrix over parts of a row: `llama_mul_mat_hadamard`.
    fn spread(&mut self, current: Id, matrix: Option<Id>) -> Id {
        let Some(matrix) = matrix else { return current };
        let n = self.graph.ne(matrix)[0];
        let ne = self.graph.ne(current);
        let count = ne.iter().fold(1_u64, |count, &n| count.saturating_mul(n));
        let rows = [n, count / n, 1, 1];
        let flat = match self.graph.is_dense(current) {
            true => self.graph.reshape(current, rows),
            false => self.graph.operation(rows, &[current]),
        };
        let spread = self.graph.operation(rows, &[matrix, flat]);
        self.graph.reshape(spread, ne)
    }

    /// `llama_kv_cache::cpy_k`.
    fn store_keys(&mut self, k: Id, cache: &Cache) {
        let ne = self.graph.ne(k);
        let flat = self.graph.part(k, [ne[0] * ne[1], ne[2], 1, 1]);
        let cells = cache.key_cells.expect("inputs are made before layers");
        let stored = self.graph.sink(&[flat, cells]);
        self.graph.expand(stored);
    }

    /// `llama_kv_cache::cpy_v`.
    fn store_values(&mut self, v: Id, kind: &Layer, cache: &Cache) {
        let ne = self.graph.ne(v);
        let flat = [ne[0] * ne[1], ne[2], 1, 1];
        let cells = cache.value_cells.expect("inputs are made before layers");
        let mut rows = match self.graph.is_dense(v) || self.sizes.flash_attention {
            true => self.graph.part(v, flat),
            false => self.graph.operation(flat, &[v]),
        };
        let widest = self.model.layers.iter().map(Layer::v_gqa).max().unwrap_or(0);
        if !self.sizes.flash_attention && kind.v_gqa() < widest {
            rows = self.graph.operation([widest, ne[2], 1, 1], &[rows]);
        }
        let stored = self.graph.sink(&[rows, cells]);
        self.graph.expand(stored);
    }

    /// `build_attn_mha`: one step with flash attention, otherwise with the scores of all heads.
    fn attend(&mut self, q: Id, kind: &Layer, cache: &Cache, head_v: u64) -> Id {
        let streams = self.sizes.streams;
        let mask = cache.mask.expect("inputs are made before layers");
        let n_kv = self.graph.ne(mask)[0];
        let tokens = self.n_tokens / streams;
        let q = self.graph.part(q, [kind.head_k, kind.n_head, tokens, streams]);
        let q = self.graph.swapped(q);
        let current = if self.sizes.flash_attention {
            let attended = self.graph.operation([head_v, kind.n_head, tokens, streams], &[q, mask]);
            self.graph.reshape(attended, [head_v * kind.n_head, self.n_tokens, 1, 1])
        } else {
            let mut scores = self.graph.operation([n_kv, tokens, kind.n_head, streams], &[q]);
            if self.manner.caps_scores {
                for _ in 0..3 {
                    scores = self.graph.in_place(&[scores]);
                }
            }
            scores = self.graph.in_place(&[scores, mask]);
            let attended = self.graph.operation([head_v, tokens, kind.n_head, streams], &[scores]);
            let attended = self.graph.swapped(attended);
            self.graph.operation([head_v * kind.n_head, self.n_tokens, 1, 1], &[attended])
        };
        self.graph.expand(current);
        current
    }

    /// Multi-head latent attention: `llama_model_deepseek2::graph` in src/models/deepseek2.cpp. One key per token holds
    /// the values too, and queries are brought into its space.
    fn latent_attention(&mut self, layer: usize, normed: Id) -> Id {
        let kind = self.model.layers[layer];
        let latent = self.model.latent;
        let (n_tokens, n_head) = (self.n_tokens, kind.n_head);
        let positions = self.inputs.positions.expect("inputs are made before layers");
        let mut q = match self.product(layer, "attn_q", normed) {
            Some(q) => q,
            None => {
                let low = self.product(layer, "attn_q_a", normed).unwrap_or(normed);
                let low = self.norm(low);
                self.product(layer, "attn_q_b", low).unwrap_or(low)
            }
        };
        let (head_k, head_v) = match self.model.mla {
            true => (latent.head_k, latent.head_v),
            false => (kind.head_k, kind.head_v),
        };
        q = self.graph.reshape(q, [head_k, n_head, n_tokens, 1]);
        let both = self.product(layer, "attn_kv_a_mqa", normed).unwrap_or(normed);
        let compressed = self.graph.part(both, [latent.kv_lora, n_tokens, 1, 1]);
        let rotary = self.graph.part(both, [latent.rope, 1, n_tokens, 1]);
        let rotary = self.graph.in_place(&[rotary, positions]);
        let compressed = self.norm(compressed);
        let nope = head_k.saturating_sub(latent.rope);
        let cache = self.inputs.full;
        if !self.model.mla {
            let kv = self.graph.operation([n_head * (nope + head_v), n_tokens, 1, 1], &[compressed]);
            let k_nope = self.graph.part(kv, [nope, n_head, n_tokens, 1]);
            let v = self.graph.part(kv, [head_v, n_head, n_tokens, 1]);
            let v = self.graph.operation([head_v, n_head, n_tokens, 1], &[v]);
            let q = self.graph.in_place(&[q, positions]);
            let repeated = self.graph.operation([latent.rope, n_head, n_tokens, 1], &[rotary]);
            let k = self.graph.operation([head_k, n_head, n_tokens, 1], &[k_nope, repeated]);
            self.graph.expand(q);
            self.graph.expand(v);
            self.graph.expand(k);
            self.store_keys(k, &cache);
            self.store_values(v, &kind, &cache);
            let current = self.attend(q, &kind, &cache, head_v);
            return self.product(layer, "attn_output", current).unwrap_or(current);
        }
        let q_nope = self.graph.part(q, [nope, n_head, n_tokens, 1]);
        let q_rotary = self.graph.part(q, [latent.rope, n_head, n_tokens, 1]);
        let q_rotary = self.graph.in_place(&[q_rotary, positions]);
        let q_nope = self.graph.swapped(q_nope);
        let absorbed = self.graph.operation([latent.kv_lora, n_tokens, n_head, 1], &[q_nope]);
        let absorbed = self.graph.swapped(absorbed);
        let width = latent.kv_lora + latent.rope;
        let q = self.graph.operation([width, n_head, n_tokens, 1], &[absorbed, q_rotary]);
        let compressed = self.graph.reshape(compressed, [latent.kv_lora, 1, n_tokens, 1]);
        let k = self.graph.operation([width, 1, n_tokens, 1], &[compressed, rotary]);
        self.graph.expand(q);
        self.graph.expand(compressed);
        self.graph.expand(k);
        self.store_keys(k, &cache);
        let current = self.attend_latent(q, &kind, &cache, head_v);
        self.product(layer, "attn_output", current).unwrap_or(current)
    }

    /// `build_attn_mha` with `v_mla`: what comes out is still compressed.
    fn attend_latent(&mut self, q: Id, kind: &Layer, cache: &Cache, head_v: u64) -> Id {
        let (streams, kv_lora, n_head) = (self.sizes.streams, self.model.latent.kv_lora, kind.n_head);
        let mask = cache.mask.expect("inputs are made before layers");
        let n_kv = self.graph.ne(mask)[0];
        let tokens = self.n_tokens / streams;
        let width = self.graph.ne(q)[0];
        let q = self.graph.part(q, [width, n_head, tokens, streams]);
        let q = self.graph.swapped(q);
        let current = if self.sizes.flash_attention {
            let attended = self.graph.operation([kv_lora, n_head, tokens, streams], &[q, mask]);
            let attended = self.graph.swapped(attended);
            let unpacked = self.graph.operation([head_v, tokens, n_head, streams], &[attended]);
            let unpacked = self.graph.swapped(unpacked);
            let dense = self.graph.operation([head_v, n_head, tokens, streams], &[unpacked]);
            self.graph.reshape(dense, [head_v * n_head, self.n_tokens, 1, 1])
        } else {
            let scores = self.graph.operation([n_kv, tokens, n_head, streams], &[q]);
            let scores = self.graph.in_place(&[scores, mask]);
            // Values lie as keys do, and are transposed for each layer, in the type of the cache.
            let kind = if self.setting.kv_k == KvType::F32 { Type::F32 } else { Type::F16 };
            let values = self.graph.typed(kind, [n_kv, kv_lora, 1, streams], &[]);
            let attended = self.graph.operation([kv_lora, tokens, n_head, streams], &[values, scores]);
            let unpacked = self.graph.operation([head_v, tokens, n_head, streams], &[attended]);
            let unpacked = self.graph.swapped(unpacked);
            self.graph.operation([head_v * n_head, self.n_tokens, 1, 1], &[unpacked])
        };
        self.graph.expand(current);
        current
    }
}

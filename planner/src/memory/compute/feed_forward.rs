//! What is done with each token for itself: `build_ffn` and `build_moe_ffn` in src/llama-graph.cpp.

use super::super::graph::{Id, Type};
use super::Builder;

impl Builder<'_> {
    /// Whether a layer has a feed-forward part.
    pub(super) fn has_ffn(&self, layer: usize) -> bool {
        self.has(layer, "ffn_up.weight") || self.has(layer, "ffn_gate_inp.weight") || self.has(layer, "ffn_down.weight")
    }

    /// The feed-forward part of one layer, on what its norm gave.
    pub(super) fn feed_forward(&mut self, layer: usize, normed: Id) -> Id {
        if !self.has(layer, "ffn_gate_inp.weight") {
            return self.dense(layer, normed, ["ffn_up", "ffn_gate", "ffn_down"]);
        }
        let chosen = self.experts(layer, normed);
        if !self.has(layer, "ffn_up_shexp.weight") {
            return chosen;
        }
        let shared = self.dense(layer, normed, ["ffn_up_shexp", "ffn_gate_shexp", "ffn_down_shexp"]);
        self.graph.in_place(&[chosen, shared])
    }

    fn dense(&mut self, layer: usize, normed: Id, [up, gate, down]: [&str; 3]) -> Id {
        let raised = self.product(layer, up, normed).unwrap_or(normed);
        let ne = self.graph.ne(raised);
        let lowered = self.layers[layer].get(format!("{down}.weight").as_str()).and_then(|tensor| tensor.dims.first());
        let width = lowered.copied().unwrap_or(ne[0]);
        let activated = match self.product(layer, gate, normed) {
            Some(gated) => self.graph.operation(ne, &[gated, raised]),
            // Gate and value in one matrix.
            None if width < ne[0] => self.graph.operation([width, ne[1], 1, 1], &[raised]),
            None => self.graph.in_place(&[raised]),
        };
        self.product(layer, down, activated).unwrap_or(activated)
    }

    /// A mixture of experts. Every token goes through its own few, so their activations are as many times as large.
    fn experts(&mut self, layer: usize, normed: Id) -> Id {
        let kind = self.model.layers[layer];
        let used = kind.n_expert_used.clamp(1, self.model.n_expert.max(1));
        let [n_embd, n_tokens, ..] = self.graph.ne(normed);
        let chances = self.product(layer, "ffn_gate_inp", normed).unwrap_or(normed);
        let n_expert = self.graph.ne(chances)[0];
        let chances = if self.manner.softmax_of_chosen { chances } else { self.graph.in_place(&[chances]) };
        let ranked = match self.has(layer, "exp_probs_b.bias") {
            true => self.graph.in_place(&[chances]),
            false => chances,
        };
        let sorted = self.graph.typed(Type::I32, [n_expert, n_tokens, 1, 1], &[ranked]);
        let chosen = self.graph.part(sorted, [used, n_tokens, 1, 1]);
        let rows = self.graph.reshape(chances, [1, n_expert, n_tokens, 1]);
        let mut weights = self.graph.operation([1, used, n_tokens, 1], &[rows, chosen]);
        if self.manner.softmax_of_chosen {
            let flat = self.graph.reshape(weights, [used, n_tokens, 1, 1]);
            let softmax = self.graph.in_place(&[flat]);
            weights = self.graph.reshape(softmax, [1, used, n_tokens, 1]);
        }
        if self.manner.norms_experts {
            let flat = self.graph.reshape(weights, [used, n_tokens, 1, 1]);
            let sum = self.graph.operation([1, n_tokens, 1, 1], &[flat]);
            let sum = self.graph.in_place(&[sum]);
            let normed = self.graph.in_place(&[flat, sum]);
            weights = self.graph.reshape(normed, [1, used, n_tokens, 1]);
        }
        self.graph.expand(weights);

        let single = self.graph.reshape(normed, [n_embd, 1, n_tokens, 1]);
        let down = self.layers[layer].get("ffn_down_exps.weight").and_then(|tensor| tensor.dims.first().copied());
        let n_ff = down.unwrap_or(kind.n_ff_exp.max(kind.n_ff));
        let by_expert = |builder: &mut Self, name: &str, width: u64| {
            let product = builder.graph.operation([width, used, n_tokens, 1], &[single, chosen]);
            match builder.has(layer, &format!("{name}.bias")) {
                true => builder.graph.in_place(&[product, chosen]),
                false => product,
            }
        };
        let activated = if self.has(layer, "ffn_gate_up_exps.weight") {
            let both = by_expert(self, "ffn_gate_up_exps", 2 * n_ff);
            let gate = self.graph.part(both, [n_ff, used, n_tokens, 1]);
            let up = self.graph.part(both, [n_ff, used, n_tokens, 1]);
            self.graph.operation([n_ff, used, n_tokens, 1], &[gate, up])
        } else {
            let up = by_expert(self, "ffn_up_exps", n_ff);
            match self.has(layer, "ffn_gate_exps.weight") {
                true => {
                    let gate = by_expert(self, "ffn_gate_exps", n_ff);
                    self.graph.operation([n_ff, used, n_tokens, 1], &[gate, up])
                }
                false => self.graph.in_place(&[up]),
            }
        };
        let mut lowered = self.graph.operation([n_embd, used, n_tokens, 1], &[activated, chosen]);
        if self.has(layer, "ffn_down_exps.bias") {
            lowered = self.graph.in_place(&[lowered, chosen]);
        }
        let weighted = self.graph.in_place(&[lowered, weights]);
        self.graph.expand(weighted);
        let parts: Vec<Id> = (0..used)
            .map(|_| {
                let part = self.graph.part(weighted, [n_embd, n_tokens, 1, 1]);
                self.graph.expand(part);
                part
            })
            .collect();
        let mut sum = parts[0];
        for &part in &parts[1..] {
            sum = self.graph.in_place(&[sum, part]);
            self.graph.expand(sum);
        }
        if used == 1 { self.graph.operation([n_embd, n_tokens, 1, 1], &[sum]) } else { sum }
    }
}

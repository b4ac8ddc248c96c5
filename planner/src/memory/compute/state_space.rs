//! Recurrent layers: `build_mamba_layer` and `build_mamba2_layer` in src/models/mamba-base.cpp.

use super::super::graph::Id;
use super::Builder;

impl Builder<'_> {
    /// The recurrent part of one layer, on what its norm gave.
    pub(super) fn recurrent(&mut self, layer: usize, normed: Id) -> Id {
        if self.has(layer, "ssm_x.weight") { self.mamba(layer, normed) } else { self.mamba2(layer, normed) }
    }

    /// The states of the sequences of this batch, out of all: `build_rs`.
    fn states(&mut self, values: u64) -> Id {
        let ids = self.inputs.states.expect("inputs are made before layers");
        let sequences = self.sizes.sequences;
        let main = self.graph.part(ids, [sequences, 1, 1, 1]);
        let states = self.graph.operation([values, sequences, 1, 1], &[main]);
        self.graph.expand(states);
        states
    }

    fn mamba(&mut self, layer: usize, normed: Id) -> Id {
        let ssm = self.model.ssm;
        let sequences = self.sizes.sequences;
        let tokens = self.n_tokens / sequences;
        let inner = [ssm.inner, tokens, sequences, 1];
        let conv = self.states(self.model.n_embd_r);
        let conv = self.graph.reshape(conv, [ssm.conv.saturating_sub(1), ssm.inner, sequences, 1]);
        let n_embd = self.graph.ne(normed)[0];
        let current = self.graph.reshape(normed, [n_embd, tokens, sequences, 1]);
        let both = self.graph.operation([2 * ssm.inner, tokens, sequences, 1], &[current]);
        let x = self.graph.part(both, inner);
        let z = self.graph.part(both, inner);
        let turned = self.graph.part(x, [tokens, ssm.inner, sequences, 1]);
        let window = ssm.conv.saturating_sub(1) + tokens;
        let joined = self.graph.operation([window, ssm.inner, sequences, 1], &[conv, turned]);
        let rest = self.graph.part(joined, [ssm.conv.saturating_sub(1), ssm.inner, sequences, 1]);
        let stored = self.graph.sink(&[rest]);
        self.graph.expand(stored);
        let convolved = self.graph.operation(inner, &[joined]);
        let x = self.graph.in_place(&[convolved]);
        let x = self.graph.in_place(&[x]);

        let parts = self.graph.operation([ssm.dt_rank + 2 * ssm.state, tokens, sequences, 1], &[x]);
        let mut dt = self.graph.part(parts, [ssm.dt_rank, tokens, sequences, 1]);
        let mut b = self.graph.part(parts, [ssm.state, 1, tokens, sequences]);
        let mut c = self.graph.part(parts, [ssm.state, 1, tokens, sequences]);
        if self.has(layer, "ssm_dt_norm.weight") {
            dt = self.norm(dt);
            b = self.norm(b);
            c = self.norm(c);
        } else {
            dt = self.graph.operation([ssm.dt_rank, tokens, sequences, 1], &[dt]);
        }
        let dt = self.graph.operation(inner, &[dt]);
        let dt = self.graph.in_place(&[dt]);
        let heads = self.graph.reshape(x, [1, ssm.inner, tokens, sequences]);
        let y = self.scan(&[heads, dt, b, c]);
        let scaled = self.graph.in_place(&[x]);
        let y = self.graph.in_place(&[y, scaled]);
        let z = self.graph.operation(inner, &[z]);
        let gated = self.graph.operation(inner, &[z, y]);
        let out = self.product(layer, "ssm_out", gated).unwrap_or(gated);
        self.graph.reshape(out, [n_embd, self.n_tokens, 1, 1])
    }

    fn mamba2(&mut self, layer: usize, normed: Id) -> Id {
        let ssm = self.model.ssm;
        let sequences = self.sizes.sequences;
        let tokens = self.n_tokens / sequences;
        let grouped = ssm.inner + 2 * ssm.group * ssm.state;
        let head = ssm.inner.checked_div(ssm.dt_rank).unwrap_or(1);
        let heads = [head, ssm.dt_rank, tokens, sequences];
        let conv = self.states(self.model.n_embd_r);
        let conv = self.graph.reshape(conv, [ssm.conv.saturating_sub(1), grouped, sequences, 1]);
        let width = ssm.inner + grouped + ssm.dt_rank;
        let all = self.graph.operation([width, self.n_tokens, 1, 1], &[normed]);
        let all = self.graph.reshape(all, [width, tokens, sequences, 1]);
        let z = self.graph.part(all, heads);
        let x = self.graph.part(all, [grouped, tokens, sequences, 1]);
        let dt = self.graph.part(all, [ssm.dt_rank, tokens, sequences, 1]);
        let turned = self.graph.part(x, [tokens, grouped, sequences, 1]);
        let window = ssm.conv.saturating_sub(1) + tokens;
        let joined = self.graph.operation([window, grouped, sequences, 1], &[conv, turned]);
        let rest = self.graph.part(joined, [ssm.conv.saturating_sub(1), grouped, sequences, 1]);
        let stored = self.graph.sink(&[rest]);
        self.graph.expand(stored);
        let convolved = self.graph.operation([grouped, tokens, sequences, 1], &[joined]);
        let x = self.graph.in_place(&[convolved]);
        let x = self.graph.in_place(&[x]);

        let values = self.graph.part(x, heads);
        let b = self.graph.part(x, [ssm.state, ssm.group, tokens, sequences]);
        let c = self.graph.part(x, [ssm.state, ssm.group, tokens, sequences]);
        let dt = self.graph.operation([ssm.dt_rank, tokens, sequences, 1], &[dt]);
        let dt = self.graph.in_place(&[dt]);
        let y = self.scan(&[values, dt, b, c]);
        let scaled = self.graph.operation(heads, &[values]);
        let y = self.graph.in_place(&[y, scaled]);
        let z = self.graph.operation(heads, &[z]);
        let mut gated = self.graph.operation(heads, &[z, y]);
        if self.has(layer, "ssm_norm.weight") {
            let groups = [ssm.inner.checked_div(ssm.group).unwrap_or(1), ssm.group, tokens, sequences];
            gated = self.graph.reshape(gated, groups);
            gated = self.norm(gated);
        }
        let flat = self.graph.reshape(gated, [ssm.inner, self.n_tokens, 1, 1]);
        self.product(layer, "ssm_out", flat).unwrap_or(flat)
    }

    /// `ggml_ssm_scan`: what comes out of every token, and behind it the new states, which are copied to their place.
    fn scan(&mut self, sources: &[Id]) -> Id {
        let ssm = self.model.ssm;
        let sequences = self.sizes.sequences;
        let tokens = self.n_tokens / sequences;
        let values = ssm.inner * self.n_tokens + self.model.n_embd_s * sequences;
        let ids = self.inputs.states.expect("inputs are made before layers");
        let main = self.graph.part(ids, [sequences, 1, 1, 1]);
        let mut from = sources.to_vec();
        from.push(main);
        let scanned = self.graph.operation([values, 1, 1, 1], &from);
        self.graph.expand(scanned);
        let new = self.graph.part(scanned, [self.model.n_embd_s * sequences, 1, 1, 1]);
        let stored = self.graph.sink(&[new]);
        self.graph.expand(stored);
        let shape = self.graph.ne(sources[0]);
        let heads = if shape[0] == 1 { [ssm.inner, tokens, sequences, 1] } else { shape };
        self.graph.reshape(scanned, heads)
    }
}

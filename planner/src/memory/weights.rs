//! Where the weights are: `llama_model_loader::create_tensor` in src/llama-model-loader.cpp, tensor by tensor.

use gguf::{Header, TensorInfo};

use super::kv::ALIGNMENT;
use super::machine::Machine;
use super::parameters::Parameters;
use super::setting::{CpuExperts, Setting};
use super::split::{Place, Split};

/// Bytes of weights at one place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weights {
    /// As in the file; in main memory these may be mapped.
    pub(super) plain: u64,
    /// Rearranged for the CPU, which is memory of our own whatever the load mode.
    pub(super) repacked: u64,
    /// Of `plain` and `repacked`: an output that the file has only as the embedding of the input, a second time.
    pub(super) tied: u64,
    /// Of `plain` and `repacked`: experts.
    pub(super) experts: u64,
}

impl Weights {
    pub(super) fn total(&self) -> u64 {
        self.plain.saturating_add(self.repacked)
    }
}

/// Weights by place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) host: Weights,
    pub(super) gpus: Vec<Weights>,
}

/// How a tensor is used, which decides where it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Rows are looked up.
    Input,
    /// Of a layer.
    Layer(usize),
    /// At the end.
    Output,
}

/// Places the tensors.
pub(super) fn place(
    header: &Header,
    model: &Parameters,
    setting: &Setting,
    machine: &Machine,
    split: &Split,
) -> Placed {
    let mut placed = Placed { host: Weights::default(), gpus: vec![Weights::default(); machine.gpus.len()] };
    let mut output = false;
    for tensor in &header.tensors {
        output |= tensor.name == "output.weight";
        let used = used(&tensor.name);
        // Layers that guess the token after the next are skipped.
        if matches!(used, Use::Layer(layer) if layer as u64 >= model.n_layer && model.n_layer > 0) {
            continue;
        }
        let place = match used {
            Use::Input => Place::Host,
            Use::Output => split.output,
            Use::Layer(layer) if is_expert(&tensor.name) && on_cpu(setting.cpu_experts, layer) => Place::Host,
            Use::Layer(layer) => split.layers.get(layer).copied().unwrap_or(Place::Host),
        };
        let repacked = used != Use::Input && repacked(tensor, setting, machine);
        placed.add(tensor, place, repacked, false);
    }
    // The output is the embedding, but another operation uses it: where that wants another buffer there are two.
    if let Some(embedding) = header.tensors.iter().find(|tensor| !output && tensor.name == "token_embd.weight") {
        let repacked = repacked(embedding, setting, machine);
        if split.output != Place::Host || repacked {
            placed.add(embedding, split.output, repacked, true);
        }
    }
    placed
}

impl Placed {
    fn add(&mut self, tensor: &TensorInfo, place: Place, repacked: bool, tied: bool) {
        let bytes = tensor.bytes.checked_next_multiple_of(ALIGNMENT).unwrap_or(tensor.bytes);
        let weights = match place {
            Place::Host => &mut self.host,
            Place::Gpu(gpu) => &mut self.gpus[gpu],
        };
        let kind = if repacked && place == Place::Host { &mut weights.repacked } else { &mut weights.plain };
        *kind = kind.saturating_add(bytes);
        if tied {
            weights.tied = weights.tied.saturating_add(bytes);
        }
        if is_expert(&tensor.name) {
            weights.experts = weights.experts.saturating_add(bytes);
        }
    }
}

/// `LLM_TENSOR_INFOS` in src/llama-arch.cpp, by name: what is no layer's and does not belong to the output is looked up.
fn used(name: &str) -> Use {
    if let Some(rest) = name.strip_prefix("blk.") {
        return match rest.split('.').next().and_then(|number| number.parse().ok()) {
            Some(layer) => Use::Layer(layer),
            None => Use::Layer(0),
        };
    }
    let at_the_end = ["output", "cls", "dense_", "altup", "hc_head", "fc."];
    match at_the_end.iter().any(|start| name.starts_with(start)) {
        true => Use::Output,
        // One for all layers, loaded with the first.
        false if name.starts_with("rope_") => Use::Layer(0),
        false => Use::Input,
    }
}

/// `LLM_FFN_EXPS_REGEX` in common/common.h.
fn is_expert(name: &str) -> bool {
    ["up", "down", "gate", "gate_up"]
        .iter()
        .any(|part| name.contains(&format!(".ffn_{part}_exps")) || name.contains(&format!(".ffn_{part}_chexps")))
}

fn on_cpu(experts: CpuExperts, layer: usize) -> bool {
    match experts {
        CpuExperts::None => false,
        CpuExperts::First(count) => (layer as u64) < count,
        CpuExperts::All => true,
    }
}

/// Whether it is rearranged where it is in main memory: matrices that are multiplied with, experts of three dimensions and
/// others of two (`extra_buffer_type::supports_op` in ggml/src/ggml-cpu/repack.cpp).
fn repacked(tensor: &TensorInfo, setting: &Setting, machine: &Machine) -> bool {
    let dims = if is_expert(&tensor.name) { 3 } else { 2 };
    let multiplied =
        tensor.name.ends_with(".weight") && !tensor.name.contains("norm") && !tensor.name.contains("conv1d");
    setting.repack && multiplied && tensor.dims.len() == dims && machine.repacks.takes(tensor)
}

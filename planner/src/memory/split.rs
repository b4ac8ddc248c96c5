//! Which layer goes where: `llama_model_base::load_tensors` in src/llama-model.cpp.

use super::machine::Machine;
use super::parameters::Parameters;
use super::setting::{GpuLayers, Setting};

/// Main memory, or a GPU by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Main memory, where the CPU computes.
    Host,
    /// The GPU with this number.
    Gpu(usize),
}

/// Where the layers and the output are. The embedding of the input is always in main memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Split {
    /// One place per layer.
    pub(super) layers: Vec<Place>,
    /// Of the output, which counts as one layer more.
    pub(super) output: Place,
}

impl Split {
    /// Layers on GPUs, the output counted as one.
    pub(super) fn on_gpus(&self) -> u64 {
        let gpus = self.layers.iter().chain([&self.output]).filter(|place| **place != Place::Host);
        gpus.count() as u64
    }
}

/// Places the layers. The last ones go to the GPUs, in their order and by their shares.
pub(super) fn split(model: &Parameters, setting: &Setting, machine: &Machine) -> Split {
    let layers = model.layers.len() as u64;
    let wanted = match setting.gpu_layers {
        _ if machine.gpus.is_empty() => 0,
        GpuLayers::All => layers + 1,
        GpuLayers::Last(count) => count,
    };
    let start = (layers + 1).saturating_sub(wanted);
    let on_gpus = wanted.min(layers + 1);
    let shares = shares(setting, machine);
    let place = |layer: u64| {
        if layer < start || layer - start >= on_gpus {
            return Place::Host;
        }
        let position = (layer - start) as f32 / on_gpus as f32;
        // `std::upper_bound`: the first share that ends behind it.
        Place::Gpu(shares.iter().position(|&end| end > position).unwrap_or(shares.len() - 1))
    };
    Split { layers: (0..layers).map(place).collect(), output: place(layers) }
}

/// Where each GPU's share ends, from 0 to 1: as asked, otherwise by memory. In `f32`, as llama.cpp computes it.
fn shares(setting: &Setting, machine: &Machine) -> Vec<f32> {
    let asked = &setting.tensor_split;
    let parts: Vec<f32> = match asked.iter().take(machine.gpus.len()).any(|&part| part != 0.0) {
        true => (0..machine.gpus.len()).map(|gpu| asked.get(gpu).copied().unwrap_or(0.0)).collect(),
        false => machine.gpus.iter().map(|gpu| gpu.memory as f32).collect(),
    };
    let ends: Vec<f32> = parts
        .iter()
        .scan(0.0_f32, |sum, part| {
            *sum += part;
            Some(*sum)
        })
        .collect();
    let whole = ends.last().copied().unwrap_or(0.0);
    ends.iter().map(|end| end / whole).collect()
}

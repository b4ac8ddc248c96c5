//! The memory that running a model takes, computed from its header as llama.cpp will compute it when it loads the model.
//!
//! [`breakdown`] takes a header, a [`Setting`] and a [`Machine`] and gives a [`Breakdown`]: for main memory and every GPU
//! the bytes of each [`Part`], with a sentence of why. KV cache and recurrent state are equal to llama.cpp's to the byte;
//! the compute buffer comes from building its graph and running its allocator on it. docs/fit.md explains each part, and
//! has the table of what was compared with llama.cpp itself.
//!
//! [`most_gpu_layers`] and [`longest_context`] look for what fits. [`Demand`] is the short form for a machine without GPU.

mod architecture;
mod breakdown;
mod companion;
mod compute;
mod demand;
mod fit;
mod graph;
mod kv;
mod machine;
mod options;
mod parameters;
mod setting;
mod split;
mod weights;

use diagnostic::Result;
use gguf::Header;

pub use breakdown::{Breakdown, Certainty, Item, Part, Shortfall, Usage};
pub use companion::{Companions, Draft};
pub use demand::{Demand, gigabytes};
pub use fit::{longest_context, most_gpu_layers};
pub use machine::{Gpu, Machine, Repacks};
pub use options::VARIABLES;
pub use setting::{CpuExperts, FlashAttention, GpuLayers, KvType, Load, LogitsRows, Setting};
pub use split::Place;

use architecture::Memory;
use compute::Share;
use kv::{LayerBytes, Sizes};
use parameters::Parameters;
use split::Split;
use weights::{Placed, Weights};

/// What running a model takes.
///
/// # Errors
/// [`diagnostic::codes::MODEL_INVALID`]: the header lacks what every model has, or the setting is one that llama.cpp would
/// refuse for this model, such as a quantised KV cache without flash attention.
pub fn breakdown(header: &Header, setting: &Setting, machine: &Machine) -> Result<Breakdown> {
    with_companions(header, &Companions::default(), setting, machine)
}

/// The same, with a vision model or a draft model beside it.
///
/// # Errors
/// As [`breakdown`], for each of the models.
pub fn with_companions(
    header: &Header,
    companions: &Companions<'_>,
    setting: &Setting,
    machine: &Machine,
) -> Result<Breakdown> {
    let model = parameters::read(header)?;
    let sizes = kv::sizes(&model, setting)?;
    let layers = kv::layers(&model, setting, &sizes)?;
    let split = split::split(&model, setting, machine);
    let placed = weights::place(header, &model, setting, machine, &split);
    let sum = Sum { header, setting, machine, model: &model, sizes, layers: &layers, split: &split, placed: &placed };
    let mut devices = vec![sum.host()];
    devices.extend((0..machine.gpus.len()).map(|gpu| sum.gpu(gpu)));
    companion::add(&mut devices, companions, setting, machine)?;
    Ok(Breakdown {
        certainty: sum.certainty(),
        ctx: sizes.n_ctx,
        layers: model.layers.len() as u64 + 1,
        gpu_layers: split.on_gpus(),
        devices,
        architecture: model.name,
    })
}

/// Everything that a breakdown is summed up from.
struct Sum<'a> {
    header: &'a Header,
    setting: &'a Setting,
    machine: &'a Machine,
    model: &'a Parameters,
    sizes: Sizes,
    layers: &'a [LayerBytes],
    split: &'a Split,
    placed: &'a Placed,
}

impl Sum<'_> {
    fn certainty(&self) -> Certainty {
        match self.model.known {
            Some(known) if known.compared => Certainty::Compared,
            Some(known) if known.memory != Memory::Special => Certainty::Modelled,
            _ => Certainty::NotModelled,
        }
    }

    fn host(&self) -> Usage {
        let mut usage = Usage { place: Place::Host, name: "host".to_owned(), items: Vec::new() };
        let Weights { plain, repacked, tied, .. } = self.placed.host;
        let how = match self.setting.load {
            Load::Mapped => "mapped from the file, so that the kernel may drop and read them again",
            Load::Read => "read into memory",
        };
        usage.push(Part::Weights, plain, format!("tensors that stay as they are, {how}"));
        let twice = match tied {
            0 => String::new(),
            tied => format!("; {} of it is the embedding again, as output", gigabytes(tied)),
        };
        usage.push(Part::Repacked, repacked, format!("tensors in an order that suits the CPU, never mapped{twice}"));
        self.context(&mut usage);
        let on_host: Vec<bool> = self.split.layers.iter().map(|place| *place == Place::Host).collect();
        let outputs = self.split.output == Place::Host;
        let share = Share { layers: &on_host, embeds: true, outputs };
        self.compute(&mut usage, share);
        let rows = self.sizes.sequences;
        let bytes = self.model.n_vocab.saturating_mul(rows).saturating_mul(4);
        usage.push(Part::Outputs, bytes, format!("{} logits of 4 bytes for {rows} token(s)", self.model.n_vocab));
        let cache = self.setting.prompt_cache_mib.saturating_mul(1 << 20);
        usage.push(Part::PromptCache, cache, "the limit of prompts that are kept; it is reached with use");
        let one = kv::checkpoint(self.model, self.setting, &self.sizes, self.layers);
        let count = self.setting.checkpoints.saturating_mul(rows);
        let why = format!("{count} states of {} to come back to; they pile up with use", gigabytes(one));
        usage.push(Part::Checkpoints, one.saturating_mul(count), why);
        usage
    }

    fn gpu(&self, number: usize) -> Usage {
        let gpu = &self.machine.gpus[number];
        let place = Place::Gpu(number);
        let mut usage = Usage { place, name: gpu.name.clone(), items: Vec::new() };
        let weights = self.placed.gpus[number];
        let twice = match weights.tied {
            0 => String::new(),
            tied => format!("; {} of it is the embedding again, as output", gigabytes(tied)),
        };
        let layers: Vec<bool> = self.split.layers.iter().map(|at| *at == place).collect();
        let count = layers.iter().filter(|here| **here).count();
        usage.push(Part::Weights, weights.total(), format!("the tensors of {count} layers{twice}"));
        self.context(&mut usage);
        let outputs = self.split.output == place;
        if count == 0 && !outputs {
            return usage;
        }
        self.compute(&mut usage, Share { layers: &layers, embeds: false, outputs });
        usage.push(Part::Overhead, gpu.driver, "what the driver takes beside what llama.cpp allocates");
        if gpu.unpacks_kv && (self.setting.kv_k.is_quantized() || self.setting.kv_v.is_quantized()) {
            let cells = self.sizes.cells.saturating_mul(self.sizes.streams);
            let widest = self.model.layers.iter().filter(|layer| layer.kv);
            let widest = widest.map(|layer| layer.k_gqa().saturating_add(layer.v_gqa())).max().unwrap_or(0);
            let bytes = widest.saturating_mul(cells).saturating_mul(2);
            usage.push(Part::Overhead, bytes, "one layer of the quantised KV cache as f16, for prompts");
        }
        usage
    }

    /// KV cache and recurrent state of the layers that are at a place.
    fn context(&self, usage: &mut Usage) {
        let here = |layer: usize| match self.setting.kv_offload {
            true => self.split.layers[layer] == usage.place,
            false => usage.place == Place::Host,
        };
        let mut sum = LayerBytes::default();
        let (mut full, mut window, mut states) = (0_u64, 0_u64, 0_u64);
        for (number, bytes) in self.layers.iter().enumerate().filter(|(number, _)| here(*number)) {
            sum.kv = sum.kv.saturating_add(bytes.kv);
            sum.recurrent = sum.recurrent.saturating_add(bytes.recurrent);
            let layer = self.model.layers[number];
            full += u64::from(layer.kv && !layer.swa);
            window += u64::from(layer.kv && layer.swa);
            states += u64::from(layer.recurrent);
        }
        let Sizes { cells, cells_swa, streams, .. } = self.sizes;
        let times = if streams > 1 { format!(" for each of {streams} sequences") } else { String::new() };
        let types = match self.model.mla {
            true => format!("compressed keys in {}", self.setting.kv_k),
            false => format!("keys in {}, values in {}", self.setting.kv_k, self.setting.kv_v),
        };
        let mut why = format!("{full} layers of {cells} cells{times}, {types}");
        if window > 0 {
            why = format!("{full} layers of {cells} cells and {window} with a window of {cells_swa}{times}, {types}");
        }
        usage.push(Part::KvCache, sum.kv, why);
        let why =
            format!("{states} layers' states in f32 for {} sequence(s), whatever the context", self.sizes.sequences);
        usage.push(Part::RecurrentState, sum.recurrent, why);
    }

    fn compute(&self, usage: &mut Usage, share: Share<'_>) {
        let bytes = compute::bytes(self.header, self.model, self.setting, &self.sizes, share);
        let attention = match self.sizes.flash_attention {
            true => "with flash attention",
            false => "without flash attention, so with a score for every token of the context",
        };
        let why = format!("activations of {} tokens at once, {attention}", self.sizes.n_ubatch);
        usage.push(Part::Compute, bytes, why);
    }
}

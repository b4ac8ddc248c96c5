//! How fast a model would be on a machine: as it was measured, computed from what was measured of another model, or computed
//! from data sheets; and which of these it is. Where nothing is known, nothing is said.

use build_info::{ClassTuning, ModelClass, PhaseTuning, Tuning};
use gguf::Header;
use planner::class;
use planner::feasibility::Answer;
use planner::memory::Part;
use planner::speed::{self, Kernels, Origin, Reference};

use crate::threads::class_on_day;

/// What is known of the speed.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(crate) struct Speed {
    /// How the figures came about: `measured`, `modelled`, `catalogue`, or `unknown`.
    pub(crate) label: &'static str,
    /// Tokens per second, prompts.
    pub(crate) prompt: Option<f64>,
    /// Tokens per second, generation in a short context.
    pub(crate) generation: Option<f64>,
    /// How far the generation may be off, in percent.
    pub(crate) error_percent: Option<f64>,
    /// In words.
    pub(crate) text: String,
}

/// What the memories of a machine read at best by their data sheets, in GB/s; `None` where none is known, or several devices
/// share the work.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct DataSheet {
    pub(crate) main_memory: Option<f64>,
    pub(crate) gpu: Option<f64>,
}

/// What is known of a machine that has to do with speed.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// What was measured with the active build.
    pub(crate) tuning: Option<Tuning>,
    pub(crate) data_sheet: DataSheet,
    /// Whether it is this machine, where something can be measured.
    pub(crate) here: bool,
}

/// How fast one device does all of the work.
struct Device {
    prompt: Option<speed::Speed>,
    generation: speed::Speed,
    /// With a full context, which every token reads too.
    full: speed::Speed,
    /// What the figures are from.
    from: String,
}

/// What a token reads, in bytes.
#[derive(Clone, Copy)]
struct Cost {
    weights: u64,
    context: u64,
}

/// The speed of the model with the layers where `answer` has put them.
pub(crate) fn of(header: &Header, answer: &Answer, known: &Known) -> Speed {
    let breakdown = &answer.breakdown;
    let Ok(weights) = header.bytes_per_token() else {
        return unknown("unknown: the model's file does not say what a token reads");
    };
    let cost = Cost { weights, context: breakdown.bytes(Part::KvCache) };
    let class = class::of(header).ok();
    let cpu = || {
        let measured =
            known.tuning.as_ref().zip(class.as_ref()).and_then(|(tuning, class)| by_tuning(tuning, class, cost));
        measured.or_else(|| by_data_sheet(known.data_sheet.main_memory?, cost))
    };
    let gpu = || by_data_sheet(known.data_sheet.gpu?, cost);
    let on_cpu = breakdown.layers - breakdown.gpu_layers;
    let device = match (on_cpu, breakdown.gpu_layers) {
        (_, 0) => cpu(),
        (0, _) => gpu(),
        (_, on_gpu) => cpu().zip(gpu()).and_then(|(cpu, gpu)| split(&cpu, &gpu, on_gpu, breakdown.layers)),
    };
    match device {
        Some(device) => device.speed(),
        None => unknown(&match (known.here, on_cpu, breakdown.gpu_layers) {
            (true, _, 0) => "not measured yet: `cargo xtask bench --model FILE` does it".to_owned(),
            (true, 0, _) => "unknown: there is no data sheet of this GPU, or there are several".to_owned(),
            (true, layers, _) => format!(
                "unknown: {layers} layers are read from main memory, and with the active build nothing was measured yet, or \
                 there is no data sheet of this GPU"
            ),
            (false, layers, 1..) if layers > 0 => {
                format!("unknown: {layers} layers are read from main memory, and no profile knows how fast that is")
            }
            (false, ..) => "unknown: nothing was measured on that machine, and no data sheet is known".to_owned(),
        }),
    }
}

fn unknown(text: &str) -> Speed {
    Speed { label: "unknown", prompt: None, generation: None, error_percent: None, text: text.to_owned() }
}

/// From what was measured here: of this class; else of another size of this quantisation, which the same kernels compute,
/// the newest first; else of the model that costs the most like it. Of another quantisation nothing follows for prompts:
/// their kernels differ by more than 1.8 to 1 on one machine (docs/figures/builds-avx512-*.json).
fn by_tuning(tuning: &Tuning, class: &ModelClass, cost: Cost) -> Option<Device> {
    if let Some(measured) = tuning.classes.get(class) {
        return as_measured(measured, class, cost);
    }
    let with_cost = tuning.classes.iter().filter_map(|(other, found)| Some((other, found, found.bytes_per_token?)));
    let (other, found, reads) = with_cost.max_by(|a, b| {
        let rank = |(other, found, reads): &(&ModelClass, &ClassTuning, u64)| match other.quant() == class.quant() {
            true => (1, found.date.as_second() as f64),
            false => (0, -(*reads as f64 / cost.weights as f64).ln().abs()),
        };
        let ((same_a, near_a), (same_b, near_b)) = (rank(a), rank(b));
        same_a.cmp(&same_b).then(near_a.total_cmp(&near_b))
    })?;
    let kernels = if other.quant() == class.quant() { Kernels::Same } else { Kernels::Other };
    let scaled = |phase: &PhaseTuning, bytes: u64| {
        let reference = Reference { tokens_per_second: phase.tokens_per_second, cost: reads };
        speed::scaled(reference, bytes, kernels)
    };
    Some(Device {
        prompt: scaled(&found.prompt, cost.weights).filter(|_| kernels == Kernels::Same),
        generation: scaled(&found.generation, cost.weights)?,
        full: scaled(&found.generation, cost.weights.saturating_add(cost.context))?,
        from: format!("{other} as measured here"),
    })
}

fn as_measured(measured: &ClassTuning, class: &ModelClass, cost: Cost) -> Option<Device> {
    let of = |phase: &PhaseTuning| speed::Speed::measured(phase.tokens_per_second, scatter(phase));
    let generation = of(&measured.generation)?;
    let reference = Reference { tokens_per_second: generation.tokens_per_second, cost: cost.weights };
    let full = speed::scaled(reference, cost.weights.saturating_add(cost.context), Kernels::Same)?;
    Some(Device {
        prompt: of(&measured.prompt),
        generation,
        full: full.at_most(generation.tokens_per_second),
        from: class_on_day(class, measured),
    })
}

fn by_data_sheet(gb_s: f64, cost: Cost) -> Option<Device> {
    let expected = |bytes| speed::from_bandwidth(gb_s, bytes, Origin::Catalogue);
    Some(Device {
        prompt: None,
        generation: expected(cost.weights)?,
        full: expected(cost.weights.saturating_add(cost.context))?,
        from: format!("{gb_s} GB/s of the data sheet"),
    })
}

/// A prompt on a GPU is arithmetic, of which no data sheet tells how much llama.cpp reaches.
fn split(cpu: &Device, gpu: &Device, on_gpu: u64, layers: u64) -> Option<Device> {
    let share = on_gpu as f64 / layers as f64;
    Some(Device {
        prompt: None,
        generation: speed::split(cpu.generation, gpu.generation, share)?,
        full: speed::split(cpu.full, gpu.full, share)?,
        from: format!("{} for the {on_gpu} layers on the GPU, and {} for the others", gpu.from, cpu.from),
    })
}

impl Device {
    fn speed(&self) -> Speed {
        let range = |speed: &speed::Speed| {
            let (least, most) = speed.range();
            format!("{least:.1} to {most:.1}")
        };
        let error = self.generation.error_below.max(self.generation.error_above) * 100.0;
        let (label, from, generation, full) =
            (label(self.generation.origin), &self.from, &self.generation, range(&self.full));
        let text = match generation.origin {
            Origin::Measured => {
                let prompt = self.prompt.map(|prompt| format!("prompts {:.1}, ", prompt.tokens_per_second));
                format!(
                    "{label}, {from}: {}generation {:.1} tokens/s, \u{b1} {error:.0} %, in a short context; modelled: {full} in a \
                     full one",
                    prompt.unwrap_or_default(),
                    generation.tokens_per_second,
                )
            }
            Origin::Modelled | Origin::Catalogue => {
                let prompt = self.prompt.map(|prompt| format!("prompts {}, ", range(&prompt)));
                format!(
                    "{label}, from {from}: {}generation {} tokens/s in a short context, {full} in a full one",
                    prompt.unwrap_or_default(),
                    range(generation),
                )
            }
        };
        Speed {
            label,
            prompt: self.prompt.map(|prompt| prompt.tokens_per_second),
            generation: Some(generation.tokens_per_second),
            error_percent: Some(error),
            text,
        }
    }
}

fn label(origin: Origin) -> &'static str {
    match origin {
        Origin::Measured => "measured",
        Origin::Modelled => "modelled",
        Origin::Catalogue => "catalogue",
    }
}

/// Half of what lies between the fastest and the slowest run of the winner, as a share of the median.
fn scatter(phase: &PhaseTuning) -> f64 {
    let winner = phase.trials.iter().find(|trial| trial.threads == phase.threads);
    let samples = winner.map(|trial| trial.samples.as_slice()).unwrap_or_default();
    let (least, most) =
        samples.iter().fold((f64::MAX, f64::MIN), |(low, high), speed| (low.min(*speed), high.max(*speed)));
    if samples.is_empty() || phase.tokens_per_second <= 0.0 {
        return 0.0;
    }
    (most - least) / 2.0 / phase.tokens_per_second
}

#[cfg(test)]
mod tests;

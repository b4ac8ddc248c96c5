//! What running a model takes, part by part, each with the sentence that says why.

use std::fmt;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::demand::gigabytes;
use super::machine::Machine;
use super::split::Place;

/// What a part of memory is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Weights as they are in the file.
    Weights,
    /// Weights that were rearranged for the CPU, in place of those of the file.
    Repacked,
    /// Keys and values of the context.
    KvCache,
    /// The state of recurrent layers.
    RecurrentState,
    /// Activations while a batch is computed, with the logits that are computed.
    Compute,
    /// Logits as they are handed out.
    Outputs,
    /// Prompts that llama-server keeps for requests to come.
    PromptCache,
    /// States that llama-server keeps to come back to.
    Checkpoints,
    /// The model that looks at pictures.
    Mmproj,
    /// The small model that guesses.
    Draft,
    /// What a driver or the process takes beside what llama.cpp accounts for.
    Overhead,
}

impl Part {
    /// Every part, in the order in which they are told.
    pub const ALL: [Part; 11] = [
        Part::Weights,
        Part::Repacked,
        Part::KvCache,
        Part::RecurrentState,
        Part::Compute,
        Part::Outputs,
        Part::PromptCache,
        Part::Checkpoints,
        Part::Mmproj,
        Part::Draft,
        Part::Overhead,
    ];

    /// Its key in JSON, in bytes.
    pub fn key(self) -> &'static str {
        match self {
            Part::Weights => "weights_bytes",
            Part::Repacked => "repacked_bytes",
            Part::KvCache => "kv_cache_bytes",
            Part::RecurrentState => "recurrent_state_bytes",
            Part::Compute => "compute_bytes",
            Part::Outputs => "outputs_bytes",
            Part::PromptCache => "prompt_cache_bytes",
            Part::Checkpoints => "checkpoints_bytes",
            Part::Mmproj => "mmproj_bytes",
            Part::Draft => "draft_bytes",
            Part::Overhead => "overhead_bytes",
        }
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Part::Weights => "weights",
            Part::Repacked => "rearranged weights",
            Part::KvCache => "KV cache",
            Part::RecurrentState => "recurrent state",
            Part::Compute => "compute buffer",
            Part::Outputs => "logits",
            Part::PromptCache => "prompt cache",
            Part::Checkpoints => "context checkpoints",
            Part::Mmproj => "vision model",
            Part::Draft => "draft model",
            Part::Overhead => "overhead",
        }
    }
}

/// One part, and why it takes that much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is for.
    pub part: Part,
    /// How much it takes.
    pub bytes: u64,
    /// How the figure comes about.
    pub why: String,
}

/// What one place has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Where.
    pub place: Place,
    /// What it is called: `host`, or the GPU's name.
    pub name: String,
    /// Its parts; those that take nothing are left out.
    pub items: Vec<Item>,
}

impl Usage {
    /// All of it, in bytes.
    pub fn total(&self) -> u64 {
        self.items.iter().map(|item| item.bytes).fold(0, u64::saturating_add)
    }

    /// What one part takes, in bytes; 0 where there is none.
    pub fn bytes(&self, part: Part) -> u64 {
        self.items.iter().filter(|item| item.part == part).map(|item| item.bytes).fold(0, u64::saturating_add)
    }

    pub(super) fn push(&mut self, part: Part, bytes: u64, why: impl Into<String>) {
        if bytes > 0 {
            self.items.push(Item { part, bytes, why: why.into() });
        }
    }
}

/// Keys `weights_bytes`, `kv_cache_bytes`, `compute_bytes`, ... for every part, also those of 0 bytes, `total_bytes`, and
/// `why` with the sentences.
impl Serialize for Usage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("device", &self.name)?;
        for part in Part::ALL {
            map.serialize_entry(part.key(), &self.bytes(part))?;
        }
        map.serialize_entry("total_bytes", &self.total())?;
        let why: std::collections::BTreeMap<_, _> =
            self.items.iter().map(|item| (item.part.key(), item.why.as_str())).collect();
        map.serialize_entry("why", &why)?;
        map.end()
    }
}

/// How sure the figures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// The architecture's figures were compared with llama.cpp's own: the KV cache equal to the byte, the total never below.
    Compared,
    /// The KV cache follows llama.cpp's rules for this architecture; the compute buffer is a bound made of the same parts.
    Modelled,
    /// The architecture has memory of its own kind, or llama.cpp did not know it when this was written: an upper bound that
    /// takes every layer for one with full attention, and may be wrong.
    NotModelled,
}

impl Certainty {
    /// What a reader should know, and do; `None` when there is nothing to know.
    pub fn caveat(self) -> Option<&'static str> {
        match self {
            Certainty::Compared => None,
            Certainty::Modelled => Some("the compute buffer of this architecture is a bound that was not compared"),
            Certainty::NotModelled => Some(
                "this architecture is not modelled: an upper bound, `llama-fit-params --fit-print on` knows better",
            ),
        }
    }
}

/// What running a model takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Breakdown {
    /// The architecture, `general.architecture`.
    pub architecture: String,
    /// How sure the figures are.
    pub certainty: Certainty,
    /// Tokens of the context, of all sequences together, after llama.cpp's rounding.
    pub ctx: u64,
    /// Layers, the output counted as one.
    pub layers: u64,
    /// Of these, on GPUs.
    pub gpu_layers: u64,
    /// Main memory first, then the GPUs.
    pub devices: Vec<Usage>,
}

impl Breakdown {
    /// What main memory has to hold.
    pub fn host(&self) -> &Usage {
        &self.devices[0]
    }

    /// What the GPUs have to hold.
    pub fn gpus(&self) -> &[Usage] {
        &self.devices[1..]
    }

    /// All of it, in bytes.
    pub fn total(&self) -> u64 {
        self.devices.iter().map(Usage::total).fold(0, u64::saturating_add)
    }

    /// What one part takes everywhere, in bytes.
    pub fn bytes(&self, part: Part) -> u64 {
        self.devices.iter().map(|usage| usage.bytes(part)).fold(0, u64::saturating_add)
    }

    /// Where it does not fit, and by how much. One pool is counted once, as main memory, and the GPUs' share of it as well.
    pub fn shortfalls(&self, machine: &Machine) -> Vec<Shortfall> {
        let mut short = Vec::new();
        let mut check = |place, name: &str, needed: u64, budget: u64| {
            if needed > budget {
                short.push(Shortfall { place, name: name.to_owned(), needed, budget });
            }
        };
        let on_host = if machine.unified { self.total() } else { self.host().total() };
        if let Some(ram) = machine.ram {
            check(Place::Host, &self.host().name, on_host, ram);
        }
        for (usage, gpu) in self.gpus().iter().zip(&machine.gpus) {
            check(usage.place, &usage.name, usage.total(), gpu.memory);
        }
        short
    }

    /// Whether it fits everywhere.
    pub fn fits(&self, machine: &Machine) -> bool {
        self.shortfalls(machine).is_empty()
    }
}

/// A place that is too small.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shortfall {
    /// Where.
    #[serde(skip)]
    pub place: Place,
    /// What it is called.
    #[serde(rename = "device")]
    pub name: String,
    /// Bytes that are needed.
    #[serde(rename = "needed_bytes")]
    pub needed: u64,
    /// Bytes that there are.
    #[serde(rename = "budget_bytes")]
    pub budget: u64,
}

/// `host needs 9.1 GB of 8.0 GB`.
impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} needs {} of {}", self.name, gigabytes(self.needed), gigabytes(self.budget))
    }
}

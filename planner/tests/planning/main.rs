//! What is answered, written, read and found wrong, on machines that are not here.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod check;
mod feasibility;
mod formats;

use gguf::Header;
use gguf::model::{Quant, Shape, plan};
use planner::hardware::{Hardware, Thermal, Threads};
use planner::memory::{Gpu, Machine, Repacks};

pub(crate) const GB: u64 = 1_000_000_000;

/// The header of a generated model.
pub(crate) fn header(shape: Shape, quant: Quant) -> Header {
    let plan = plan(shape, quant, 1);
    Header { version: gguf::VERSION, metadata: plan.metadata, tensors: plan.tensors, data_offset: plan.data_offset }
}

/// A desktop of eight cores; a card where `vram` is more than nothing.
pub(crate) fn machine(ram: u64, vram: u64) -> Hardware {
    let gpus = if vram > 0 { vec![Gpu::cuda("a card", vram)] } else { Vec::new() };
    Hardware {
        name: "a processor".to_owned(),
        source: "a test".to_owned(),
        cpu_budget: Some(8),
        threads: Some(Threads { generation: 6, prompt: 6, why: "heuristic".to_owned() }),
        thermal: Thermal::Desktop,
        machine: Machine { ram: Some(ram), gpus, unified: false, repacks: Repacks::Avx2 },
    }
}

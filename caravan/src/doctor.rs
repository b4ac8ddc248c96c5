//! `caravan doctor`: whether a model can be run on a machine, said before anything is loaded.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Args;
use diagnostic::{Error, Result};
use planner::feasibility::{Screen, Verdict};
use planner::memory::Part;
use serde_json::json;

use crate::subject::{Found, Wanted};
use crate::ui;

/// Say whether a model fits, how it would be split, and what to change
///
/// Nothing is loaded: everything is computed from the model's header and from what this machine, or another, has to give.
/// What fits only when something is given up that was wanted ends with an error, unless that is accepted.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    wanted: Wanted,
    /// Take what fits only when something is given up
    #[arg(long)]
    accept_degraded: bool,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

impl Flags {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let found = self.wanted.answer()?;
        ui::print(if self.json { as_json(&found) } else { screen(&found) })?;
        accept(&found, self.accept_degraded)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The answer for people.
pub(crate) fn screen(found: &Found) -> String {
    Screen { answer: &found.answer, hardware: &found.machine.hardware, speed: &found.speed.text }.to_string()
}

/// Refuses what does not fit, and what is degraded when nobody agrees: with the flag, or on a terminal.
///
/// # Errors
/// [`codes::MODEL_TOO_LARGE`](diagnostic::codes::MODEL_TOO_LARGE), [`codes::DEGRADED`](diagnostic::codes::DEGRADED).
pub(crate) fn accept(found: &Found, accepted: bool) -> Result<()> {
    let Some(refusal) = found.answer.refusal(&found.subject.path, &found.machine.hardware) else { return Ok(()) };
    match found.answer.verdict {
        Verdict::Degraded if accepted || agreed(&found.answer.sacrifices)? => Ok(()),
        Verdict::Degraded => Err(refusal.hint("`--accept-degraded` takes it as it is")),
        _ => Err(refusal),
    }
}

/// Asks, where somebody can answer.
fn agreed(sacrifices: &[String]) -> Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(false);
    }
    for what in sacrifices {
        ui::note(format!("given up: {what}"));
    }
    ui::note("take it so? [y/N]");
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Error::io("cannot read", std::path::Path::new("standard input"), error))?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}

fn as_json(found: &Found) -> String {
    let (answer, hardware) = (&found.answer, &found.machine.hardware);
    let bytes = |part: Part| answer.breakdown.bytes(part);
    let value = json!({
        "verdict": answer.verdict,
        "sentence": answer.sentence(),
        "model": { "path": found.subject.path, "size": found.subject.size, "precision": found.subject.precision,
                   "described": found.subject.described },
        "hardware": hardware,
        "cpu_budget": hardware.cpu_budget,
        "optimal_threads": hardware.threads.as_ref().map(|threads| threads.generation),
        "ctx": answer.breakdown.ctx,
        "wanted_ctx": answer.wanted_ctx,
        "min_ctx": answer.min_ctx,
        "trained_ctx": answer.trained_ctx,
        "layers": { "on_gpu": answer.breakdown.gpu_layers, "on_cpu": answer.breakdown.layers - answer.breakdown.gpu_layers },
        "weights_bytes": bytes(Part::Weights) + bytes(Part::Repacked),
        "kv_cache_bytes": bytes(Part::KvCache) + bytes(Part::RecurrentState),
        "compute_bytes": bytes(Part::Compute) + bytes(Part::Outputs),
        "memory": answer.breakdown,
        "speed": found.speed,
        "setting": answer.setting,
        "given_up": answer.sacrifices,
        "changes": answer.changes,
        "notes": answer.notes,
        "alternatives": answer.alternatives,
    });
    serde_json::to_string_pretty(&value).expect("an answer holds only strings and finite numbers")
}

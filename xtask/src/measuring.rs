//! Runs a benchmark plan and shows how far it is.

use diagnostic::Result;
use measure::bench::{self, Event};
use measure::{Phase, Report};

use crate::ui::{Progress, Unit};

/// Measures as planned.
///
/// # Errors
/// As [`bench::run`].
pub(crate) fn run(plan: &bench::Plan) -> Result<Report> {
    let mut progress = Progress::new("measuring", Unit::Steps);
    bench::run(plan, |event| match event {
        Event::Bandwidth(found) => {
            progress.note(&format!("bandwidth {:.1} GB/s, {} threads reading", found.gb_s, found.threads));
        }
        Event::Started { child, build, done, total } => {
            progress.set(done as u64, total as u64, &format!("{build}, -t {}", child.threads));
        }
        Event::Sample { build, phase, threads, tokens_per_second } => {
            let phase = match phase {
                Phase::Prompt => "prompt",
                Phase::Generation => "generation",
            };
            progress.say(&format!("{build}, {threads} threads, {phase}: {tokens_per_second:.1} tokens/s"));
        }
    })
}

//! A search as people read it.

use std::fmt::Write as _;

use super::goal::{Goal, Speed};
use super::outcome::{Outcome, Stop, Together, Tried, Verdict};
use crate::report::Phase;
use crate::stats::UNSTABLE_SPREAD;
use crate::table::grid;
use crate::text::{mebibytes, percent, rate};
use crate::verdict::times;

/// The machine has changed when the baseline has by more than this.
const DRIFT_SAID: f64 = 0.05;

/// What was tried, what is kept, and what it brings.
pub fn render(outcome: &Outcome) -> String {
    let mut text = String::new();
    let header = ["Stage", "Knob", "Choice", "Prompt", "Generation", "Verdict"].map(str::to_owned);
    let rows: Vec<Vec<String>> = outcome.tried.iter().map(row).collect();
    if !rows.is_empty() {
        text += &grid(&header, &rows);
        text.push('\n');
    }
    let mut line = |name: &str, value: &str| writeln!(text, "{name:<9} {value}").expect("a String takes any text");
    line("goal", &goal(outcome));
    line("baseline", &format!("{}: {}", outcome.baseline.run.build, outcome.baseline));
    if outcome.tuned == outcome.baseline {
        line("tuned", "as the baseline: nothing was faster beyond doubt");
    } else {
        line("tuned", &format!("{}: {}", outcome.tuned.run.build, outcome.tuned));
    }
    if let Some(together) = &outcome.together {
        for (name, value) in compared(together) {
            line(name, &value);
        }
    }
    for note in notes(outcome) {
        line("note", &note);
    }
    text.truncate(text.trim_end().len());
    text
}

/// One choice in one line, as it is decided.
pub fn tried(tried: &Tried) -> String {
    let phases = [("prompt", &tried.speed.prompt), ("generation", &tried.speed.generation)];
    let speeds: Vec<String> =
        phases.into_iter().filter_map(|(name, ratio)| Some(format!("{name} {}", times(ratio.as_ref()?)))).collect();
    let speeds = if speeds.is_empty() { String::new() } else { format!(", {}", speeds.join(", ")) };
    format!("{} {}: {}{speeds}", tried.knob, tried.choice, verdict(&tried.verdict))
}

fn row(tried: &Tried) -> Vec<String> {
    let ratio = |phase| tried.speed.of_phase(phase).map_or_else(|| "-".to_owned(), times);
    vec![
        tried.stage.clone(),
        tried.knob.clone(),
        tried.choice.clone(),
        ratio(Phase::Prompt),
        ratio(Phase::Generation),
        verdict(&tried.verdict),
    ]
}

/// What became of a choice, in words.
pub fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Kept => "kept".to_owned(),
        Verdict::Beaten => "faster, another choice was taken".to_owned(),
        Verdict::NotAgain => "no difference when measured again".to_owned(),
        Verdict::NotTogether => "faster by itself, not with the rest".to_owned(),
        Verdict::Harms => "costs the other phase too much".to_owned(),
        Verdict::Slower => "slower".to_owned(),
        Verdict::NoDifference => "no difference".to_owned(),
        Verdict::Undecided => "the time ran out".to_owned(),
        Verdict::Fails(why) => format!("does not run: {}", why.lines().next().unwrap_or_default()),
    }
}

fn goal(outcome: &Outcome) -> String {
    let request = match outcome.goal {
        Goal::Balanced => {
            format!(" ({} tokens in, {} tokens out)", outcome.request.prompt, outcome.request.answer)
        }
        _ => String::new(),
    };
    let sizes = outcome.sizes;
    format!("{}{request}; measured with PP-{} and TG-{}", outcome.goal, sizes.prompt, sizes.generation)
}

fn compared(together: &Together) -> Vec<(&'static str, String)> {
    let Together { speed, baseline, tuned, held } = together;
    let phase = |ratio: &Option<crate::ratio::Ratio>, from: f64, to: f64| {
        let ratio = ratio.as_ref().map_or_else(|| "-".to_owned(), times);
        format!("{} -> {}, {ratio}", rate(from), rate(to))
    };
    let Speed { prompt, generation, request } = speed;
    let mut lines = vec![
        ("prompt", phase(prompt, baseline.prompt, tuned.prompt)),
        ("generate", phase(generation, baseline.generation, tuned.generation)),
        ("request", request.as_ref().map_or_else(|| "-".to_owned(), times)),
    ];
    if let (Some(before), Some(after)) = (baseline.peak_memory_bytes, tuned.peak_memory_bytes) {
        lines.push(("memory", format!("{} -> {}", mebibytes(before), mebibytes(after))));
    }
    if !held {
        lines.push(("together", "what was faster part by part is not, all together: the baseline stays".to_owned()));
    }
    lines
}

fn notes(outcome: &Outcome) -> Vec<String> {
    let mut notes = Vec::new();
    for drift in &outcome.drift {
        let phase = match drift.phase {
            Phase::Prompt => "prompts",
            Phase::Generation => "generation",
        };
        if (drift.speed - 1.0).abs() > DRIFT_SAID {
            notes.push(format!(
                "the machine drifted: the baseline's {phase} ran {:.2}x as fast at the end as at the beginning; ratios \
                 are within rounds and do not mind",
                drift.speed
            ));
        }
        if drift.spread > UNSTABLE_SPREAD {
            notes.push(format!(
                "the machine is noisy: the baseline's own {phase} varied by {}, so small differences stay unseen",
                percent(drift.spread)
            ));
        }
    }
    match outcome.stopped {
        Some(Stop::Budget) => notes.push("the time ran out: a longer `--budget` goes on from here".to_owned()),
        Some(Stop::Interrupted) => notes.push("interrupted: the same command goes on from here".to_owned()),
        None => {}
    }
    if !outcome.not_reached.is_empty() {
        notes.push(format!("not reached: {}", outcome.not_reached.join(", ")));
    }
    notes.extend(outcome.skipped.iter().map(|skipped| format!("{} is not tried: {}", skipped.knob, skipped.why)));
    notes
}

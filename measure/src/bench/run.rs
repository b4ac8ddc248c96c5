//! Runs a plan: one child after the other, nothing measured is lost.

use std::time::Duration;

use diagnostic::{Error, Result, codes};
use process::{Finished, interrupt};

use super::plan::{Build, Child, Plan};
use super::record::{self, Record};
use crate::bandwidth::{self, Bandwidth};
use crate::report::{Observed, Phase, Report, Run};

/// Longer than any sane single run; a hung child must not hang us for ever.
const CHILD_LIMIT: Duration = Duration::from_secs(2 * 60 * 60);
/// Prompt and generation.
const PHASES: usize = 2;

/// What happens while a plan runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// Read bandwidth has been measured.
    Bandwidth(&'a Bandwidth),
    /// A child process starts.
    Started {
        /// What it measures.
        child: &'a Child,
        /// The build's label.
        build: &'a str,
        /// How many children ended before it.
        done: usize,
        /// How many there are.
        total: usize,
    },
    /// A phase of the child that runs has been measured.
    Sample {
        /// The build's label.
        build: &'a str,
        /// Which phase.
        phase: Phase,
        /// With how many threads.
        threads: usize,
        /// The mean over the repetitions of this child.
        tokens_per_second: f64,
    },
}

/// Measures as planned and returns the report.
///
/// Ctrl-C ends the running child; when at least one sample exists the report of what was measured is returned with
/// [`Report::interrupted`] set, and the caller decides what that is worth (the process should still exit as interrupted).
///
/// # Errors
/// The plan makes no sense ([`Plan::check`]), bandwidth cannot be measured, llama-bench fails or prints something else
/// than its two results ([`codes::BENCH_FAILED`], with its last words), or [`codes::INTERRUPTED`] before the first sample.
pub fn run(plan: &Plan, mut on_event: impl FnMut(Event<'_>)) -> Result<Report> {
    plan.check()?;
    let mut observed = Observed::default();
    match observe(plan, &mut observed, &mut on_event) {
        Ok(()) => {}
        Err(error) if error.code() == codes::INTERRUPTED && !observed.runs.is_empty() => observed.interrupted = true,
        Err(error) => return Err(error),
    }
    Ok(Report::new(plan, observed))
}

fn observe(plan: &Plan, observed: &mut Observed, on_event: &mut impl FnMut(Event<'_>)) -> Result<()> {
    interrupt::check()?;
    if let Some(wanted) = &plan.bandwidth {
        on_event(Event::Bandwidth(observed.bandwidth.insert(bandwidth::measure(wanted)?)));
    }
    let children = plan.children();
    for (done, child) in children.iter().enumerate() {
        interrupt::check()?;
        let build = &plan.builds[child.build];
        on_event(Event::Started { child, build: &build.label, done, total: children.len() });
        observed.commands.push(plan.command_line(child));
        run_child(plan, child, observed, on_event)?;
    }
    Ok(())
}

fn run_child(plan: &Plan, child: &Child, observed: &mut Observed, on_event: &mut impl FnMut(Event<'_>)) -> Result<()> {
    let build = &plan.builds[child.build];
    let first = observed.runs.len();
    let mut unreadable = None;
    let finished = process::run_lines(&mut plan.command(child), CHILD_LIMIT, |line| {
        let got = record::parse(line).and_then(|record| match record {
            Some(record) => accept(plan, child, record, observed, first).map(Some),
            None => Ok(None),
        });
        match got {
            Ok(Some(phase)) => {
                let run = observed.runs.last().expect("accept has just added a run");
                let mean_ns = run.samples_ns.iter().map(|ns| *ns as f64).sum::<f64>() / run.samples_ns.len() as f64;
                let tokens_per_second = f64::from(run.tokens) * 1e9 / mean_ns;
                on_event(Event::Sample { build: &build.label, phase, threads: child.threads, tokens_per_second });
            }
            Ok(None) => {}
            Err(error) => {
                unreadable.get_or_insert(error);
            }
        }
    });
    let finished = finished.map_err(|error| match error.code() {
        code if code == codes::INTERRUPTED => error,
        _ => failed(build, &error.to_string()).source(error),
    })?;
    if !finished.status.success() {
        let why = format!("{}: {}", finished.ended_by(), last_words(&finished));
        return Err(failed(build, &why).hint(format!("run it by hand: {}", plan.command_line(child))));
    }
    if let Some(error) = unreadable {
        return Err(error.context(format!("measuring `{}`", build.label)));
    }
    let got = observed.runs.len() - first;
    if got != PHASES {
        let why = format!("it printed {got} of {PHASES} results; its last words: {}", last_words(&finished));
        return Err(failed(build, &why));
    }
    for run in &mut observed.runs[first..] {
        run.peak_memory_bytes = (finished.peak_rss_bytes > 0).then_some(finished.peak_rss_bytes);
    }
    Ok(())
}

/// Takes a result in when it is one that this child was asked for and has not given yet.
fn accept(plan: &Plan, child: &Child, record: Record, observed: &mut Observed, first: usize) -> Result<Phase> {
    let (phase, tokens) = match (record.n_prompt, record.n_gen) {
        (n, 0) if n == plan.n_prompt => (Phase::Prompt, n),
        (0, n) if n == plan.n_gen => (Phase::Generation, n),
        (n_prompt, n_gen) => return Err(unasked(&format!("a test of {n_prompt} + {n_gen} tokens"))),
    };
    if record.n_threads != child.threads {
        return Err(unasked(&format!("a test with {}", crate::text::threads(record.n_threads))));
    }
    if record.samples_ns.len() != plan.repetitions as usize {
        return Err(unasked(&format!("{} samples instead of {}", record.samples_ns.len(), plan.repetitions)));
    }
    if observed.runs[first..].iter().any(|run| run.phase == phase) {
        return Err(unasked("the same test twice"));
    }
    let build = plan.builds[child.build].label.clone();
    let samples_ns = record.samples_ns.clone();
    observed.records.entry(build.clone()).or_insert(record);
    observed.runs.push(Run {
        build,
        round: child.round,
        threads: child.threads,
        phase,
        tokens,
        samples_ns,
        peak_memory_bytes: None,
    });
    Ok(phase)
}

/// What it said before it failed; a result is no such thing.
fn last_words(finished: &Finished) -> &str {
    Some(finished.last_words()).filter(|words| !words.starts_with('{')).unwrap_or("it said nothing")
}

fn unasked(what: &str) -> Error {
    Error::new(codes::BENCH_FAILED, format!("llama-bench printed {what}, which it was not asked for"))
        .hint("extra arguments must not change prompts, generation, threads or repetitions")
}

fn failed(build: &Build, why: &str) -> Error {
    Error::new(codes::BENCH_FAILED, format!("llama-bench of `{}` failed: {why}", build.label))
}

//! Runs a plan: one child after the other, nothing measured is lost.

use diagnostic::{Result, codes};
use process::interrupt;

use super::plan::{Child, Plan};
use crate::bandwidth::{self, Bandwidth};
use crate::llama_bench::{Process, Test};
use crate::report::{Observed, Phase, Report, Run};

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
    let label = &plan.builds[child.build].label;
    let first = observed.runs.len();
    let test = |phase, tokens| Test { phase, tokens, depth: 0 };
    let process = Process {
        label,
        call: plan.call(child),
        tests: &[test(Phase::Prompt, plan.n_prompt), test(Phase::Generation, plan.n_gen)],
        threads: child.threads,
        repetitions: plan.repetitions,
    };
    let peak = process.run(|test, record| {
        let samples_ns = record.samples_ns.clone();
        let mean_ns = samples_ns.iter().map(|ns| *ns as f64).sum::<f64>() / samples_ns.len() as f64;
        let tokens_per_second = f64::from(test.tokens) * 1e9 / mean_ns;
        observed.records.entry(label.clone()).or_insert(record);
        observed.runs.push(Run {
            build: label.clone(),
            round: child.round,
            threads: child.threads,
            phase: test.phase,
            tokens: test.tokens,
            samples_ns,
            peak_memory_bytes: None,
        });
        on_event(Event::Sample { build: label, phase: test.phase, threads: child.threads, tokens_per_second });
    })?;
    for run in &mut observed.runs[first..] {
        run.peak_memory_bytes = peak;
    }
    Ok(())
}

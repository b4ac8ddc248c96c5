//! From raw runs to figures and comparisons.

use std::collections::{BTreeMap, BTreeSet};

use crate::bandwidth::bandwidth_share;
use crate::ratio;
use crate::report::{BuildReport, Comparison, Figure, Phase, Run};
use crate::stats::{Summary, median};
use crate::text::round;

/// A build's figures by threads, then phase. `ceiling` is the read bandwidth (GB/s) and the bytes per token.
pub(crate) fn of_build(label: &str, runs: &[Run], ceiling: Option<(f64, u64)>) -> Vec<Figure> {
    let mut groups: BTreeMap<(usize, Phase), Vec<&Run>> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.build == label) {
        groups.entry((run.threads, run.phase)).or_default().push(run);
    }
    groups.into_iter().filter_map(|((threads, phase), runs)| figure(threads, phase, &runs, ceiling)).collect()
}

fn figure(threads: usize, phase: Phase, runs: &[&Run], ceiling: Option<(f64, u64)>) -> Option<Figure> {
    let samples: Vec<f64> = runs.iter().flat_map(|run| in_seconds(run)).collect();
    let seconds = Summary::of(&samples)?;
    let tokens = runs.first()?.tokens;
    let tokens_per_second = round(f64::from(tokens) / seconds.median, 6);
    Some(Figure {
        threads,
        phase,
        tokens,
        tokens_per_second,
        unstable: seconds.unstable(),
        seconds,
        bandwidth_share: match (phase, ceiling) {
            (Phase::Generation, Some((gb_s, bytes))) => bandwidth_share(tokens_per_second, bytes, gb_s),
            _ => None,
        },
        peak_memory_bytes: runs.iter().filter_map(|run| run.peak_memory_bytes).max(),
    })
}

/// Every build after the first against the first, at every thread count and phase that both have.
pub(crate) fn against_first(builds: &[BuildReport], runs: &[Run]) -> Vec<Comparison> {
    let Some((first, others)) = builds.split_first() else { return Vec::new() };
    let settings: BTreeSet<(usize, Phase)> = runs.iter().map(|run| (run.threads, run.phase)).collect();
    let mut comparisons = Vec::new();
    for other in others {
        for &(threads, phase) in &settings {
            let (a, b) = (rounds(&first.label, threads, phase, runs), rounds(&other.label, threads, phase, runs));
            // Less time is more speed, so the baseline's time comes second.
            let pairs: Vec<(f64, f64)> = b.iter().filter_map(|(round, b)| Some((*b, *a.get(round)?))).collect();
            let Some(speed) = ratio::paired(&pairs) else { continue };
            comparisons.push(Comparison {
                build: other.label.clone(),
                baseline: first.label.clone(),
                threads,
                phase,
                speed,
            });
        }
    }
    comparisons
}

/// One time per round: the median of its repetitions, which share a process and are no independent evidence.
fn rounds(label: &str, threads: usize, phase: Phase, runs: &[Run]) -> BTreeMap<u32, f64> {
    runs.iter()
        .filter(|run| run.build == label && run.threads == threads && run.phase == phase)
        .filter_map(|run| Some((run.round, median(&in_seconds(run))?)))
        .collect()
}

fn in_seconds(run: &Run) -> Vec<f64> {
    run.samples_ns.iter().map(|ns| *ns as f64 / 1e9).collect()
}

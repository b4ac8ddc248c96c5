//! Whether a costlier build is worth keeping.
//!
//! Made for OpenBLAS, which is built beside the plain kernels and has to earn its place: it is there to make prompts
//! faster, and it must not make generation slower.

use serde::{Deserialize, Serialize};

use crate::ratio::Ratio;
use crate::report::{Phase, Report};
use crate::text;
use crate::winner::best;

/// How much of its generation speed a build may lose and still be kept.
pub const GENERATION_LOSS_ALLOWED: f64 = 0.02;

/// Fewer rounds decide nothing: with three, all of them must agree (75 % confidence); use five or more.
pub const MIN_ROUNDS: usize = 3;

/// What was decided, why, and the figures on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether to keep the candidate.
    pub keep: bool,
    /// One clause for people.
    pub reason: String,
    /// The build without it.
    pub baseline: Side,
    /// The build with it.
    pub candidate: Side,
    /// Speed of prompts, candidate over baseline.
    pub prompt: Option<Ratio>,
    /// Speed of generation, candidate over baseline.
    pub generation: Option<Ratio>,
}

/// One side's speeds, in tokens per second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// The build's label.
    pub label: String,
    /// Prompts.
    pub prompt: Option<f64>,
    /// Generation.
    pub generation: Option<f64>,
}

/// Decides between the report's first build and another one, `candidate`.
///
/// It is kept when prompts are faster beyond doubt (the whole confidence interval above 1), unless generation loses more
/// than [`GENERATION_LOSS_ALLOWED`]. Too few rounds, or a build that was not measured, is a no. Each phase is compared
/// at the thread count at which the baseline is best.
pub fn compare_two(report: &Report, candidate: &str) -> Verdict {
    let baseline = report.builds.first();
    let label = |label: Option<&str>| label.unwrap_or("nothing").to_owned();
    let threads = |phase| baseline.and_then(|build| best(build, phase)).map(|best| best.threads);
    let side = |name: Option<&str>| {
        let speed = |phase| {
            let figure = report.build(name?)?.figure(phase, threads(phase)?)?;
            Some(figure.tokens_per_second)
        };
        Side { label: label(name), prompt: speed(Phase::Prompt), generation: speed(Phase::Generation) }
    };
    let ratio = |phase| {
        let threads = threads(phase)?;
        let of_phase = |c: &&crate::Comparison| c.build == candidate && c.phase == phase && c.threads == threads;
        report.ratios.iter().find(of_phase).map(|comparison| comparison.speed.clone())
    };
    let (prompt, generation) = (ratio(Phase::Prompt), ratio(Phase::Generation));
    let (keep, reason) = match (&prompt, &generation) {
        (Some(prompt), Some(generation)) => decide(prompt, generation),
        _ => (false, "it was not measured in both phases".to_owned()),
    };
    Verdict {
        keep,
        reason,
        baseline: side(baseline.map(|build| build.label.as_str())),
        candidate: side(Some(candidate)),
        prompt,
        generation,
    }
}

/// The rule itself.
fn decide(prompt: &Ratio, generation: &Ratio) -> (bool, String) {
    let pairs = prompt.pairs.min(generation.pairs);
    if pairs < MIN_ROUNDS {
        return (false, format!("{} decide nothing, {MIN_ROUNDS} are needed", text::count_of(pairs, "round")));
    }
    let prompts = format!("prompts run {}", times(prompt));
    if prompt.low <= 1.0 {
        return (false, format!("{prompts}, not faster beyond doubt"));
    }
    let both = format!("{prompts}, generation {}", times(generation));
    if generation.estimate < 1.0 - GENERATION_LOSS_ALLOWED {
        return (false, format!("{both}: it loses more than {}", text::share(GENERATION_LOSS_ALLOWED)));
    }
    (true, both)
}

/// `1.15x (1.13 to 1.17)`; a single round has no interval.
pub(crate) fn times(ratio: &Ratio) -> String {
    if ratio.pairs == 1 {
        return format!("{:.2}x", ratio.estimate);
    }
    format!("{:.2}x ({:.2} to {:.2})", ratio.estimate, ratio.low, ratio.high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{report, rounds};

    fn ratio(low: f64, estimate: f64, high: f64, pairs: usize) -> Ratio {
        Ratio { estimate, low, high, confidence: 0.9375, pairs }
    }

    #[test]
    fn truth_table() {
        let table = [
            // prompt: low, estimate; generation: estimate; rounds -> keep
            (1.10, 1.20, 1.00, 5, true),
            (1.10, 1.20, 1.05, 5, true),
            (1.10, 1.20, 0.985, 5, true),
            (1.10, 1.20, 0.98, 5, true),
            (1.10, 1.20, 0.979, 5, false),
            (1.00, 1.20, 1.00, 5, false),
            (0.98, 1.05, 1.10, 5, false),
            (0.60, 0.67, 1.00, 5, false),
            (0.60, 0.67, 0.50, 5, false),
            (1.001, 1.01, 1.00, 3, true),
            (1.50, 2.00, 1.00, 2, false),
            (1.50, 2.00, 1.00, 1, false),
        ];
        for (low, estimate, generation, pairs, keep) in table {
            let generation = ratio(generation - 0.01, generation, generation + 0.01, pairs);
            let (got, reason) = decide(&ratio(low, estimate, estimate + 0.1, pairs), &generation);
            assert_eq!(got, keep, "{low} {estimate} {generation:?}: {reason}");
        }
    }

    #[test]
    fn reasons_hold_the_figures() {
        let reasons = [
            decide(&ratio(1.1, 1.2, 1.3, 5), &ratio(0.98, 1.0, 1.01, 5)),
            decide(&ratio(0.6, 0.67, 0.7, 5), &ratio(0.98, 1.0, 1.01, 5)),
            decide(&ratio(1.1, 1.2, 1.3, 5), &ratio(0.8, 0.84, 0.9, 5)),
            decide(&ratio(1.1, 1.2, 1.3, 2), &ratio(0.8, 0.84, 0.9, 2)),
        ]
        .map(|(_, reason)| reason);
        insta::assert_snapshot!(reasons.join("\n"), @r"
        prompts run 1.20x (1.10 to 1.30), generation 1.00x (0.98 to 1.01)
        prompts run 0.67x (0.60 to 0.70), not faster beyond doubt
        prompts run 1.20x (1.10 to 1.30), generation 0.84x (0.80 to 0.90): it loses more than 2 %
        2 rounds decide nothing, 3 are needed
        ");
    }

    #[test]
    fn from_a_report_at_the_baselines_best_threads() {
        let plain = rounds("plain", 2, &[1000, 1010, 990], &[500, 505, 495]);
        let blas = rounds("blas", 2, &[800, 810, 790], &[500, 506, 496]);
        let slow = [rounds("plain", 1, &[1900; 3], &[900; 3]), rounds("blas", 1, &[9000; 3], &[9000; 3])].concat();
        let report = report(&[plain, blas, slow].concat());
        let verdict = compare_two(&report, "blas");
        assert!(verdict.keep, "{}", verdict.reason);
        assert_eq!(verdict.prompt.unwrap().pairs, 3);
        assert_eq!((verdict.baseline.prompt, verdict.candidate.prompt), (Some(512.0), Some(640.0)));
        assert_eq!(verdict.baseline.label, "plain");
    }

    #[test]
    fn what_was_not_measured_is_not_kept() {
        let report = report(&rounds("plain", 2, &[1000; 3], &[500; 3]));
        let verdict = compare_two(&report, "blas");
        assert!(!verdict.keep);
        assert_eq!(verdict.candidate.prompt, None);
    }
}

//! The best thread counts of a build.

use serde::{Deserialize, Serialize};

use crate::report::{BuildReport, Figure, Phase, Report};
use crate::stats::NOISE_FLOOR;

/// The best thread count of each phase: llama.cpp takes them apart (`-t` for generation, `-tb` for prompts).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Winners {
    /// For generation.
    pub generation: Best,
    /// For prompts.
    pub prompt: Best,
}

/// A thread count and what it reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Threads.
    pub threads: usize,
    /// At the median time.
    pub tokens_per_second: f64,
}

/// The best median of each phase. Thread counts within [`NOISE_FLOOR`] of the best are tied with it, and the fewest
/// threads win: equal speed for less power, and cores left for others.
///
/// None for an unknown build, or one of which a phase has no sample. In an interrupted report these are the best of what
/// was measured, which may not have reached every thread count.
pub fn winner(report: &Report, build: &str) -> Option<Winners> {
    let build = report.build(build)?;
    Some(Winners { generation: best(build, Phase::Generation)?, prompt: best(build, Phase::Prompt)? })
}

pub(crate) fn best(build: &BuildReport, phase: Phase) -> Option<Best> {
    let of_phase = || build.figures.iter().filter(|figure| figure.phase == phase);
    let fastest = of_phase().map(|figure| figure.tokens_per_second).fold(0.0, f64::max);
    let tied = |figure: &&Figure| figure.tokens_per_second >= fastest * (1.0 - NOISE_FLOOR);
    of_phase()
        .filter(tied)
        .min_by_key(|figure| figure.threads)
        .map(|figure| Best { threads: figure.threads, tokens_per_second: figure.tokens_per_second })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::report;

    #[test]
    fn phases_are_won_apart() {
        // Milliseconds per prompt and per generation.
        let report = report(&[("a", 1, 400, 200), ("a", 2, 210, 150), ("a", 4, 120, 180)]);
        let winners = winner(&report, "a").unwrap();
        assert_eq!((winners.prompt.threads, winners.generation.threads), (4, 2));
        assert!((winners.generation.tokens_per_second - 128.0 / 0.150).abs() < 1e-3);
        assert_eq!(report.optimal_threads, Some(2));
        assert_eq!(report.builds[0].winners, Some(winners));
    }

    #[test]
    fn a_tie_within_noise_goes_to_fewer_threads() {
        let report = report(&[("a", 1, 1014, 1020), ("a", 2, 1000, 1000)]);
        let winners = winner(&report, "a").unwrap();
        assert_eq!(winners.prompt.threads, 1, "1.4 % is noise");
        assert_eq!(winners.generation.threads, 2, "2 % is not");
    }

    #[test]
    fn nothing_measured_has_no_winner() {
        let report = report(&[("a", 1, 10, 10)]);
        assert_eq!(winner(&report, "b"), None);
        let mut only_prompts = report.clone();
        only_prompts.builds[0].figures.retain(|figure| figure.phase == Phase::Prompt);
        assert_eq!(winner(&only_prompts, "a"), None);
    }
}

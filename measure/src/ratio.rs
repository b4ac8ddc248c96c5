//! How much faster one build is than another, and how sure we are.
//!
//! Builds run in turn, so the samples come in pairs: one of each build per round, minutes of drift (heat, neighbours on
//! the same host) common to both. The right question is therefore about the ratios *within* rounds. With three to ten
//! rounds a bootstrap resamples a handful of values and is far too narrow; the exact interval that belongs to
//! Wilcoxon's signed-rank test needs no distribution, only that noise hits both builds alike, which the alternating
//! order gives. Estimate: the Hodges-Lehmann median of all pairwise (Walsh) averages of the log ratios; interval: the
//! matching order statistics of those averages (Hollander, Wolfe and Chicken, "Nonparametric Statistical Methods",
//! 3rd ed., sections 3.2 and 3.3).
//!
//! Few rounds cannot give 95 %: three reach 75 %, four 87.5 %, five 93.75 %, six 96.9 %. The interval then spans all
//! rounds and says its true confidence, instead of claiming one it does not have.

use serde::{Deserialize, Serialize};

use crate::stats::median;
use crate::text::round;

/// The confidence that is aimed at; see [`Ratio::confidence`] for the one reached.
pub const TARGET_CONFIDENCE: f64 = 0.95;

/// A ratio with its confidence interval; `low <= estimate <= high`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Hodges-Lehmann estimate of the ratio.
    pub estimate: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// How often such an interval holds the true ratio, 0 to 1; zero for a single pair.
    pub confidence: f64,
    /// How many pairs it is made from.
    pub pairs: usize,
}

/// The ratio `second / first` over pairs of positive numbers; none without pairs, or when one is not positive and
/// finite.
pub fn paired(pairs: &[(f64, f64)]) -> Option<Ratio> {
    let usable = |x: f64| x.is_finite() && x > 0.0;
    if pairs.is_empty() || !pairs.iter().all(|(a, b)| usable(*a) && usable(*b)) {
        return None;
    }
    let logs: Vec<f64> = pairs.iter().map(|(a, b)| (b / a).ln()).collect();
    let mut walsh: Vec<f64> =
        logs.iter().enumerate().flat_map(|(i, x)| logs[i..].iter().map(move |y| (x + y) / 2.0)).collect();
    walsh.sort_by(f64::total_cmp);
    let (skip, confidence) = signed_rank_cut(logs.len());
    Some(Ratio {
        estimate: round(median(&walsh)?.exp(), 6),
        low: round(walsh[skip].exp(), 6),
        high: round(walsh[walsh.len() - 1 - skip].exp(), 6),
        confidence: round(confidence, 6),
        pairs: pairs.len(),
    })
}

/// How many Walsh averages to leave out at each end for at least [`TARGET_CONFIDENCE`], and the confidence that gives.
/// Where even leaving out none is not enough, none are left out.
fn signed_rank_cut(n: usize) -> (usize, f64) {
    // Under symmetry each rank 1..=n is positive with probability one half: the distribution of their sum, rank by rank.
    let most = n * (n + 1) / 2;
    let mut probability = vec![0.0_f64; most + 1];
    probability[0] = 1.0;
    for rank in 1..=n {
        for sum in (0..=most).rev() {
            let with_rank = if sum >= rank { probability[sum - rank] } else { 0.0 };
            probability[sum] = (probability[sum] + with_rank) / 2.0;
        }
    }
    let mut tail = probability[0];
    let mut cut = (0, 1.0 - 2.0 * tail);
    for (sum, p) in probability.iter().enumerate().skip(1) {
        tail += p;
        if 1.0 - 2.0 * tail < TARGET_CONFIDENCE {
            break;
        }
        cut = (sum, 1.0 - 2.0 * tail);
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn confidence_is_that_of_the_signed_rank_tables() {
        let reached: Vec<(usize, f64)> = (1..=8).map(signed_rank_cut).collect();
        // n = 6: only the extremes; n = 7: T <= 2 has 3 of 128 on each side; n = 8: T <= 3 has 5 of 256.
        assert_eq!(
            reached,
            [(0, 0.0), (0, 0.5), (0, 0.75), (0, 0.875), (0, 0.9375), (0, 0.96875), (2, 0.953125), (3, 0.9609375)]
        );
    }

    #[test]
    fn few_pairs_span_all_rounds() {
        let ratio = paired(&[(1.0, 1.1), (1.0, 1.2), (2.0, 2.6)]).unwrap();
        assert_eq!((ratio.low, ratio.high, ratio.confidence), (1.1, 1.3, 0.75));
        assert!((ratio.estimate - 1.2).abs() < 0.003, "{ratio:?}");
    }

    #[test]
    fn common_drift_cancels() {
        // Everything gets twice as slow over the run, the ratio stays.
        let ratio = paired(&[(1.0, 1.5), (1.3, 1.95), (1.7, 2.55), (2.0, 3.0)]).unwrap();
        assert_eq!((ratio.low, ratio.estimate, ratio.high), (1.5, 1.5, 1.5));
    }

    #[test]
    fn nonsense_has_no_ratio() {
        for bad in [&[][..], &[(0.0, 1.0)], &[(1.0, f64::NAN)], &[(1.0, 2.0), (1.0, -1.0)]] {
            assert_eq!(paired(bad), None, "{bad:?}");
        }
    }

    fn pairs() -> impl Strategy<Value = Vec<(f64, f64)>> {
        prop::collection::vec((0.01_f64..100.0, 0.01_f64..100.0), 1..15)
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_estimate(pairs in pairs()) {
            let r = paired(&pairs).unwrap();
            prop_assert!(r.low <= r.estimate && r.estimate <= r.high, "{:?}", r);
            prop_assert!((0.0..=1.0).contains(&r.confidence));
            prop_assert!(pairs.len() < 6 || r.confidence >= TARGET_CONFIDENCE);
        }

        #[test]
        fn order_of_rounds_does_not_matter(pairs in pairs()) {
            let mut reversed = pairs.clone();
            reversed.reverse();
            prop_assert_eq!(paired(&pairs), paired(&reversed));
        }

        #[test]
        fn swapping_the_builds_inverts_the_ratio(pairs in pairs()) {
            let swapped: Vec<_> = pairs.iter().map(|(a, b)| (*b, *a)).collect();
            let (r, s) = (paired(&pairs).unwrap(), paired(&swapped).unwrap());
            let close = |a: f64, b: f64| (a - 1.0 / b).abs() <= 2e-6 * (1.0 + a * a);
            prop_assert!(close(r.low, s.high) || r.low < 1e-3, "{:?} {:?}", r, s);
            prop_assert!(close(r.high, s.low) || s.low < 1e-3, "{:?} {:?}", r, s);
        }

        #[test]
        fn a_faster_machine_changes_nothing(pairs in pairs(), power in -3_i32..4) {
            let factor = 2.0_f64.powi(power);
            let scaled: Vec<_> = pairs.iter().map(|(a, b)| (a * factor, b * factor)).collect();
            prop_assert_eq!(paired(&pairs), paired(&scaled));
        }
    }
}

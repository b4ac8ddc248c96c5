//! Median, spread and outliers of a few timings.
//!
//! Timings on a shared machine have a floor and a long upper tail, and there are three to ten of them. So the centre is
//! the median, and the spread is the median absolute deviation (MAD), scaled by 1.4826 so that it reads as a standard
//! deviation where the noise is normal (Rousseeuw and Croux, "Alternatives to the Median Absolute Deviation", 1993).
//! The MAD does not see a lone bad sample; outliers are therefore counted, shown and kept, never dropped.

use serde::{Deserialize, Serialize};

use crate::text::round;

/// Two medians closer than this are the same: repeated llama-bench runs on a quiet machine differ by about 1.5 %.
pub const NOISE_FLOOR: f64 = 0.015;

/// A relative spread above this makes a figure unstable. It is about three noise floors: beyond it, the differences that
/// thread counts and builds usually show (5 to 10 %) drown.
pub const UNSTABLE_SPREAD: f64 = 0.05;

/// Makes the MAD of normal noise equal to its standard deviation: 1 / Phi^-1(3/4).
const MAD_TO_SIGMA: f64 = 1.4826;

/// An outlier is more than this many spreads off the median (and more than [`UNSTABLE_SPREAD`] of it).
const OUTLIER_SPREADS: f64 = 3.0;

/// What is said about a set of samples, in their unit (seconds everywhere in this crate).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many samples.
    pub samples: usize,
    /// The median.
    pub median: f64,
    /// The smallest sample.
    pub min: f64,
    /// The largest sample.
    pub max: f64,
    /// Scaled MAD over the median, 0.01 = 1 %; none for a single sample.
    pub spread: Option<f64>,
    /// Samples far off the median. They take part in every other figure here.
    pub outliers: usize,
}

impl Summary {
    /// Summarises samples; none when there are none, or when one is not a positive finite number.
    pub fn of(samples: &[f64]) -> Option<Summary> {
        if samples.iter().any(|x| !x.is_finite() || *x <= 0.0) {
            return None;
        }
        let median = median(samples)?;
        let deviations: Vec<f64> = samples.iter().map(|x| (x - median).abs()).collect();
        let sigma = MAD_TO_SIGMA * self::median(&deviations)?;
        let far = (OUTLIER_SPREADS * sigma).max(UNSTABLE_SPREAD * median);
        Some(Summary {
            samples: samples.len(),
            median: round(median, 9),
            min: round(samples.iter().copied().fold(f64::INFINITY, f64::min), 9),
            max: round(samples.iter().copied().fold(0.0, f64::max), 9),
            spread: (samples.len() > 1).then(|| round(sigma / median, 6)),
            outliers: deviations.iter().filter(|d| **d > far).count(),
        })
    }

    /// Whether the samples disagree too much to rely on: a spread above [`UNSTABLE_SPREAD`], or an outlier.
    pub fn unstable(&self) -> bool {
        self.outliers > 0 || self.spread.is_some_and(|spread| spread > UNSTABLE_SPREAD)
    }
}

/// The middle of the sorted values, or the mean of the two in the middle; none for no values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = sorted[sorted.len() / 2 - 1];
    Some(lower + (upper - lower) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_known_answer() {
        let summary = Summary::of(&[1.00, 1.02, 0.99, 1.01, 1.50]).unwrap();
        assert_eq!(summary.median, 1.01);
        assert_eq!((summary.min, summary.max), (0.99, 1.50));
        // Deviations .01 .01 .02 0 .49: MAD .01, scaled .014826, over 1.01.
        assert_eq!(summary.spread, Some(0.014679));
        assert_eq!(summary.outliers, 1);
        assert!(summary.unstable(), "a lone bad sample must show, though the MAD is small");
    }

    #[test]
    fn small_noise_is_stable_and_a_wide_spread_is_not() {
        assert!(!Summary::of(&[1.00, 1.01, 0.99]).unwrap().unstable());
        assert!(Summary::of(&[1.0, 1.1, 0.9]).unwrap().unstable());
        // Equal samples have no spread; a wobble below the threshold is then no outlier.
        assert_eq!(Summary::of(&[1.0, 1.0, 1.0, 1.04]).unwrap().outliers, 0);
    }

    #[test]
    fn one_sample_has_no_spread_and_nonsense_has_no_summary() {
        assert_eq!(Summary::of(&[2.0]).unwrap().spread, None);
        for bad in [&[][..], &[0.0], &[-1.0], &[f64::NAN, 1.0], &[f64::INFINITY]] {
            assert_eq!(Summary::of(bad), None, "{bad:?}");
        }
    }

    fn timings() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(0.001_f64..1000.0, 1..40)
    }

    proptest! {
        #[test]
        fn half_of_the_values_lie_on_each_side_of_the_median(values in timings()) {
            let m = median(&values).unwrap();
            let below = values.iter().filter(|x| **x < m).count();
            let above = values.iter().filter(|x| **x > m).count();
            prop_assert!(below <= values.len() / 2 && above <= values.len() / 2);
        }

        #[test]
        fn order_does_not_matter(values in timings(), seed in any::<u64>()) {
            let mut shuffled = values.clone();
            let len = shuffled.len() as u64;
            for i in 0..shuffled.len() {
                let j = seed.rotate_left(i as u32) % len;
                shuffled.swap(i, j as usize);
            }
            prop_assert_eq!(Summary::of(&values), Summary::of(&shuffled));
        }

        #[test]
        fn scaling_scales_the_median_and_keeps_the_spread(values in timings(), power in -3_i32..4) {
            // Powers of two are exact, so the only difference left is rounding for display.
            let factor = 2.0_f64.powi(power);
            let scaled: Vec<f64> = values.iter().map(|x| x * factor).collect();
            let (a, b) = (Summary::of(&values).unwrap(), Summary::of(&scaled).unwrap());
            prop_assert!((a.median * factor - b.median).abs() < 1e-8 * (1.0 + factor));
            prop_assert_eq!((a.spread, a.outliers), (b.spread, b.outliers));
        }

        #[test]
        fn the_median_lies_between_the_extremes(values in timings()) {
            let summary = Summary::of(&values).unwrap();
            prop_assert!(summary.min <= summary.median && summary.median <= summary.max);
            prop_assert!(summary.outliers <= values.len() / 2);
        }
    }
}

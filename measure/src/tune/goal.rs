//! What counts as better.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ratio::{self, Ratio};
use crate::report::Phase;
use crate::stats::NOISE_FLOOR;
use crate::verdict::GENERATION_LOSS_ALLOWED;

/// How much of a phase's speed a setting may cost when nobody has weighed the phases.
pub const LOSS_ALLOWED: f64 = GENERATION_LOSS_ALLOWED;

/// What to make faster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Either phase, and neither at a cost of more than [`LOSS_ALLOWED`] to the other.
    #[default]
    NoHarm,
    /// Prompts, whatever generation loses.
    Prompt,
    /// Generation, whatever prompts lose.
    Generation,
    /// The time of a whole request: a prompt and its answer, of as many tokens as are measured.
    Balanced,
}

/// The weighting that [`Goal::Balanced`] uses: tokens of the request whose time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Tokens of its prompt.
    pub prompt: u32,
    /// Tokens of its answer.
    pub answer: u32,
}

/// The usual request: llama-bench's own default sizes.
impl Default for Request {
    fn default() -> Request {
        Request { prompt: 512, answer: 128 }
    }
}

/// What rounds say about a candidate: it against what is kept so far, in speed (above 1 is faster).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Prompts, if the candidate can change them.
    pub prompt: Option<Ratio>,
    /// Generation, if the candidate can change it.
    pub generation: Option<Ratio>,
    /// A whole [`Request`].
    pub request: Option<Ratio>,
}

/// What is concluded from a [`Speed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// Faster beyond doubt, and by more than noise.
    Faster,
    /// It would be, but it costs the other phase more than is allowed.
    Harms,
    /// Slower beyond doubt.
    Slower,
    /// Nothing of the sort: as good as the same, as far as was measured.
    NoDifference,
}

/// Seconds per token of both sides in one round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pair {
    pub(crate) candidate: f64,
    pub(crate) incumbent: f64,
}

impl Speed {
    /// From the rounds that both sides have. `None` in a phase means that the candidate is the incumbent there; the
    /// request then takes the incumbent's time on both sides, which it needs in `idle`.
    pub(crate) fn of(prompt: &[Pair], generation: &[Pair], idle: [&[f64]; 2], request: Request) -> Speed {
        let alone =
            |pairs: &[Pair]| ratio::paired(&pairs.iter().map(|p| (p.candidate, p.incumbent)).collect::<Vec<_>>());
        let either = |pairs: &[Pair], idle: &[f64]| -> Vec<Pair> {
            if pairs.is_empty() {
                idle.iter().map(|&s| Pair { candidate: s, incumbent: s }).collect()
            } else {
                pairs.to_vec()
            }
        };
        let (p, g) = (either(prompt, idle[0]), either(generation, idle[1]));
        let whole: Vec<(f64, f64)> = p
            .iter()
            .zip(&g)
            .map(|(p, g)| {
                let of = |p: f64, g: f64| p * f64::from(request.prompt) + g * f64::from(request.answer);
                (of(p.candidate, g.candidate), of(p.incumbent, g.incumbent))
            })
            .collect();
        Speed { prompt: alone(prompt), generation: alone(generation), request: ratio::paired(&whole) }
    }

    /// The ratio of a phase.
    pub fn of_phase(&self, phase: Phase) -> Option<&Ratio> {
        match phase {
            Phase::Prompt => self.prompt.as_ref(),
            Phase::Generation => self.generation.as_ref(),
        }
    }
}

impl Goal {
    /// The ratios of which one must be better.
    fn wanted(self, speed: &Speed) -> Vec<&Ratio> {
        match self {
            Goal::NoHarm => speed.prompt.iter().chain(&speed.generation).collect(),
            Goal::Prompt => speed.prompt.iter().collect(),
            Goal::Generation => speed.generation.iter().collect(),
            Goal::Balanced => speed.request.iter().collect(),
        }
    }

    /// What this goal makes of a candidate.
    pub fn judge(self, speed: &Speed) -> Judgement {
        let wanted = self.wanted(speed);
        if wanted.iter().any(|ratio| is_faster(ratio)) {
            let loses = |ratio: &&Ratio| ratio.estimate < 1.0 - LOSS_ALLOWED;
            return if self == Goal::NoHarm && wanted.iter().any(loses) { Judgement::Harms } else { Judgement::Faster };
        }
        let is_slower = |ratio: &&Ratio| ratio.high < 1.0 && ratio.estimate <= 1.0 - NOISE_FLOOR;
        if wanted.iter().any(is_slower) { Judgement::Slower } else { Judgement::NoDifference }
    }

    /// Whether more rounds could still make it [`Judgement::Faster`]. Before there are enough to judge, one good round is
    /// reason enough: on a shared machine a bad one may be somebody else's fault.
    pub(crate) fn is_hopeful(self, speed: &Speed) -> bool {
        self.wanted(speed).iter().any(|ratio| match ratio.pairs {
            0 | 1 => true,
            2..SEARCH_ROUNDS => ratio.high > 1.0 - LATER_DOUBT,
            _ => ratio.estimate >= 1.0 + NOISE_FLOOR,
        })
    }

    /// How good a candidate is; only to choose between those that are [`Judgement::Faster`].
    pub(crate) fn score(self, speed: &Speed) -> f64 {
        let estimate = |ratio: &Option<Ratio>| ratio.as_ref().map_or(1.0, |ratio| ratio.estimate);
        match self {
            Goal::Prompt => estimate(&speed.prompt),
            Goal::Generation => estimate(&speed.generation),
            Goal::NoHarm | Goal::Balanced => estimate(&speed.request),
        }
    }
}

/// Rounds that a candidate gets before anything is concluded from them.
pub(super) const SEARCH_ROUNDS: usize = 5;
/// A candidate is dropped after two rounds, or later, when it was this much slower in every one.
const LATER_DOUBT: f64 = 0.04;

/// The whole interval above 1, and the estimate above the noise floor.
fn is_faster(ratio: &Ratio) -> bool {
    ratio.pairs >= SEARCH_ROUNDS && ratio.low > 1.0 && ratio.estimate >= 1.0 + NOISE_FLOOR
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Goal::NoHarm => "either phase faster, neither more than 2 % slower",
            Goal::Prompt => "prompts faster, whatever generation loses",
            Goal::Generation => "generation faster, whatever prompts lose",
            Goal::Balanced => "less time for a request of a prompt and its answer",
        })
    }
}

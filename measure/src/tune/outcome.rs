//! What a search has found.

use serde::{Deserialize, Serialize};

use super::goal::{Goal, Judgement, Request, Speed};
use super::journal::Sizes;
use super::setup::Setup;
use super::space::Skipped;
use crate::report::Phase;

/// What a search has found, and everything it tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What was wanted.
    pub goal: Goal,
    /// The request whose time counts where the phases are weighed.
    pub request: Request,
    /// How many tokens were measured.
    pub sizes: Sizes,
    /// Why it stopped before everything was tried; none when everything was.
    pub stopped: Option<Stop>,
    /// What is run without tuning.
    pub baseline: Setup,
    /// What to run; the baseline when nothing is better.
    pub tuned: Setup,
    /// The tuned setup against the baseline, measured afterwards; none when they are the same.
    pub together: Option<Together>,
    /// Every choice that was tried.
    pub tried: Vec<Tried>,
    /// Knobs that the time did not reach.
    pub not_reached: Vec<String>,
    /// Knobs that are not tried here.
    pub skipped: Vec<Skipped>,
    /// How the baseline itself changed while we measured.
    pub drift: Vec<Drift>,
}

/// Why a search stopped early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The time ran out.
    Budget,
    /// We were told to stop.
    Interrupted,
}

/// One choice of a knob.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// The stage.
    pub stage: String,
    /// The knob.
    pub knob: String,
    /// The choice.
    pub choice: String,
    /// Against what was best until then; the rounds that decided, which are the second ones where there are any.
    pub speed: Speed,
    /// What is concluded.
    pub verdict: Verdict,
}

/// What became of a choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Faster, twice: kept.
    Kept,
    /// Faster, but another choice of the knob more so, or as much with fewer changes.
    Beaten,
    /// It looked faster once and not again.
    NotAgain,
    /// Faster, twice, but all that was kept is not faster together.
    NotTogether,
    /// Faster, at too high a cost to the other phase.
    Harms,
    /// Slower.
    Slower,
    /// No difference that is larger than noise.
    NoDifference,
    /// The time ran out before this could be said.
    Undecided,
    /// It does not run, and why.
    Fails(String),
}

impl From<Judgement> for Verdict {
    fn from(judgement: Judgement) -> Verdict {
        match judgement {
            Judgement::Faster => Verdict::Kept,
            Judgement::Harms => Verdict::Harms,
            Judgement::Slower => Verdict::Slower,
            Judgement::NoDifference => Verdict::NoDifference,
        }
    }
}

/// The tuned setup against the baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Together {
    /// How much faster.
    pub speed: Speed,
    /// Median rates of the baseline.
    pub baseline: Rates,
    /// Median rates of the tuned setup.
    pub tuned: Rates,
    /// Whether it held: otherwise the baseline stays.
    pub held: bool,
}

/// Tokens per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Of prompts.
    pub prompt: f64,
    /// Of generation.
    pub generation: f64,
    /// The largest resident set.
    pub peak_memory_bytes: Option<u64>,
}

/// The baseline at the end against the baseline at the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// In which phase.
    pub phase: Phase,
    /// Speed at the end over speed at the beginning.
    pub speed: f64,
    /// How far its samples lie apart, all of them: the scaled MAD over the median.
    pub spread: f64,
}

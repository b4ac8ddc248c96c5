//! Every round that was measured, so that nothing is measured twice and nothing is lost.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::goal::Goal;
use super::setup::Launch;
use crate::llama_bench::Test;

/// Version of [`Journal`]'s JSON; higher when a key changes its meaning or goes.
pub const SCHEMA_VERSION: u32 = 2;

/// The rounds measured on one machine with one model.
///
/// A search that is run again asks it first: what was interrupted goes on where it stopped, and a search for another
/// goal takes what it shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What was measured, as the caller describes it: machine, model. Rounds of another subject are worth nothing.
    pub subject: Value,
    /// How many tokens are measured.
    pub sizes: Option<Sizes>,
    /// The time that each search took; rounds that one takes from another cost it nothing.
    #[serde(default)]
    pub spent: Vec<Spent>,
    /// The median time of a process, in seconds; zero until one has run.
    pub seconds_per_process: f64,
    /// In the order in which they were measured.
    pub rounds: Vec<Round>,
}

/// The time of one search: of a goal among some builds. With another build there is something new to measure, and the
/// whole budget for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// What was searched for.
    pub goal: Goal,
    /// [`Space::builds`](super::Space::builds).
    pub builds: Vec<String>,
    /// In seconds.
    pub seconds: f64,
    /// The budget that ran out, in seconds: with no more time, nothing more is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exhausted: Option<u64>,
}

/// Tokens per sample, small enough for the time there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Of a prompt.
    pub prompt: u32,
    /// Of a generation.
    pub generation: u32,
}

/// Everything of one round: what is compared was measured within minutes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// The stage's name.
    pub stage: String,
    /// Why it was measured.
    pub part: Part,
    /// Counts from zero within the part.
    pub number: u32,
    /// In the order in which they were measured.
    pub samples: Vec<Sample>,
    /// What did not run, and why.
    pub failures: Vec<Failure>,
}

/// Why a round is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// To see which choices are faster.
    Search,
    /// To see whether those are faster again. Of many choices that do nothing some look faster by chance; not twice.
    Again,
    /// All that is kept, together, against the baseline.
    Together,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// What ran.
    pub launch: Launch,
    /// What was measured.
    pub test: Test,
    /// Time per token.
    pub seconds_per_token: f64,
    /// The process's largest resident set.
    pub peak_memory_bytes: Option<u64>,
}

/// What did not run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What it was.
    pub launch: Launch,
    /// What it said.
    pub why: String,
}

impl Journal {
    /// Nothing measured yet.
    pub fn new(subject: Value) -> Journal {
        Journal {
            schema_version: SCHEMA_VERSION,
            subject,
            sizes: None,
            spent: Vec::new(),
            seconds_per_process: 0.0,
            rounds: Vec::new(),
        }
    }

    /// What a search took until now, if it ever began.
    pub fn spent(&self, goal: Goal, builds: &[String]) -> Option<&Spent> {
        self.spent.iter().find(|spent| spent.goal == goal && spent.builds == builds)
    }

    pub(crate) fn spent_mut(&mut self, goal: Goal, builds: &[String]) -> &mut Spent {
        let known = self.spent.iter().position(|spent| spent.goal == goal && spent.builds == builds);
        let index = known.unwrap_or_else(|| {
            self.spent.push(Spent { goal, builds: builds.to_vec(), seconds: 0.0, exhausted: None });
            self.spent.len() - 1
        });
        &mut self.spent[index]
    }

    /// A round that holds all of this.
    pub(crate) fn find(&self, stage: &str, part: Part, number: u32, wanted: &[(Launch, Vec<Test>)]) -> Option<&Round> {
        self.rounds.iter().find(|round| {
            (round.stage.as_str(), round.part, round.number) == (stage, part, number)
                && wanted.iter().all(|(launch, tests)| {
                    round.failure(launch).is_some() || tests.iter().all(|test| round.seconds(launch, *test).is_some())
                })
        })
    }
}

impl Round {
    /// Seconds per token, if this was measured.
    pub fn seconds(&self, launch: &Launch, test: Test) -> Option<f64> {
        self.samples.iter().find(|s| s.test == test && &s.launch == launch).map(|s| s.seconds_per_token)
    }

    /// Why it did not run.
    pub fn failure(&self, launch: &Launch) -> Option<&str> {
        self.failures.iter().find(|failure| &failure.launch == launch).map(|failure| failure.why.as_str())
    }
}

//! What may be tried: knobs, their choices, and the stages in which they are tried.

use serde::{Deserialize, Serialize};

use super::setup::{Change, Setup};
use crate::report::Phase;

/// Everything that a search may try.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Space {
    /// What is run without tuning; everything is compared with it in the end.
    pub baseline: Setup,
    /// In the order in which they are tried: what promises most first, since the time may run out.
    pub stages: Vec<Stage>,
    /// Knobs that are not tried here, and why.
    pub skipped: Vec<Skipped>,
}

/// Knobs that are tried at the same time, each by itself against the best setup so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name, such as `threads`.
    pub name: String,
    /// Its knobs.
    pub knobs: Vec<Knob>,
}

/// One thing that can be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Knob {
    /// llama.cpp's name for it where it has one, such as `ubatch-size`.
    pub name: String,
    /// The phases that it can change; the others are not measured.
    pub phases: Vec<Phase>,
    /// The builds that have it; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub builds: Vec<String>,
    /// Tokens in the KV cache when it is measured.
    pub depth: u32,
    /// What it may be set to, besides what it is.
    pub choices: Vec<Choice>,
}

/// One value of a knob.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// What people call it, such as `256`.
    pub label: String,
    /// What it does.
    pub change: Change,
}

/// A knob that is not tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its name.
    pub knob: String,
    /// Why.
    pub why: String,
}

impl Space {
    /// Every build that may be chosen, the baseline's first.
    pub fn builds(&self) -> Vec<String> {
        let choices = self.stages.iter().flat_map(|stage| &stage.knobs).flat_map(|knob| &knob.choices);
        let others = choices.filter_map(|choice| choice.change.build.as_ref()).map(|(name, _)| name);
        let mut builds = vec![self.baseline.run.build.clone()];
        for build in others {
            if !builds.contains(build) {
                builds.push(build.clone());
            }
        }
        builds
    }
}

impl Knob {
    /// A knob of both phases, measured after an empty prompt.
    pub fn of_both(name: &str, choices: Vec<Choice>) -> Knob {
        Knob { phases: vec![Phase::Prompt, Phase::Generation], ..Knob::of(Phase::Prompt, name, choices) }
    }

    /// A knob that changes one phase only.
    pub fn of(phase: Phase, name: &str, choices: Vec<Choice>) -> Knob {
        Knob { name: name.to_owned(), phases: vec![phase], builds: Vec::new(), depth: 0, choices }
    }
}

impl Choice {
    /// A choice.
    pub fn new(label: impl Into<String>, change: Change) -> Choice {
        Choice { label: label.into(), change }
    }
}

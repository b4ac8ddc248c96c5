//! From what a search has found to `tuning.json`, and back to how a build is run.

use std::num::NonZeroU32;

use build_info::{BuildId, ClassTuning, Figure, HostFingerprint, ModelClass, PhaseTuning, Search, Trial};
use diagnostic::{Error, Result, codes};
use measure::bench;
use measure::tune::{Goal, Journal, Outcome, Part, Setup};
use measure::{Phase, Test};
use serde::Deserialize;
use store::Store;

use crate::models::Model;

/// A search as it lies in the store: what was measured, and what came of it once it ended.
#[derive(Debug, Deserialize)]
pub(crate) struct Kept {
    pub(crate) journal: Journal,
    #[serde(default)]
    pub(crate) outcome: Option<Outcome>,
}

/// What the last search on this host found for a class of model, if it is known and can be read.
pub(crate) fn found(store: &Store, host: &HostFingerprint, class: &ModelClass) -> Option<Outcome> {
    let text = std::fs::read(store.search_path(host, class)).ok()?;
    serde_json::from_slice::<Kept>(&text).ok()?.outcome
}

/// What is kept of a search, and of which build; `None` when not both phases were measured.
pub(crate) fn of(outcome: &Outcome, journal: &Journal, model: &Model) -> Option<(BuildId, ClassTuning)> {
    let together = outcome.together.as_ref()?;
    let baseline = outcome.baseline.run.build.parse().ok()?;
    let (tuned, rates) =
        if together.held { (&outcome.tuned, &together.tuned) } else { (&outcome.baseline, &together.baseline) };
    let ratio = |ratio: &Option<measure::ratio::Ratio>| {
        if together.held { ratio.as_ref().map(|ratio| ratio.estimate) } else { Some(1.0) }
    };
    let phase = |phase, rate, base| phase_of(outcome, journal, tuned, phase, rate, base);
    let tuning = ClassTuning {
        date: build_info::now(),
        unstable: false,
        generation: phase(Phase::Generation, rates.generation, together.baseline.generation)?,
        prompt: phase(Phase::Prompt, rates.prompt, together.baseline.prompt)?,
        settings: tuned.run.options.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect(),
        environment: tuned.run.environment.clone(),
        bytes_per_token: model.bytes_per_token(outcome.sizes.generation),
        search: Some(Search {
            goal: name(outcome.goal).to_owned(),
            baseline,
            prompt_ratio: ratio(&together.speed.prompt)?,
            generation_ratio: ratio(&together.speed.generation)?,
            complete: outcome.stopped.is_none(),
            extra: Default::default(),
        }),
        extra: Default::default(),
    };
    Some((tuned.run.build.parse().ok()?, tuning))
}

fn phase_of(
    outcome: &Outcome,
    journal: &Journal,
    tuned: &Setup,
    phase: Phase,
    rate: f64,
    base: f64,
) -> Option<PhaseTuning> {
    let tokens = match phase {
        Phase::Prompt => outcome.sizes.prompt,
        Phase::Generation => outcome.sizes.generation,
    };
    let count = |threads: usize| u32::try_from(threads).ok().and_then(NonZeroU32::new);
    let launch = tuned.launch(phase);
    let test = Test { phase, tokens, depth: 0 };
    let rounds = journal.rounds.iter().filter(|round| round.part == Part::Together);
    let samples = rounds.filter_map(|round| round.seconds(&launch, test)).map(|seconds| 1.0 / seconds).collect();
    let threads = count(launch.threads)?;
    Some(PhaseTuning {
        threads,
        tokens_per_second: rate,
        tokens: NonZeroU32::new(tokens)?,
        baseline: Figure {
            threads: count(outcome.baseline.launch(phase).threads)?,
            tokens_per_second: base,
            extra: Default::default(),
        },
        trials: vec![Trial { threads, samples, extra: Default::default() }],
        extra: Default::default(),
    })
}

/// A goal as `--goal` takes it and `tuning.json` holds it.
pub(crate) fn name(goal: Goal) -> &'static str {
    match goal {
        Goal::NoHarm => "no-harm",
        Goal::Prompt => "prompt",
        Goal::Generation => "generation",
        Goal::Balanced => "balanced",
    }
}

/// The tuning of a build for a class of model on this host.
///
/// # Errors
/// [`codes::NOT_TUNED`]: there is none.
pub(crate) fn find(store: &Store, host: &HostFingerprint, id: &BuildId, class: &ModelClass) -> Result<ClassTuning> {
    let tuning = store.tuning(host, id)?.and_then(|mut tuning| tuning.classes.remove(class));
    tuning.ok_or_else(|| {
        Error::new(codes::NOT_TUNED, format!("`{id}` is not tuned for {class} on this machine"))
            .hint("`cargo xtask tune` searches for the best settings; if it found another build to be faster, `--builds all` has it")
    })
}

/// A build as its tuning has it run.
pub(crate) fn side(build: &bench::Build, tuning: &ClassTuning) -> bench::Build {
    let mut side = build.clone();
    side.label = format!("{} tuned", build.label);
    side.environment.extend(tuning.environment.clone());
    side.args.extend(options(tuning).flat_map(|(name, value)| [name, value]));
    side
}

/// Everything besides threads that a tuning sets, on one line; empty when it sets nothing else.
pub(crate) fn settings(tuning: &ClassTuning) -> String {
    let variables = tuning.environment.iter().map(|(name, value)| format!("{name}={value}"));
    let options = options(tuning).map(|(name, value)| format!("{name} {value}"));
    variables.chain(options).collect::<Vec<_>>().join(" ")
}

/// The options of llama-bench that a tuning sets, with their values.
fn options(tuning: &ClassTuning) -> impl Iterator<Item = (String, String)> {
    tuning.options().map(|(name, value)| (format!("--{name}"), value))
}

//! The search itself: it decides what to measure next and what the figures mean, and knows no process and no clock of
//! its own, so that tests can give it a machine that they know.
//!
//! Per stage: all choices and the best setup so far are measured in turn, every other round in reverse order. A choice
//! that cannot win is dropped after a round or two; one that looks faster after five rounds is measured again, and only
//! kept when the new rounds alone say so too. In the end everything that was kept is measured together against the
//! baseline.

use std::collections::BTreeMap;
use std::time::Duration;

use diagnostic::{Result, codes};

use super::goal::{Goal, Judgement, Pair, Request, Speed};
use super::journal::{Failure, Journal, Part, Round, Sample, Sizes};
use super::outcome::{Drift, Outcome, Rates, Stop, Together, Tried, Verdict};
use super::setup::{Launch, Setup};
use super::space::{Knob, Space, Stage};
use crate::llama_bench::Test;
use crate::report::Phase;
use crate::stats::{Summary, median};

/// Rounds that a candidate gets while it is undecided.
const MOST_ROUNDS: u32 = 9;
/// Rounds that a candidate gets at least when it is measured again: enough for its interval to be one of 98 %.
const AGAIN_ROUNDS: usize = 7;
/// Rounds of the last comparison.
const TOGETHER_ROUNDS: u32 = 5;
/// The name under which the last comparison stands in the journal.
const TOGETHER: &str = "together";
/// Choices that differ by less, and not beyond doubt, count as equally fast.
const ALIKE: f64 = 0.03;
const PHASES: [Phase; 2] = [Phase::Prompt, Phase::Generation];
/// The median of this many samples at both ends tells drift.
const DRIFT_SAMPLES: usize = 5;

/// Whatever can measure.
pub trait Sampler {
    /// Runs a process and measures these tests.
    ///
    /// # Errors
    /// [`codes::BENCH_FAILED`] when this launch does not run; anything else ends the search.
    fn sample(&mut self, launch: &Launch, tests: &[Test]) -> Result<Vec<Sample>>;

    /// Time since the search began.
    fn elapsed(&self) -> Duration;
}

/// What is wanted of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wish {
    /// What to make faster.
    pub goal: Goal,
    /// The weighting of the phases.
    pub request: Request,
    /// How long it may take, with what was spent on the goal before; the last comparison is kept in mind.
    pub budget: Duration,
}

/// What happens while it searches.
#[derive(Debug)]
pub enum Event<'a> {
    /// A stage begins.
    Stage {
        /// Its name.
        name: &'a str,
        /// How many choices it tries.
        choices: usize,
    },
    /// A round ended; the journal holds it. Save it now.
    Round(&'a Journal),
    /// Something became of a choice.
    Tried(&'a Tried),
}

/// Searches.
///
/// # Errors
/// The baseline, or what was best until then, does not run; or what `on_event` returns.
pub fn search(
    space: &Space,
    wish: &Wish,
    sizes: Sizes,
    journal: &mut Journal,
    sampler: &mut dyn Sampler,
    on_event: &mut dyn FnMut(Event<'_>) -> Result<()>,
) -> Result<Outcome> {
    let builds = space.builds();
    let before = spent_before(journal, wish.goal, &builds);
    let mut search = Search {
        wish,
        sizes,
        journal,
        sampler,
        on_event,
        builds,
        before,
        seen: Vec::new(),
        times: Vec::new(),
        baseline: &space.baseline,
    };
    let mut incumbent = space.baseline.clone();
    let mut outcome = Outcome {
        goal: wish.goal,
        request: wish.request,
        sizes,
        stopped: None,
        baseline: space.baseline.clone(),
        tuned: space.baseline.clone(),
        together: None,
        tried: Vec::new(),
        not_reached: Vec::new(),
        skipped: space.skipped.clone(),
        drift: Vec::new(),
    };
    for stage in &space.stages {
        if outcome.stopped.is_some() {
            outcome.not_reached.extend(stage.knobs.iter().map(|knob| knob.name.clone()));
            continue;
        }
        let found = search.stage(stage, &incumbent)?;
        for (change, tried) in &found.tried {
            if tried.verdict == Verdict::Kept {
                incumbent = incumbent.with(change);
            }
        }
        outcome.tried.extend(found.tried.into_iter().map(|(_, tried)| tried));
        outcome.stopped = found.stopped;
    }
    if outcome.stopped != Some(Stop::Interrupted) && incumbent != space.baseline {
        match search.together(&incumbent)? {
            Ok(together) => {
                if together.held {
                    outcome.tuned = incumbent;
                } else {
                    for tried in outcome.tried.iter_mut().filter(|tried| tried.verdict == Verdict::Kept) {
                        tried.verdict = Verdict::NotTogether;
                    }
                }
                outcome.together = Some(together);
            }
            Err(stop) => outcome.stopped = Some(stop),
        }
    }
    outcome.drift = search.drift();
    Ok(outcome)
}

/// The time that the same search, among [`Space::builds`], took before.
pub fn spent_before(journal: &Journal, goal: Goal, builds: &[String]) -> Duration {
    journal.spent(goal, builds).and_then(|spent| Duration::try_from_secs_f64(spent.seconds).ok()).unwrap_or_default()
}

struct Search<'a> {
    wish: &'a Wish,
    sizes: Sizes,
    journal: &'a mut Journal,
    sampler: &'a mut dyn Sampler,
    on_event: &'a mut dyn FnMut(Event<'_>) -> Result<()>,
    /// [`Space::builds`].
    builds: Vec<String>,
    /// The time that this search took before.
    before: Duration,
    /// The rounds that this search has looked at, from the journal or new, in its order. What else the journal holds must
    /// change nothing, or the same search would end differently the second time.
    seen: Vec<Round>,
    /// Seconds of each process of this search.
    times: Vec<f64>,
    baseline: &'a Setup,
}

/// A choice while it is tried.
struct Candidate<'a> {
    knob: &'a Knob,
    choice: &'a super::space::Choice,
    setup: Setup,
    phases: Vec<Phase>,
    rounds: Vec<Round>,
    state: State,
}

#[derive(Clone, PartialEq)]
enum State {
    /// It needs more rounds.
    Open,
    Decided(Verdict),
}

/// What a stage has found.
struct Found {
    tried: Vec<(super::setup::Change, Tried)>,
    stopped: Option<Stop>,
}

impl<'a> Search<'a> {
    fn stage(&mut self, stage: &'a Stage, incumbent: &Setup) -> Result<Found> {
        let has = |knob: &&Knob| knob.builds.is_empty() || knob.builds.contains(&incumbent.run.build);
        let mut candidates: Vec<Candidate<'a>> = stage
            .knobs
            .iter()
            .filter(has)
            .flat_map(|knob| knob.choices.iter().map(move |choice| (knob, choice)))
            .map(|(knob, choice)| Candidate {
                knob,
                choice,
                setup: incumbent.with(&choice.change),
                phases: self.wanted_phases(knob),
                rounds: Vec::new(),
                state: State::Open,
            })
            .filter(|candidate| !candidate.phases.is_empty() && candidate.setup != *incumbent)
            .collect();
        if candidates.is_empty() {
            return Ok(Found { tried: Vec::new(), stopped: None });
        }
        (self.on_event)(Event::Stage { name: &stage.name, choices: candidates.len() })?;
        let mut stopped = self.rounds(&stage.name, Part::Search, 0, incumbent, &mut candidates)?;
        for candidate in candidates.iter_mut().filter(|candidate| candidate.state == State::Open) {
            candidate.state = State::Decided(Verdict::Undecided);
        }
        let mut again: Vec<usize> = Vec::new();
        let mut first_round = 0;
        while stopped.is_none() {
            // The best of each knob; where that was chance, the next best.
            self.only_the_best(incumbent, &mut candidates, &again);
            let is_new = |(i, candidate): &(usize, &mut Candidate<'_>)| {
                candidate.state == State::Decided(Verdict::Kept) && !again.contains(i)
            };
            let new: Vec<(usize, &mut Candidate<'_>)> = candidates.iter_mut().enumerate().filter(is_new).collect();
            if new.is_empty() {
                break;
            }
            let mut opened = Vec::new();
            for (i, candidate) in new {
                opened.push(i);
                candidate.state = State::Open;
                candidate.rounds.clear();
            }
            again.extend(opened);
            stopped = self.rounds(&stage.name, Part::Again, first_round, incumbent, &mut candidates)?;
            first_round += MOST_ROUNDS;
        }
        let mut tried = Vec::new();
        for (i, candidate) in candidates.iter().enumerate() {
            let verdict = match &candidate.state {
                State::Open => Verdict::Undecided,
                // The time ran out before it was measured again.
                State::Decided(Verdict::Kept) if !again.contains(&i) => Verdict::Undecided,
                State::Decided(Verdict::NoDifference | Verdict::Slower) if again.contains(&i) => Verdict::NotAgain,
                State::Decided(verdict) => verdict.clone(),
            };
            let tried_now = Tried {
                stage: stage.name.clone(),
                knob: candidate.knob.name.clone(),
                choice: candidate.choice.label.clone(),
                speed: self.speed(candidate, incumbent),
                verdict,
            };
            (self.on_event)(Event::Tried(&tried_now))?;
            tried.push((candidate.choice.change.clone(), tried_now));
        }
        Ok(Found { tried, stopped })
    }

    /// Measures round after round until nothing is open; the first is number `first`.
    fn rounds(
        &mut self,
        stage: &str,
        part: Part,
        first: u32,
        incumbent: &Setup,
        candidates: &mut [Candidate<'_>],
    ) -> Result<Option<Stop>> {
        for number in first..first + MOST_ROUNDS {
            let open = || candidates.iter().filter(|candidate| candidate.state == State::Open);
            if open().next().is_none() {
                break;
            }
            let sides = open().flat_map(|candidate| {
                let both = [incumbent, &candidate.setup];
                both.map(|setup| (setup, candidate.phases.as_slice(), candidate.knob.depth))
            });
            let wanted = self.wanted(sides);
            let round = match self.round(stage, part, number, &wanted)? {
                Ok(round) => round,
                Err(stop) => return Ok(Some(stop)),
            };
            for candidate in candidates.iter_mut().filter(|candidate| candidate.state == State::Open) {
                let failed = candidate.phases.iter().find_map(|phase| round.failure(&candidate.setup.launch(*phase)));
                if let Some(why) = failed {
                    candidate.state = State::Decided(Verdict::Fails(why.to_owned()));
                    continue;
                }
                candidate.rounds.push(round.clone());
                candidate.state = self.state(candidate, incumbent, part);
            }
        }
        Ok(None)
    }

    fn state(&self, candidate: &Candidate<'_>, incumbent: &Setup, part: Part) -> State {
        let speed = self.speed(candidate, incumbent);
        let judgement = self.wish.goal.judge(&speed);
        let rounds = candidate.rounds.len();
        let last = rounds == MOST_ROUNDS as usize;
        let enough = part == Part::Search || rounds >= AGAIN_ROUNDS;
        if (judgement == Judgement::Faster && enough) || last || !self.wish.goal.is_hopeful(&speed) {
            return State::Decided(judgement.into());
        }
        State::Open
    }

    /// Of the choices of a knob that are faster, only one is kept: the one that was faster `again`, or else the best of
    /// those that were not measured again.
    fn only_the_best(&self, incumbent: &Setup, candidates: &mut [Candidate<'_>], again: &[usize]) {
        let mut faster: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (i, candidate) in candidates.iter().enumerate() {
            if matches!(candidate.state, State::Decided(Verdict::Kept | Verdict::Beaten)) {
                faster.entry(&candidate.knob.name).or_default().push(i);
            }
        }
        let faster: Vec<Vec<usize>> = faster.into_values().collect();
        for mut faster in faster {
            let confirmed = |&i: &usize| again.contains(&i) && candidates[i].state == State::Decided(Verdict::Kept);
            let one = faster.iter().copied().rfind(confirmed).or_else(|| {
                faster.retain(|i| !again.contains(i));
                self.best(incumbent, candidates, &faster)
            });
            for i in faster {
                let verdict = if Some(i) == one { Verdict::Kept } else { Verdict::Beaten };
                candidates[i].state = State::Decided(verdict);
            }
        }
    }

    /// The fastest, unless another that changes less is as fast: then that one, or which of many equal choices is kept would
    /// be chance.
    fn best(&self, incumbent: &Setup, candidates: &[Candidate<'_>], faster: &[usize]) -> Option<usize> {
        let score = |i: &usize| self.wish.goal.score(&self.speed(&candidates[*i], incumbent));
        let by_speed = |a: &usize, b: &usize| score(b).total_cmp(&score(a));
        let fastest = faster.iter().copied().min_by(by_speed)?;
        let best = &candidates[fastest];
        let changes = |i: &usize| candidates[*i].setup.differences(incumbent);
        let as_fast = |i: &usize| {
            let speed = self.speed_in(&best.rounds, &best.setup, &candidates[*i].setup, &best.phases, best.knob.depth);
            let goal = self.wish.goal;
            changes(i) < changes(&fastest)
                && goal.judge(&speed) != Judgement::Faster
                && goal.score(&speed) < 1.0 + ALIKE
        };
        let simplest = |a: &usize, b: &usize| changes(a).cmp(&changes(b)).then_with(|| by_speed(a, b));
        faster.iter().copied().filter(as_fast).min_by(simplest).or(Some(fastest))
    }

    /// The phases of a knob that the goal looks at.
    fn wanted_phases(&self, knob: &Knob) -> Vec<Phase> {
        let looks_at = |phase: &Phase| match self.wish.goal {
            Goal::Prompt => *phase == Phase::Prompt,
            Goal::Generation => *phase == Phase::Generation,
            Goal::NoHarm | Goal::Balanced => true,
        };
        knob.phases.iter().copied().filter(looks_at).collect()
    }

    fn test(&self, phase: Phase, depth: u32) -> Test {
        let tokens = match phase {
            Phase::Prompt => self.sizes.prompt,
            Phase::Generation => self.sizes.generation,
        };
        Test { phase, tokens, depth }
    }

    /// The processes of a round, each with all that is wanted of it, in the order in which they were asked for.
    fn wanted<'s>(&self, sides: impl Iterator<Item = (&'s Setup, &'s [Phase], u32)>) -> Vec<(Launch, Vec<Test>)> {
        let mut wanted: Vec<(Launch, Vec<Test>)> = Vec::new();
        for (setup, phases, depth) in sides {
            for &phase in phases {
                let (launch, test) = (setup.launch(phase), self.test(phase, depth));
                match wanted.iter_mut().find(|(known, _)| *known == launch) {
                    Some((_, tests)) if tests.contains(&test) => {}
                    Some((_, tests)) => tests.push(test),
                    None => wanted.push((launch, vec![test])),
                }
            }
        }
        wanted
    }

    /// Takes a round from the journal, or measures it. The first launch must run.
    fn round(
        &mut self,
        stage: &str,
        part: Part,
        number: u32,
        wanted: &[(Launch, Vec<Test>)],
    ) -> Result<Result<Round, Stop>> {
        if let Some(round) = self.journal.find(stage, part, number, wanted).cloned() {
            self.seen.push(round.clone());
            return Ok(Ok(round));
        }
        // The last comparison runs in any case: without it nothing of the rest would count.
        if part != Part::Together && !self.has_time_for(wanted.len()) {
            self.journal.spent_mut(self.wish.goal, &self.builds).exhausted = Some(self.wish.budget.as_secs());
            return Ok(Err(Stop::Budget));
        }
        let mut round = Round { stage: stage.to_owned(), part, number, samples: Vec::new(), failures: Vec::new() };
        let mut order: Vec<&(Launch, Vec<Test>)> = wanted.iter().collect();
        if number % 2 == 1 {
            order.reverse();
        }
        for (launch, tests) in order {
            let began = self.sampler.elapsed();
            let sampled = self.sampler.sample(launch, tests);
            self.times.push(self.sampler.elapsed().saturating_sub(began).as_secs_f64());
            match sampled {
                Ok(samples) => round.samples.extend(samples),
                Err(error) if error.code() == codes::INTERRUPTED => return Ok(Err(Stop::Interrupted)),
                Err(error) if error.code() == codes::BENCH_FAILED && *launch != wanted[0].0 => {
                    round.failures.push(Failure { launch: launch.clone(), why: error.to_string() });
                }
                Err(error) => return Err(error),
            }
        }
        let seconds = crate::text::round(self.spent().as_secs_f64(), 3);
        self.journal.spent_mut(self.wish.goal, &self.builds).seconds = seconds;
        self.journal.seconds_per_process = crate::text::round(median(&self.times).unwrap_or_default(), 6);
        self.journal.rounds.push(round.clone());
        self.seen.push(round.clone());
        (self.on_event)(Event::Round(self.journal))?;
        Ok(Ok(round))
    }

    /// The time that was spent on this search. What an earlier search spent counts, so that the same search, run again,
    /// does not go on for ever.
    fn spent(&self) -> Duration {
        self.before + self.sampler.elapsed()
    }

    /// Whether this many processes, and then the last comparison, fit into the time that is left.
    fn has_time_for(&self, processes: usize) -> bool {
        let known = self.journal.spent(self.wish.goal, &self.builds);
        if known.and_then(|known| known.exhausted).is_some_and(|budget| budget >= self.wish.budget.as_secs()) {
            return false;
        }
        let spent = self.spent();
        let each = Duration::try_from_secs_f64(self.journal.seconds_per_process).unwrap_or_default();
        let processes = u32::try_from(processes).unwrap_or(u32::MAX).saturating_add(TOGETHER_ROUNDS * 2);
        spent + each.saturating_mul(processes) <= self.wish.budget
    }

    fn speed(&self, candidate: &Candidate<'_>, incumbent: &Setup) -> Speed {
        self.speed_in(&candidate.rounds, &candidate.setup, incumbent, &candidate.phases, candidate.knob.depth)
    }

    fn speed_in(&self, rounds: &[Round], setup: &Setup, against: &Setup, phases: &[Phase], depth: u32) -> Speed {
        let pairs = |phase: Phase| -> Vec<Pair> {
            let test = self.test(phase, depth);
            let of = |round: &Round| {
                let candidate = round.seconds(&setup.launch(phase), test)?;
                Some(Pair { candidate, incumbent: round.seconds(&against.launch(phase), test)? })
            };
            if phases.contains(&phase) { rounds.iter().filter_map(of).collect() } else { Vec::new() }
        };
        let (prompt, generation) = (pairs(Phase::Prompt), pairs(Phase::Generation));
        // A phase that the candidate leaves alone takes the time that it was last seen to take.
        let idle = |phase| {
            let usual = self.usual(against, phase);
            vec![usual.unwrap_or(0.0); prompt.len().max(generation.len())]
        };
        let (idle_prompt, idle_generation) = (idle(Phase::Prompt), idle(Phase::Generation));
        Speed::of(&prompt, &generation, [&idle_prompt, &idle_generation], self.wish.request)
    }

    /// The median time per token of a setup over all that was measured of it, after an empty prompt.
    fn usual(&self, setup: &Setup, phase: Phase) -> Option<f64> {
        median(&self.all(setup, phase))
    }

    fn all(&self, setup: &Setup, phase: Phase) -> Vec<f64> {
        let (launch, test) = (setup.launch(phase), self.test(phase, 0));
        self.seen.iter().filter_map(|round| round.seconds(&launch, test)).collect()
    }

    /// Everything that was kept against the baseline.
    fn together(&mut self, tuned: &Setup) -> Result<Result<Together, Stop>> {
        (self.on_event)(Event::Stage { name: TOGETHER, choices: 1 })?;
        let baseline = self.baseline;
        let wanted = self.wanted([(baseline, &PHASES[..], 0), (tuned, &PHASES[..], 0)].into_iter());
        let mut rounds = Vec::new();
        for number in 0..TOGETHER_ROUNDS {
            match self.round(TOGETHER, Part::Together, number, &wanted)? {
                Ok(round) => rounds.push(round),
                Err(stop) => return Ok(Err(stop)),
            }
        }
        let speed = self.speed_in(&rounds, tuned, baseline, &PHASES, 0);
        let rates = |setup: &Setup| {
            let rate = |phase| {
                let test = self.test(phase, 0);
                let launch = setup.launch(phase);
                let seconds: Vec<f64> = rounds.iter().filter_map(|round| round.seconds(&launch, test)).collect();
                median(&seconds).map_or(0.0, |seconds| crate::text::round(1.0 / seconds, 6))
            };
            let samples = || rounds.iter().flat_map(|round| &round.samples);
            let mine = |sample: &&Sample| PHASES.iter().any(|phase| sample.launch == setup.launch(*phase));
            Rates {
                prompt: rate(Phase::Prompt),
                generation: rate(Phase::Generation),
                peak_memory_bytes: samples().filter(mine).filter_map(|sample| sample.peak_memory_bytes).max(),
            }
        };
        let held = match self.wish.goal.judge(&speed) {
            Judgement::Faster => true,
            Judgement::Slower | Judgement::Harms => false,
            // It was shown twice, part by part; noise may blur it here, but it must not have turned round.
            Judgement::NoDifference => self.wish.goal.score(&speed) > 1.0,
        };
        Ok(Ok(Together { baseline: rates(baseline), tuned: rates(tuned), speed, held }))
    }

    fn drift(&self) -> Vec<Drift> {
        let of = |phase| {
            let all = self.all(self.baseline, phase);
            if all.len() < 2 * DRIFT_SAMPLES {
                return None;
            }
            let (first, last) = (median(&all[..DRIFT_SAMPLES])?, median(&all[all.len() - DRIFT_SAMPLES..])?);
            let spread = Summary::of(&all)?.spread?;
            Some(Drift { phase, speed: crate::text::round(first / last, 4), spread })
        };
        PHASES.into_iter().filter_map(of).collect()
    }
}

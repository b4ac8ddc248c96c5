//! The search against machines that are known.

use std::collections::BTreeMap;
use std::time::Duration;

use diagnostic::{Error, Result, codes};
use measure::tune::{
    Change, Choice, Event, Goal, Journal, Knob, Launch, Outcome, Request, Run, Sample, Sampler, Setup, Sizes, Space,
    Stage, Stop, Verdict, Wish, render, search,
};
use measure::{Phase, Test};

/// A machine whose speeds are known, with noise as on a shared machine: each measurement is off by up to `noise`, and
/// the whole machine slows down by `drift` per measurement.
struct Machine {
    noise: f64,
    drift: f64,
    /// Seconds per token, by what is set.
    cost: fn(&Launch, Phase) -> f64,
    fails: fn(&Launch) -> bool,
    state: u64,
    measured: u32,
    interrupt_after: Option<u32>,
}

impl Machine {
    fn new(cost: fn(&Launch, Phase) -> f64) -> Machine {
        Machine { noise: 0.05, drift: 0.0, cost, fails: |_| false, state: 1, measured: 0, interrupt_after: None }
    }

    /// -1 to 1, the same in every run of a test (xorshift).
    fn random(&mut self) -> f64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state % 20_001) as f64 / 10_000.0 - 1.0
    }
}

impl Sampler for Machine {
    fn sample(&mut self, launch: &Launch, tests: &[Test]) -> Result<Vec<Sample>> {
        if self.interrupt_after == Some(self.measured) {
            return Err(Error::new(codes::INTERRUPTED, "interrupted"));
        }
        self.measured += 1;
        if (self.fails)(launch) {
            return Err(Error::new(codes::BENCH_FAILED, "llama-bench of `a` failed: no permission"));
        }
        let mut samples = Vec::new();
        for &test in tests {
            let factor = 1.0 + self.noise * self.random() + self.drift * f64::from(self.measured);
            let seconds_per_token = (self.cost)(launch, test.phase) * factor;
            samples.push(Sample { launch: launch.clone(), test, seconds_per_token, peak_memory_bytes: Some(1 << 30) });
        }
        Ok(samples)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(5) * self.measured
    }
}

fn space(stages: Vec<Stage>) -> Space {
    let run = Run {
        build: "a".to_owned(),
        llama_bench: "/opt/a/bin/llama-bench".into(),
        environment: BTreeMap::new(),
        options: BTreeMap::new(),
    };
    Space { baseline: Setup { run, threads: 4, threads_batch: 4 }, stages, skipped: Vec::new() }
}

fn stage(name: &str, knobs: Vec<Knob>) -> Stage {
    Stage { name: name.to_owned(), knobs }
}

fn option(name: &str, values: &[&str]) -> Vec<Choice> {
    values.iter().map(|value| Choice::new(*value, Change::option(name, value))).collect()
}

fn threads(counts: &[usize]) -> Vec<Knob> {
    let choices = |change: fn(usize) -> Change| counts.iter().map(|&n| Choice::new(n.to_string(), change(n))).collect();
    vec![
        Knob::of(Phase::Generation, "threads", choices(|n| Change { threads: Some(n), ..Change::default() })),
        Knob::of(Phase::Prompt, "threads-batch", choices(|n| Change { threads_batch: Some(n), ..Change::default() })),
    ]
}

const SIZES: Sizes = Sizes { prompt: 128, generation: 32 };

fn wish(goal: Goal) -> Wish {
    Wish { goal, request: Request::default(), budget: Duration::from_secs(3600) }
}

fn find(space: &Space, wish: &Wish, machine: &mut Machine) -> Outcome {
    search(space, wish, SIZES, &mut Journal::new("here".into()), machine, &mut |_| Ok(())).expect("the baseline runs")
}

fn verdict<'a>(outcome: &'a Outcome, knob: &str, choice: &str) -> &'a Verdict {
    &outcome.tried.iter().find(|tried| tried.knob == knob && tried.choice == choice).expect("it was tried").verdict
}

fn is(launch: &Launch, option: &str, value: &str) -> bool {
    launch.run.options.get(option).is_some_and(|set| set == value)
}

/// Repacked weights read prompts slower and generate faster; prompts want 4 threads, generation 2; the rest does nothing.
fn usual(launch: &Launch, phase: Phase) -> f64 {
    let repacked = !is(launch, "repack", "0");
    match phase {
        Phase::Prompt => 0.04 / launch.threads as f64 * if repacked { 1.5 } else { 1.0 },
        Phase::Generation => (0.04 + 0.01 * (launch.threads as f64 - 2.0).abs()) * if repacked { 0.9 } else { 1.0 },
    }
}

fn usual_space() -> Space {
    space(vec![
        stage("kernels", vec![Knob::of_both("repack", option("repack", &["0"]))]),
        stage("threads", threads(&[1, 2])),
        stage("rest", vec![Knob::of_both("null", option("null", &["1", "2"]))]),
    ])
}

#[test]
fn a_knob_that_does_nothing_makes_no_difference() {
    let choices: Vec<String> = (0..8).map(|n| n.to_string()).collect();
    let choices: Vec<&str> = choices.iter().map(String::as_str).collect();
    let space = space(vec![stage("nothing", vec![Knob::of_both("null", option("null", &choices))])]);
    for goal in [Goal::NoHarm, Goal::Prompt, Goal::Generation, Goal::Balanced] {
        for seed in 1..60 {
            let mut machine = Machine::new(|_, _| 0.01);
            machine.noise = 0.1;
            machine.state = seed * 7919;
            let outcome = find(&space, &wish(goal), &mut machine);
            assert_eq!(outcome.tuned, outcome.baseline, "{goal:?}, seed {seed}: {}", render(&outcome));
            assert!(outcome.tried.iter().all(|tried| tried.verdict != Verdict::Kept));
        }
    }
}

/// A machine on which one choice is much faster at first, as by chance, and another a little, always.
struct Deceptive {
    machine: Machine,
    lucky: u32,
}

impl Sampler for Deceptive {
    fn sample(&mut self, launch: &Launch, tests: &[Test]) -> Result<Vec<Sample>> {
        let mut samples = self.machine.sample(launch, tests)?;
        if is(launch, "x", "lucky") && self.lucky > 0 {
            self.lucky -= 1;
            samples.iter_mut().for_each(|sample| sample.seconds_per_token *= 0.6);
        }
        Ok(samples)
    }

    fn elapsed(&self) -> Duration {
        self.machine.elapsed()
    }
}

#[test]
fn the_second_best_gets_its_turn_when_the_best_was_chance() {
    let space = space(vec![stage("kernels", vec![Knob::of_both("x", option("x", &["lucky", "good", "better"]))])]);
    let cost = |launch: &Launch, _| match launch.run.options.get("x").map(String::as_str) {
        Some("better") => 0.008,
        Some("good") => 0.009,
        _ => 0.01,
    };
    for seed in 1..20 {
        let mut machine = Machine::new(cost);
        machine.noise = 0.01;
        machine.state = seed * 7919;
        let mut machine = Deceptive { machine, lucky: 5 };
        let mut journal = Journal::new("here".into());
        let mut find = || {
            search(&space, &wish(Goal::Prompt), SIZES, &mut journal, &mut machine, &mut |_| Ok(())).expect("it runs")
        };
        let outcome = find();
        assert_eq!(verdict(&outcome, "x", "lucky"), &Verdict::NotAgain, "seed {seed}: {}", render(&outcome));
        assert_eq!(verdict(&outcome, "x", "better"), &Verdict::Kept, "seed {seed}: {}", render(&outcome));
        assert_eq!(verdict(&outcome, "x", "good"), &Verdict::Beaten, "seed {seed}: {}", render(&outcome));
        assert_eq!(find().tuned, outcome.tuned, "the same figures lead to the same answer");
    }
}

#[test]
fn of_choices_as_fast_as_each_other_the_one_that_changes_least_is_kept() {
    let of = |names: &[&str]| Change {
        options: names.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect(),
        ..Change::default()
    };
    let choices = vec![
        Choice::new("more", of(&["x", "y", "z"])),
        Choice::new("little", Change { build: Some(("a".to_owned(), "/opt/a/bin/llama-bench".into())), ..of(&["x"]) }),
        Choice::new("slower", of(&["v"])),
        Choice::new("much more", of(&["w", "x", "y"])),
    ];
    let space = space(vec![stage("kernels", vec![Knob { choices, ..Knob::of_both("x", Vec::new()) }])]);
    let kept = |cost: fn(&Launch, Phase) -> f64, choice: &str| {
        let is_kept = |seed: &u64| {
            let mut machine = Machine::new(cost);
            machine.noise = 0.03;
            machine.state = seed * 7919;
            *verdict(&find(&space, &wish(Goal::Prompt), &mut machine), "x", choice) == Verdict::Kept
        };
        (1..=100).filter(is_kept).count()
    };
    let alike = |launch: &Launch, _| match (is(launch, "x", "1"), is(launch, "v", "1")) {
        (true, _) => 0.008,
        (false, true) => 0.009,
        (false, false) => 0.01,
    };
    // What makes it more is noise.
    assert!(kept(alike, "little") >= 90);
    let cost = |launch: &Launch, _| match (is(launch, "x", "1"), is(launch, "w", "1")) {
        (_, true) => 0.006,
        (true, false) => 0.008,
        (false, false) => 0.01,
    };
    assert_eq!(kept(cost, "much more"), 100);
}

#[test]
fn each_goal_gets_its_own() {
    for seed in 1..20 {
        let tuned = |goal| {
            let mut machine = Machine::new(usual);
            machine.state = seed * 104_729;
            let outcome = find(&usual_space(), &wish(goal), &mut machine);
            assert!(outcome.stopped.is_none());
            assert!(outcome.together.as_ref().unwrap().held, "{}", render(&outcome));
            let Setup { run, threads, threads_batch } = outcome.tuned;
            assert!(!run.options.contains_key("null"));
            (run.options.contains_key("repack"), threads, threads_batch)
        };
        assert_eq!(tuned(Goal::Prompt), (true, 4, 4), "seed {seed}");
        assert_eq!(tuned(Goal::Generation), (false, 2, 4), "seed {seed}");
        assert_eq!(tuned(Goal::NoHarm), (false, 2, 4), "seed {seed}: repacking costs generation 10 %");
        assert_eq!(tuned(Goal::Balanced), (true, 2, 4), "seed {seed}: 512 tokens in, 128 out");
    }
}

#[test]
fn a_drifting_machine_misleads_nobody_and_is_said() {
    let mut machine = Machine::new(usual);
    machine.noise = 0.01;
    machine.drift = 0.005;
    let outcome = find(&usual_space(), &wish(Goal::Balanced), &mut machine);
    assert!(outcome.tuned.run.options.contains_key("repack"));
    assert!(outcome.drift.iter().all(|drift| drift.speed < 0.9), "{:?}", outcome.drift);
    assert!(render(&outcome).contains("the machine drifted"));
}

#[test]
fn the_baseline_stands_in_every_round_and_survivors_have_five_samples() {
    let mut journal = Journal::new("here".into());
    let space = usual_space();
    let mut machine = Machine::new(usual);
    let outcome = search(&space, &wish(Goal::Prompt), SIZES, &mut journal, &mut machine, &mut |_| Ok(())).unwrap();
    let baseline = space.baseline.launch(Phase::Prompt);
    let first: Vec<_> = journal.rounds.iter().filter(|round| round.stage == "kernels").collect();
    assert!(first.iter().all(|round| round.samples.iter().any(|sample| sample.launch == baseline)));
    assert_ne!(first[0].samples[0].launch, first[1].samples[0].launch, "every other round is reversed");
    for tried in outcome.tried.iter().filter(|tried| tried.verdict == Verdict::Kept) {
        assert!(tried.speed.prompt.as_ref().unwrap().pairs >= 5);
    }
    assert_eq!(outcome.together.unwrap().speed.prompt.unwrap().pairs, 5);
}

#[test]
fn what_was_interrupted_goes_on_where_it_stopped() {
    let space = usual_space();
    let whole = {
        let mut machine = Machine::new(usual);
        machine.noise = 0.0;
        find(&space, &wish(Goal::Balanced), &mut machine);
        machine.measured
    };
    let mut journal = Journal::new("here".into());
    let mut machine = Machine::new(usual);
    machine.noise = 0.0;
    machine.interrupt_after = Some(13);
    let mut saved = None;
    let outcome = search(&space, &wish(Goal::Balanced), SIZES, &mut journal, &mut machine, &mut |event| {
        if let Event::Round(journal) = event {
            saved = Some(serde_json::to_string(journal).unwrap());
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(outcome.stopped, Some(Stop::Interrupted));
    assert_eq!(outcome.tuned, outcome.baseline, "what is not confirmed is not used");

    let mut journal: Journal = serde_json::from_str(&saved.unwrap()).unwrap();
    let mut again = Machine::new(usual);
    again.noise = 0.0;
    let outcome = search(&space, &wish(Goal::Balanced), SIZES, &mut journal, &mut again, &mut |_| Ok(())).unwrap();
    assert_eq!(outcome.stopped, None);
    assert!(again.measured < whole && again.measured + 13 >= whole, "{} of {whole}", again.measured);

    let mut third = Machine::new(|_, _| panic!("everything was measured"));
    let same = search(&space, &wish(Goal::Balanced), SIZES, &mut journal, &mut third, &mut |_| Ok(())).unwrap();
    assert_eq!((same, third.measured), (outcome, 0));
}

#[test]
fn a_search_ends_as_it_did_whatever_else_was_measured_meanwhile() {
    let space = usual_space();
    for seed in 1..20 {
        let mut journal = Journal::new("here".into());
        let mut machine = Machine::new(usual);
        machine.state = seed * 31_337;
        let mut search_for = |goal, machine: &mut Machine| {
            search(&space, &wish(goal), SIZES, &mut journal, machine, &mut |_| Ok(())).unwrap()
        };
        let first = search_for(Goal::Balanced, &mut machine);
        search_for(Goal::Prompt, &mut machine);
        search_for(Goal::Generation, &mut machine);
        assert_eq!(search_for(Goal::Balanced, &mut machine), first, "seed {seed}");
    }
}

#[test]
fn the_time_is_kept_and_what_was_not_reached_is_named() {
    let mut machine = Machine::new(usual);
    let wish = Wish { budget: Duration::from_secs(5 * 35), ..wish(Goal::Balanced) };
    let outcome = find(&usual_space(), &wish, &mut machine);
    assert_eq!(outcome.stopped, Some(Stop::Budget));
    assert!(machine.elapsed() <= wish.budget, "{:?}", machine.elapsed());
    assert!(outcome.tuned.run.options.contains_key("repack"), "what was found until then counts");
    assert_eq!(outcome.not_reached, ["null"]);
    assert_eq!(*verdict(&outcome, "threads", "2"), Verdict::Undecided);
}

#[test]
fn a_time_that_ran_out_stays_so_and_a_longer_one_goes_on() {
    for seconds in (20..400).step_by(7) {
        let wish = |seconds| Wish { budget: Duration::from_secs(seconds), ..wish(Goal::Balanced) };
        let mut journal = Journal::new("here".into());
        let mut machine = Machine::new(usual);
        let mut run = |budget| {
            let before = machine.measured;
            let found = search(&usual_space(), &wish(budget), SIZES, &mut journal, &mut machine, &mut |_| Ok(()));
            (found.unwrap(), machine.measured - before)
        };
        let (first, _) = run(seconds);
        assert_eq!(run(seconds), (first.clone(), 0), "{seconds} s");
        let (longer, more) = run(7200);
        assert_eq!((longer.stopped, more > 0), (None, first.stopped.is_some()), "{seconds} s");
    }
}

#[test]
fn every_goal_has_its_own_time() {
    let mut journal = Journal::new("here".into());
    for goal in [Goal::Balanced, Goal::Prompt, Goal::Generation] {
        let wish = Wish { budget: Duration::from_secs(5 * 120), ..wish(goal) };
        let mut machine = Machine::new(usual);
        let outcome = search(&usual_space(), &wish, SIZES, &mut journal, &mut machine, &mut |_| Ok(())).unwrap();
        assert_eq!(outcome.stopped, None, "{goal:?}");
    }
    assert_eq!(journal.spent.len(), 3);
}

#[test]
fn another_build_has_the_whole_time_again() {
    let mut journal = Journal::new("here".into());
    let wish = Wish { budget: Duration::from_secs(5 * 30), ..wish(Goal::Prompt) };
    let mut run = |space: &Space| {
        let mut machine = Machine::new(usual);
        let found = search(space, &wish, SIZES, &mut journal, &mut machine, &mut |_| Ok(())).unwrap();
        (found.stopped, machine.measured)
    };
    let old = usual_space();
    let (stopped, measured) = run(&old);
    assert_eq!((stopped, measured > 0), (Some(Stop::Budget), true));

    let mut new = usual_space();
    new.baseline.run.build = "b".to_owned();
    assert_eq!(run(&new), (Some(Stop::Budget), measured));

    let mut both = usual_space();
    let change = Change { build: Some(("b".to_owned(), "/opt/b/bin/llama-bench".into())), ..Change::default() };
    both.stages[0].knobs.push(Knob::of_both("build", vec![Choice::new("b", change)]));
    assert_eq!(both.builds(), ["a", "b"]);
    assert!(run(&both).1 > 0);

    for known in [&old, &new, &both] {
        assert_eq!(run(known), (Some(Stop::Budget), 0));
    }
}

#[test]
fn a_choice_that_does_not_run_is_named_and_left_out() {
    let mut machine = Machine::new(usual);
    machine.fails = |launch| is(launch, "null", "2");
    let outcome = find(&usual_space(), &wish(Goal::Generation), &mut machine);
    assert!(matches!(verdict(&outcome, "null", "2"), Verdict::Fails(why) if why.contains("no permission")));
    assert_eq!(outcome.tuned.threads, 2);
}

#[test]
fn a_baseline_that_does_not_run_ends_it() {
    let mut machine = Machine::new(usual);
    machine.fails = |_| true;
    let mut journal = Journal::new("here".into());
    let error = search(&usual_space(), &wish(Goal::Prompt), SIZES, &mut journal, &mut machine, &mut |_| Ok(()));
    assert_eq!(error.unwrap_err().code(), codes::BENCH_FAILED);
}

#[test]
fn an_outcome_reads_well() {
    let mut machine = Machine::new(usual);
    machine.noise = 0.0;
    let outcome = find(&usual_space(), &wish(Goal::Balanced), &mut machine);
    insta::assert_snapshot!(render(&outcome), @"
    |   Stage |          Knob | Choice |               Prompt |           Generation |                          Verdict |
    | ------: | ------------: | -----: | -------------------: | -------------------: | -------------------------------: |
    | kernels |        repack |      0 | 1.50x (1.50 to 1.50) | 0.90x (0.90 to 0.90) |                             kept |
    | threads |       threads |      1 |                    - | 1.20x (1.20 to 1.20) | faster, another choice was taken |
    | threads |       threads |      2 |                    - | 1.50x (1.50 to 1.50) |                             kept |
    | threads | threads-batch |      1 | 0.25x (0.25 to 0.25) |                    - |                           slower |
    | threads | threads-batch |      2 | 0.50x (0.50 to 0.50) |                    - |                           slower |
    |    rest |          null |      1 | 1.00x (1.00 to 1.00) | 1.00x (1.00 to 1.00) |                    no difference |
    |    rest |          null |      2 | 1.00x (1.00 to 1.00) | 1.00x (1.00 to 1.00) |                    no difference |

    goal      less time for a request of a prompt and its answer (512 tokens in, 128 tokens out); measured with PP-128 and TG-32
    baseline  a: -t 4 -tb 4
    tuned     a: -t 2 -tb 4 --repack 0
    prompt    66.7 t/s -> 100.0 t/s, 1.50x (1.50 to 1.50)
    generate  18.5 t/s -> 25.0 t/s, 1.35x (1.35 to 1.35)
    request   1.43x (1.43 to 1.43)
    memory    1024 MiB -> 1024 MiB
    ");
}

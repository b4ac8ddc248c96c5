//! Benchmarks against a fake llama-bench: what is collected, and what is said when it misbehaves.

mod common;

use common::{build, plan};
use diagnostic::codes;
use measure::bench::{self, Event};
use measure::{Phase, bandwidth};

#[test]
fn collects_every_sample_and_tells_as_it_goes() {
    let mut slow = build("slow", "ok");
    slow.environment.insert("FAKE_PROMPT_NS".to_owned(), "8000000000".to_owned());
    slow.args = vec!["--echo".to_owned(), "hello".to_owned()];
    let mut plan = plan(vec![build("fast", "ok"), slow]);
    plan.repetitions = 2;
    plan.bandwidth = Some(bandwidth::Plan { threads: 1, buffer_bytes: 1 << 16 });

    let mut told = Vec::new();
    let report = bench::run(&plan, |event| {
        told.push(match event {
            Event::Bandwidth(_) => "bandwidth".to_owned(),
            Event::Started { child, build, done, total } => format!("{done}/{total} {build} {}", child.threads),
            Event::Sample { build, phase, threads, tokens_per_second } => {
                format!("{build} {phase:?} {threads} {tokens_per_second}")
            }
        });
    })
    .unwrap();

    assert!(!report.interrupted);
    assert_eq!(told[..4], ["bandwidth", "0/12 fast 1", "fast Prompt 1 128", "fast Generation 1 64"]);
    assert_eq!(told.len(), 1 + 12 * 3);
    assert_eq!(report.commands.len(), 12);
    assert!(report.commands[1].ends_with("-m 'some model.gguf' -o jsonl -t 1 -p 512 -n 128 -r 2 --echo hello"));
    assert_eq!(report.runs.len(), 24);
    assert!(report.runs.iter().all(|run| run.samples_ns.len() == 2));
    let fast = report.build("fast").unwrap();
    assert_eq!(fast.llama_commit.as_deref(), Some("0c1e570"));
    assert_eq!(fast.figure(Phase::Prompt, 2).unwrap().tokens_per_second, 256.0);
    assert_eq!(fast.figure(Phase::Prompt, 2).unwrap().seconds.samples, 6);
    assert_eq!(report.optimal_threads, Some(2));
    assert_eq!(report.model.parameters, Some(1_100_000_000));
    let speeds: Vec<(Phase, f64)> = report.ratios.iter().map(|c| (c.phase, c.speed.estimate)).collect();
    assert_eq!(speeds[..2], [(Phase::Prompt, 0.5), (Phase::Generation, 1.0)]);
    assert!(report.bandwidth_gb_s.unwrap() > 0.0);
}

#[test]
fn peak_memory_is_that_of_the_child() {
    let report = bench::run(&plan(vec![build("a", "memory")]), |_| {}).unwrap();
    for run in &report.runs {
        assert!(run.peak_memory_bytes.is_some_and(|bytes| (32 << 20..1 << 30).contains(&bytes)), "{run:?}");
    }
}

/// The code and message of a benchmark of one misbehaving build.
fn failure(fake: &str) -> String {
    let error = bench::run(&plan(vec![build("a", fake)]), |_| {}).expect_err("it misbehaves");
    assert_eq!(error.code(), codes::BENCH_FAILED, "{error}");
    error.to_string()
}

#[test]
fn a_failing_llama_bench_gives_its_last_words() {
    insta::assert_snapshot!(failure("fail"), @"llama-bench of `a` failed: exit status 1: main: error: failed to load model 'some model.gguf'");
    insta::assert_snapshot!(failure("illegal"), @"llama-bench of `a` failed: signal 4 (SIGILL, illegal instruction): it said nothing");
}

#[test]
fn results_that_were_not_asked_for_are_refused() {
    insta::assert_snapshot!(failure("garbage"), @r#"measuring `a`: llama-bench printed what cannot be read (expected value at line 1 column 28): `{"n_prompt": 512, "n_gen": oops`"#);
    insta::assert_snapshot!(failure("no-samples"), @r#"measuring `a`: llama-bench printed what cannot be read (missing field `samples_ns` at line 1 column 45): `{"n_prompt": 512, "n_gen": 0, "n_threads": 1}`"#);
    insta::assert_snapshot!(failure("one"), @"llama-bench of `a` failed: it printed 1 of 2 results; its last words: the rest got lost");
    insta::assert_snapshot!(failure("twice"), @"measuring `a`: llama-bench printed the same test twice, which it was not asked for");
    insta::assert_snapshot!(failure("other-threads"), @"measuring `a`: llama-bench printed a test with 2 threads, which it was not asked for");
    insta::assert_snapshot!(failure("silent"), @"llama-bench of `a` failed: it printed 0 of 2 results; its last words: it said nothing");
}

#[test]
fn a_missing_llama_bench_is_named() {
    let mut missing = build("a", "ok");
    missing.llama_bench = "/nonexistent/llama-bench".into();
    let error = bench::run(&plan(vec![missing]), |_| {}).unwrap_err();
    assert_eq!(error.code(), codes::BENCH_FAILED);
    assert!(error.to_string().contains("/nonexistent/llama-bench"), "{error}");
}

#[test]
fn the_failing_build_among_several_is_named() {
    let error = bench::run(&plan(vec![build("good", "ok"), build("bad", "fail")]), |_| {}).unwrap_err();
    assert!(error.to_string().contains("`bad`"), "{error}");
}

#[test]
fn a_plan_that_makes_no_sense_starts_nothing() {
    let mut plan = plan(vec![build("a", "ok")]);
    plan.threads = vec![0];
    let error = bench::run(&plan, |_| panic!("something was started")).unwrap_err();
    assert_eq!(error.code(), codes::THREADS_INVALID);
}

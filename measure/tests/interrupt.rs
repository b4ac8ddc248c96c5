//! Ctrl-C during a benchmark. One test: once asked to stop, the whole process stays asked.

mod common;

use common::{build, plan};
use diagnostic::codes;
use measure::{Phase, bench};

#[test]
fn what_was_measured_before_ctrl_c_is_kept() {
    process::interrupt::install();
    let dir = tempfile::tempdir().unwrap();
    let mut stopping = build("a", "interrupt");
    let flag = dir.path().join("first-child-is-done").to_string_lossy().into_owned();
    stopping.environment.insert("FAKE_FLAG".to_owned(), flag);
    let plan = plan(vec![stopping]);

    // The first child ends well; the second one signals us after its prompt and hangs.
    let report = bench::run(&plan, |_| {}).unwrap();
    assert!(report.interrupted);
    let kept: Vec<(usize, Phase)> = report.runs.iter().map(|run| (run.threads, run.phase)).collect();
    assert_eq!(kept, [(1, Phase::Prompt), (1, Phase::Generation), (2, Phase::Prompt)]);
    assert_eq!(report.optimal_threads, Some(1));
    assert!(measure::table::render(&report).contains("stopped early"));

    // Nothing was measured at all: an error, not an empty report.
    let error = bench::run(&plan, |_| panic!("something was started")).unwrap_err();
    assert_eq!(error.code(), codes::INTERRUPTED);
}

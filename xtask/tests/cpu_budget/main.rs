//! The CPU budget where it counts: in a real cgroup with a quota, in a real cpuset, in a real container. Ours and llama.cpp's own
//! choice of threads run in turn there; the figures are printed and not judged. So is what `caravan serve` makes of a limit of
//! memory.
//!
//! A program of its own, because cargo runs test programs one after the other: nothing else of ours runs meanwhile.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod cgroup;
mod container;
mod serving;

use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use cgroup::Cgroup;
use container::Container;
use serde_json::Value;

/// How often both sides run.
const ROUNDS: usize = 3;
/// Tokens of a prompt and of an answer: enough to see the difference, and all done within two minutes.
const TOKENS: [&str; 4] = ["-p", "16", "-n", "4"];

/// One at a time: they are measurements.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn a_quota_of_one_cpu_gives_one_thread() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let cgroup = Cgroup::with_quota(1);
    let why = prove("quota of 1 CPU", |program, arguments| cgroup.command(program, arguments));
    assert!(why.contains("quota 1.00 of "), "{why}");
}

#[test]
fn a_cpuset_of_one_cpu_gives_one_thread() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // The first is the busiest with interrupts, but is there wherever we may run.
    let cgroup = Cgroup::with_cpu(first_cpu());
    prove("cpuset of 1 CPU", |program, arguments| cgroup.command(program, arguments));
}

#[test]
fn a_container_of_one_cpu_gets_one_thread() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let container = Container::showing(&[&home(), xtask().parent().unwrap()]);
    let why = prove("`podman run --cpus 1`", |program, arguments| container.command(1, program, arguments));
    assert!(why.contains("quota 1.00 of "), "{why}");
}

/// Asks our program which threads it chooses, then measures that choice and llama.cpp's own in turn, all in one place;
/// returns why ours was chosen.
fn prove(place: &str, command: impl Fn(&Path, &[&str]) -> Command) -> String {
    let free = json(Command::new(xtask()).args(["show-build", "--json"]));
    assert!(free["cpu_budget"].as_u64().unwrap() >= 2, "with one CPU there is nothing to prove");
    let show = ["CARAVAN_HOME=".to_owned() + home().to_str().unwrap()];
    let show = [show[0].as_str(), xtask().to_str().unwrap(), "show-build", "--json"].map(str::to_owned);
    let show: Vec<&str> = show.iter().map(String::as_str).collect();
    let limited = json(&mut command(Path::new("/usr/bin/env"), &show));
    assert_eq!(limited["cpu_budget"], 1, "{place}: {limited}");
    let threads = &limited["threads"];
    assert_eq!((&threads["generation"], &threads["prompt"]), (&1.into(), &1.into()), "{place}: {threads}");

    let bench = home().join("bin/llama-bench");
    let of_model = |name: &str| home().join("models").join(name).to_str().unwrap().to_owned();
    let (tiny, model) = (of_model("tiny-q4_k_m.gguf"), of_model("1b-q4_k_m.gguf"));
    let of_model = |model| [&["-m", model, "-r", "1", "-o", "json"], &TOKENS[..]].concat();
    let free = Run::of(Command::new(&bench).args(of_model(&tiny)));
    let arguments = of_model(&model);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(Run::of(&mut command(&bench, &arguments)));
        ours.push(Run::of(&mut command(&bench, &[&arguments[..], &["-t", "1"]].concat())));
    }
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours.threads, 1);
        // llama.cpp takes no notice of the limit. Should it learn to, this line says so.
        assert!(theirs.threads >= free.threads, "{place}: {} of {}", theirs.threads, free.threads);
    }
    let text = ["prompt", "generation"].iter().enumerate().map(|(phase, name)| {
        let median = |runs: &[Run]| {
            let mut speeds: Vec<f64> = runs.iter().map(|run| run.speeds[phase]).collect();
            speeds.sort_by(f64::total_cmp);
            speeds[speeds.len() / 2]
        };
        let (ours, theirs) = (median(&ours), median(&theirs));
        format!("{name} {ours:.2} and {theirs:.2} tokens/s, ratio {:.2}", ours / theirs)
    });
    let text = text.collect::<Vec<_>>().join("; ");
    let threads = theirs[0].threads;
    // Not `println!`, which the test harness keeps to itself.
    let line = format!("{place}: ours (1 thread) and llama.cpp's default ({threads} threads): {text}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    limited["threads"]["why"].as_str().unwrap().to_owned()
}

/// What llama-bench reports.
struct Run {
    threads: u64,
    /// Tokens per second of both phases.
    speeds: [f64; 2],
}

impl Run {
    fn of(command: &mut Command) -> Run {
        let report = json(command);
        let [prompt, generation] = report.as_array().unwrap().as_slice() else { panic!("{report}") };
        assert_eq!(prompt["n_threads"], generation["n_threads"]);
        let speeds = [prompt, generation].map(|phase| phase["avg_ts"].as_f64().unwrap());
        Run { threads: prompt["n_threads"].as_u64().unwrap(), speeds }
    }
}

/// Runs a command to its end; what it prints.
#[track_caller]
fn json(command: &mut Command) -> Value {
    let done = command.env("CARAVAN_HOME", home()).stdin(Stdio::null()).output();
    let done = done.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {}\n{said}", done.status);
    serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{command:?}: {error}\n{said}"))
}

/// The store that `cargo xtask test` has filled.
fn home() -> PathBuf {
    let home = env::var_os("CARAVAN_TEST_HOME");
    PathBuf::from(home.expect("CARAVAN_TEST_HOME names no store with an installed build: run `cargo xtask test`"))
}

fn xtask() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_xtask"))
}

/// The first CPU that we may run on.
fn first_cpu() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    list.split([',', '-']).next().unwrap().parse().unwrap()
}

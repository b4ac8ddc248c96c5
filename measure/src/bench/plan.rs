//! The plan of a benchmark: pure data, printable, every child process known before the first one starts.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use diagnostic::{Error, Result, codes};

use crate::llama_bench::{self, Call};
use crate::{bandwidth, text};

/// Weights that one thread multiplies with one prompt token per second, in bytes: a slow AVX2 core manages this on
/// quantised weights. Only for the time estimate.
const PROMPT_BYTES_PER_SECOND: f64 = 30e9;
/// Weights that one thread reads per second while it generates, up to [`GENERATION_THREADS`]. Only for the time estimate.
const GENERATION_BYTES_PER_SECOND: f64 = 6e9;
/// Beyond this many threads memory is the limit on common machines. Only for the time estimate.
const GENERATION_THREADS: usize = 4;
/// Reading, and perhaps repacking, a model while it loads. Only for the time estimate.
const LOAD_BYTES_PER_SECOND: f64 = 1e9;
/// Starting a process and making its context. Only for the time estimate.
const START_SECONDS: f64 = 0.3;

/// One build of llama.cpp under test, or one setting of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// What people call it; unique within a plan.
    pub label: String,
    /// Its `llama-bench`.
    pub llama_bench: PathBuf,
    /// Environment for it on top of ours, such as a switch of a backend.
    pub environment: BTreeMap<String, String>,
    /// Further arguments of llama-bench, such as `--repack 0`. One value per option: lists would multiply the runs.
    pub args: Vec<String>,
}

/// A whole benchmark.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is compared; the first one is what the others are compared with.
    pub builds: Vec<Build>,
    /// The GGUF file.
    pub model: PathBuf,
    /// Its size in bytes.
    pub model_bytes: u64,
    /// What generating one token reads, in bytes; see [`bandwidth::bandwidth_share`].
    pub bytes_per_token: Option<u64>,
    /// Thread counts, ascending; both phases are measured at each.
    pub threads: Vec<usize>,
    /// Tokens of a prompt; 512 by custom.
    pub n_prompt: u32,
    /// Tokens generated after an empty prompt; 128 by custom.
    pub n_gen: u32,
    /// How often everything is run in turn. Five or more give a confidence interval worth the name.
    pub rounds: u32,
    /// Samples per phase and child process; more than one only pays for tiny models.
    pub repetitions: u32,
    /// The bandwidth measurement that goes with it.
    pub bandwidth: Option<bandwidth::Plan>,
    /// The machine's description, copied into the report.
    pub machine: serde_json::Value,
}

/// One child process: one build at one thread count, both phases, one round.
///
/// llama-bench loads a model once per process and warms up every test: the prompt with a whole prompt, generation with
/// one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// Counts from zero.
    pub round: u32,
    /// Index into [`Plan::builds`].
    pub build: usize,
    /// Threads for both phases.
    pub threads: usize,
}

impl Plan {
    /// Every child process in the order in which it will run.
    ///
    /// Builds stand next to each other at each thread count (A B A B), and every other round runs in exactly the
    /// reverse order (A B B A). Over two rounds every build and thread count then has the same mean position, so a
    /// machine that slowly heats up favours none of them.
    pub fn children(&self) -> Vec<Child> {
        let mut children = Vec::new();
        for round in 0..self.rounds {
            let mut one_round: Vec<Child> = self
                .threads
                .iter()
                .flat_map(|&threads| (0..self.builds.len()).map(move |build| Child { round, build, threads }))
                .collect();
            if round % 2 == 1 {
                one_round.reverse();
            }
            children.append(&mut one_round);
        }
        children
    }

    /// The arguments of a child's llama-bench.
    pub fn args(&self, child: &Child) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["-m".into(), self.model.clone().into(), "-o".into(), "jsonl".into()];
        let numbers = [
            ("-t", child.threads as u64),
            ("-p", self.n_prompt.into()),
            ("-n", self.n_gen.into()),
            ("-r", self.repetitions.into()),
        ];
        args.extend(numbers.into_iter().flat_map(|(option, value)| [option.into(), value.to_string().into()]));
        args.extend(self.builds[child.build].args.iter().map(Into::into));
        args
    }

    pub(crate) fn call(&self, child: &Child) -> Call<'_> {
        let build = &self.builds[child.build];
        Call { program: &build.llama_bench, environment: &build.environment, args: self.args(child) }
    }

    /// A child as a line that a person can paste into a shell.
    pub fn command_line(&self, child: &Child) -> String {
        self.call(child).line()
    }

    /// About how long it will take, in seconds: right within a factor of two or three, so that a person can decide.
    pub fn estimated_seconds(&self) -> f64 {
        let bytes = self.model_bytes as f64;
        let per_build: f64 = self
            .threads
            .iter()
            .map(|&threads| {
                // The prompt is run once more to warm up.
                let prompts = f64::from(self.n_prompt) * f64::from(self.repetitions.saturating_add(1));
                let tokens = f64::from(self.n_gen) * f64::from(self.repetitions);
                START_SECONDS
                    + bytes / LOAD_BYTES_PER_SECOND
                    + prompts * bytes / (threads as f64 * PROMPT_BYTES_PER_SECOND)
                    + tokens * bytes / (threads.min(GENERATION_THREADS) as f64 * GENERATION_BYTES_PER_SECOND)
            })
            .sum();
        per_build * self.builds.len() as f64 * f64::from(self.rounds)
    }

    /// Refuses a plan that cannot run.
    ///
    /// # Errors
    /// A thread count of zero or twice ([`codes::THREADS_INVALID`]); nothing to run, or two builds of one name
    /// ([`codes::BENCH_FAILED`]); a model path that llama-bench cannot take ([`codes::MODEL_UNREADABLE`]).
    pub fn check(&self) -> Result<()> {
        if self.threads.is_empty() || self.threads[0] == 0 || !self.threads.is_sorted_by(|a, b| a < b) {
            let message = format!("thread counts `{:?}` are not ascending numbers from 1", self.threads);
            return Err(Error::new(codes::THREADS_INVALID, message).hint("give numbers such as `1,2,4`"));
        }
        let refuse = |message: String| Err(Error::new(codes::BENCH_FAILED, message));
        if self.builds.is_empty() {
            return refuse("there is no build to measure".to_owned());
        }
        for (i, build) in self.builds.iter().enumerate() {
            if self.builds[..i].iter().any(|other| other.label == build.label) {
                return refuse(format!("two builds are called `{}`", build.label));
            }
        }
        llama_bench::check_model(&self.model)?;
        let counts = [
            ("n_prompt", self.n_prompt),
            ("n_gen", self.n_gen),
            ("rounds", self.rounds),
            ("repetitions", self.repetitions),
        ];
        match counts.iter().find(|(_, count)| *count == 0 || *count > MAX_COUNT) {
            Some((name, count)) => refuse(format!("`{name}` is {count}, which is not between 1 and {MAX_COUNT}")),
            None => Ok(()),
        }
    }
}

/// Far above any sensible number of tokens, rounds or repetitions, and small enough for every sum made of them.
const MAX_COUNT: u32 = 1 << 20;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> = self.threads.iter().map(ToString::to_string).collect();
        writeln!(f, "model     {} ({})", self.model.display(), text::mebibytes(self.model_bytes))?;
        writeln!(f, "measure   PP-{} and TG-{} at threads {}", self.n_prompt, self.n_gen, counts.join(", "))?;
        for build in &self.builds {
            let settings = build.environment.iter().map(|(name, value)| format!("{name}={}", text::quoted(value)));
            let words: Vec<String> = settings
                .chain([build.llama_bench.display().to_string()])
                .chain(build.args.iter().map(|arg| text::quoted(arg)))
                .collect();
            writeln!(f, "build     {}: {}", build.label, words.join(" "))?;
        }
        if let Some(bandwidth) = &self.bandwidth {
            let size = text::mebibytes(bandwidth.buffer_bytes);
            writeln!(f, "bandwidth {size} read by {}", text::threads(bandwidth.threads))?;
        }
        let rounds = text::count_of(self.rounds as usize, "round");
        let samples = text::count_of(self.repetitions as usize, "sample");
        let runs = text::count_of(self.children().len(), "run");
        let order = if self.rounds > 1 { ", every other one in reverse order" } else { "" };
        writeln!(f, "order     {rounds} of all builds in turn{order}")?;
        writeln!(f, "runs      {runs} of {samples} per phase, about {}", text::roughly(self.estimated_seconds()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::plan;

    #[test]
    fn prints_what_will_run() {
        let mut two = plan(&["plain", "blas"]);
        two.builds[1].environment.insert("GGML_BLAS".to_owned(), "on".to_owned());
        two.builds[1].args = vec!["--repack".to_owned(), "0".to_owned()];
        two.builds[1].environment.insert("GGML_BACKEND_SKIP".to_owned(), "my libs".to_owned());
        two.bandwidth = Some(bandwidth::Plan { threads: 2, buffer_bytes: 256 << 20 });
        insta::assert_snapshot!(two, @r"
        model     /models/1b.gguf (637 MiB)
        measure   PP-512 and TG-128 at threads 1, 2
        build     plain: /opt/plain/bin/llama-bench
        build     blas: GGML_BACKEND_SKIP='my libs' GGML_BLAS=on /opt/blas/bin/llama-bench --repack 0
        bandwidth 256 MiB read by 2 threads
        order     3 rounds of all builds in turn, every other one in reverse order
        runs      12 runs of 1 sample per phase, about 6 min
        ");
        let child = Child { round: 0, build: 1, threads: 2 };
        insta::assert_snapshot!(two.command_line(&child), @"GGML_BACKEND_SKIP='my libs' GGML_BLAS=on /opt/blas/bin/llama-bench -m /models/1b.gguf -o jsonl -t 2 -p 512 -n 128 -r 1 --repack 0");
    }

    #[test]
    fn every_other_round_is_reversed() {
        let order: Vec<String> = plan(&["a", "b"])
            .children()
            .iter()
            .map(|child| format!("{}{}", ["a", "b"][child.build], child.threads))
            .collect();
        assert_eq!(order.join(" "), "a1 b1 a2 b2 b2 a2 b1 a1 a1 b1 a2 b2");
    }

    #[test]
    fn two_rounds_favour_no_position() {
        let mut plan = plan(&["a", "b", "c"]);
        plan.threads = vec![1, 2, 4, 6];
        plan.rounds = 4;
        let children = plan.children();
        let mean = |build, threads| {
            let places = children.iter().enumerate().filter(|(_, c)| c.build == build && c.threads == threads);
            places.map(|(place, _)| place).sum::<usize>()
        };
        let first = mean(0, 1);
        assert!((0..3).all(|build| plan.threads.iter().all(|&threads| mean(build, threads) == first)));
    }

    #[test]
    fn plans_that_cannot_run_are_refused() {
        let refused = |change: fn(&mut Plan)| {
            let mut plan = plan(&["a", "b"]);
            plan.check().unwrap();
            change(&mut plan);
            let error = plan.check().unwrap_err();
            format!("{}: {error}", error.code().name)
        };
        let refusals = [
            refused(|plan| plan.threads = vec![]),
            refused(|plan| plan.threads = vec![0, 1]),
            refused(|plan| plan.threads = vec![2, 2]),
            refused(|plan| plan.builds.clear()),
            refused(|plan| plan.builds[1].label = "a".to_owned()),
            refused(|plan| plan.rounds = 0),
            refused(|plan| plan.n_gen = u32::MAX),
            refused(|plan| plan.model = "/models/a,b.gguf".into()),
        ];
        insta::assert_snapshot!(refusals.join("\n"), @r"
        host::threads_invalid: thread counts `[]` are not ascending numbers from 1
        host::threads_invalid: thread counts `[0, 1]` are not ascending numbers from 1
        host::threads_invalid: thread counts `[2, 2]` are not ascending numbers from 1
        measure::bench_failed: there is no build to measure
        measure::bench_failed: two builds are called `a`
        measure::bench_failed: `rounds` is 0, which is not between 1 and 1048576
        measure::bench_failed: `n_gen` is 4294967295, which is not between 1 and 1048576
        model::unreadable: model `/models/a,b.gguf` has a comma in its path, which llama-bench cannot take
        ");
    }

    #[test]
    fn the_estimate_grows_with_the_work_and_shrinks_with_threads() {
        let seconds = |change: fn(&mut Plan)| {
            let mut plan = plan(&["a"]);
            change(&mut plan);
            plan.estimated_seconds()
        };
        let base = seconds(|_| {});
        assert_eq!(seconds(|plan| plan.rounds = 6), 2.0 * base);
        assert!(seconds(|plan| plan.n_prompt = 1024) > base);
        assert!(seconds(|plan| plan.threads = vec![2]) < seconds(|plan| plan.threads = vec![1]));
        // Design section 7: 1.1 B on 2 threads takes 4 s per prompt (twice with the warm-up) and 6 s per 128 tokens.
        let two_threads = seconds(|plan| (plan.threads, plan.rounds) = (vec![2], 1));
        assert!((7.0..42.0).contains(&two_threads), "{two_threads}");
    }
}

//! The result of a benchmark: what `--json` writes and what tables are made from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bandwidth::Bandwidth;
use crate::bench::Plan;
use crate::figures;
use crate::ratio::Ratio;
use crate::record::Record;
use crate::stats::Summary;
use crate::winner::{Winners, winner};

/// Version of [`Report`]'s JSON; higher when a key changes its meaning or goes.
pub const SCHEMA_VERSION: u32 = 1;

/// Variables of our environment that change how fast llama.cpp runs; a child inherits them, so the report shows them.
const TELLING_VARIABLES: [&str; 7] = ["GGML_", "GOMP_", "KMP_", "LD_", "MALLOC_", "OMP_", "OPENBLAS_"];

/// One of the two things that a language model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Processing a prompt: many tokens at once, bound by arithmetic.
    Prompt,
    /// Generating: one token after the other, bound by memory.
    Generation,
}

/// All that was measured, what it means, and on what. Times are in seconds unless a name says otherwise; sizes in bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Stopped before the end: some rounds, or some thread counts, are missing.
    pub interrupted: bool,
    /// Headline: read bandwidth in GB/s (1e9 bytes).
    pub bandwidth_gb_s: Option<f64>,
    /// Headline: the share of it that the first build's best generation uses.
    pub bandwidth_share: Option<f64>,
    /// Headline: threads of the first build's best generation, as in build info.
    pub optimal_threads: Option<usize>,
    /// The other builds against the first one.
    pub ratios: Vec<Comparison>,
    /// Each build's figures, in the plan's order.
    pub builds: Vec<BuildReport>,
    /// How bandwidth was measured.
    pub bandwidth: Option<Bandwidth>,
    /// The model.
    pub model: Model,
    /// Tokens per prompt.
    pub n_prompt: u32,
    /// Tokens per generation.
    pub n_gen: u32,
    /// Rounds planned.
    pub rounds: u32,
    /// Samples per phase and child process.
    pub repetitions: u32,
    /// The machine's description, as given by the caller.
    pub machine: serde_json::Value,
    /// Variables of our own environment that may change speed.
    pub environment: BTreeMap<String, String>,
    /// Every command in the order in which it ran.
    pub commands: Vec<String>,
    /// The raw samples in the order in which they came; nothing is left out.
    pub runs: Vec<Run>,
}

/// The model that was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its file.
    pub path: String,
    /// The file's size.
    pub bytes: u64,
    /// What generating one token reads.
    pub bytes_per_token: Option<u64>,
    /// What llama.cpp calls it, such as `llama 1B Q4_K - Medium`.
    pub description: Option<String>,
    /// Number of parameters.
    pub parameters: Option<u64>,
}

/// One phase of one child process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The build's label.
    pub build: String,
    /// Counts from zero.
    pub round: u32,
    /// Threads.
    pub threads: usize,
    /// Which phase.
    pub phase: Phase,
    /// Tokens per sample.
    pub tokens: u32,
    /// Wall time of each repetition, in nanoseconds, as llama-bench measured it.
    pub samples_ns: Vec<u64>,
    /// The child's largest resident set; unknown for one that was stopped.
    pub peak_memory_bytes: Option<u64>,
}

/// What one build reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildReport {
    /// Its label.
    pub label: String,
    /// Its llama-bench.
    pub llama_bench: String,
    /// The llama.cpp commit that it reports.
    pub llama_commit: Option<String>,
    /// The llama.cpp build number that it reports.
    pub llama_build_number: Option<i64>,
    /// The backends that it reports, such as `CPU` or `BLAS`.
    pub backends: Option<String>,
    /// The CPU that it reports.
    pub cpu: Option<String>,
    /// The best thread counts; none unless both phases were measured.
    pub winners: Option<Winners>,
    /// One per thread count and phase, by threads, then phase.
    pub figures: Vec<Figure>,
}

/// A build in one phase at one thread count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Threads.
    pub threads: usize,
    /// Which phase.
    pub phase: Phase,
    /// Tokens per sample.
    pub tokens: u32,
    /// Tokens over the median time.
    pub tokens_per_second: f64,
    /// Seconds per sample.
    pub seconds: Summary,
    /// The samples disagree too much to rely on; see [`Summary::unstable`].
    pub unstable: bool,
    /// Share of the read bandwidth; for generation only.
    pub bandwidth_share: Option<f64>,
    /// The largest resident set of all children.
    pub peak_memory_bytes: Option<u64>,
}

/// A build against the first one: how many times as fast, from the rounds that both have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The build.
    pub build: String,
    /// The first build.
    pub baseline: String,
    /// Threads.
    pub threads: usize,
    /// Which phase.
    pub phase: Phase,
    /// Speed of the build over speed of the baseline; above 1 is faster.
    pub speed: Ratio,
}

/// What running a plan has brought so far.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub(crate) interrupted: bool,
    pub(crate) bandwidth: Option<Bandwidth>,
    pub(crate) commands: Vec<String>,
    pub(crate) runs: Vec<Run>,
    /// A result of each build, for what it says about itself.
    pub(crate) records: BTreeMap<String, Record>,
}

impl Report {
    pub(crate) fn new(plan: &Plan, observed: Observed) -> Report {
        let Observed { interrupted, bandwidth, commands, runs, records } = observed;
        let ceiling = bandwidth.as_ref().map(|b| b.gb_s).zip(plan.bytes_per_token);
        let builds: Vec<BuildReport> = plan
            .builds
            .iter()
            .map(|build| {
                let record = records.get(&build.label);
                BuildReport {
                    label: build.label.clone(),
                    llama_bench: build.llama_bench.to_string_lossy().into_owned(),
                    llama_commit: record.and_then(|r| r.build_commit.clone()),
                    llama_build_number: record.and_then(|r| r.build_number),
                    backends: record.and_then(|r| r.backends.clone()),
                    cpu: record.and_then(|r| r.cpu_info.clone()),
                    winners: None,
                    figures: figures::of_build(&build.label, &runs, ceiling),
                }
            })
            .collect();
        let said = records.values().next();
        let mut report = Report {
            schema_version: SCHEMA_VERSION,
            interrupted,
            bandwidth_gb_s: bandwidth.as_ref().map(|b| b.gb_s),
            bandwidth_share: None,
            optimal_threads: None,
            ratios: figures::against_first(&builds, &runs),
            builds,
            bandwidth,
            model: Model {
                path: plan.model.to_string_lossy().into_owned(),
                bytes: plan.model_bytes,
                bytes_per_token: plan.bytes_per_token,
                description: said.and_then(|r| r.model_type.clone()),
                parameters: said.and_then(|r| r.model_n_params),
            },
            n_prompt: plan.n_prompt,
            n_gen: plan.n_gen,
            rounds: plan.rounds,
            repetitions: plan.repetitions,
            machine: plan.machine.clone(),
            environment: telling_environment(),
            commands,
            runs,
        };
        report.headline();
        report
    }

    fn headline(&mut self) {
        let winners: Vec<_> = self.builds.iter().map(|build| winner(self, &build.label)).collect();
        for (build, winners) in self.builds.iter_mut().zip(winners) {
            build.winners = winners;
        }
        let Some(best) = self.builds.first().and_then(|build| build.winners.as_ref()).map(|w| &w.generation) else {
            return;
        };
        let threads = best.threads;
        self.optimal_threads = Some(threads);
        self.bandwidth_share =
            self.builds[0].figure(Phase::Generation, threads).and_then(|figure| figure.bandwidth_share);
    }

    /// A build by its label.
    pub fn build(&self, label: &str) -> Option<&BuildReport> {
        self.builds.iter().find(|build| build.label == label)
    }
}

impl BuildReport {
    /// Whether something of it read more than the bandwidth that was measured: that says nothing about the build.
    pub fn beats_bandwidth(&self) -> bool {
        self.figures.iter().any(|figure| figure.bandwidth_share.is_some_and(|share| share > 1.0))
    }

    /// The figure of a phase at a thread count.
    pub fn figure(&self, phase: Phase, threads: usize) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.phase == phase && figure.threads == threads)
    }
}

fn telling_environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .filter(|(name, _)| TELLING_VARIABLES.iter().any(|prefix| name.starts_with(prefix)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{observed, plan, report, rounds};

    fn two_builds() -> Report {
        let a = rounds("a", 2, &[4100, 4123, 4090], &[6127, 6100, 6153]);
        let b = rounds("b", 2, &[3541, 3600, 3499], &[6127, 6090, 6177]);
        report(&[a, b].concat())
    }

    #[test]
    fn json_gives_back_the_same_report() {
        let report = two_builds();
        let text = serde_json::to_string_pretty(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn keys_for_scripts_are_there() {
        let json = serde_json::to_value(two_builds()).unwrap();
        assert_eq!(json["schema_version"], 1);
        assert_eq!(json["bandwidth_gb_s"], 30.0);
        assert_eq!(json["optimal_threads"], 2);
        assert_eq!(json["bandwidth_share"], json["builds"][0]["figures"][1]["bandwidth_share"]);
        // 128 tokens in 6.127 s, 0.6 GB each, of 30 GB/s.
        assert!((json["bandwidth_share"].as_f64().unwrap() - 128.0 / 6.127 * 0.6 / 30.0).abs() < 1e-5);
        assert_eq!(json["machine"]["cpu"], "a CPU");
        assert_eq!(json["runs"].as_array().unwrap().len(), 12);
        insta::assert_snapshot!(serde_json::to_string(&json["ratios"][0]).unwrap(), @r#"{"build":"b","baseline":"a","threads":2,"phase":"prompt","speed":{"estimate":1.157448,"low":1.145278,"high":1.168905,"confidence":0.75,"pairs":3}}"#);
        insta::assert_snapshot!(serde_json::to_string(&json["builds"][0]).unwrap(), @r#"{"label":"a","llama_bench":"/opt/a/bin/llama-bench","llama_commit":"0c1e570","llama_build_number":9,"backends":"CPU","cpu":null,"winners":{"generation":{"threads":2,"tokens_per_second":20.891138},"prompt":{"threads":2,"tokens_per_second":124.878049}},"figures":[{"threads":2,"phase":"prompt","tokens":512,"tokens_per_second":124.878049,"seconds":{"samples":3,"median":4.1,"min":4.09,"max":4.123,"spread":0.003616,"outliers":0},"unstable":false,"bandwidth_share":null,"peak_memory_bytes":840957952},{"threads":2,"phase":"generation","tokens":128,"tokens_per_second":20.891138,"seconds":{"samples":3,"median":6.127,"min":6.1,"max":6.153,"spread":0.006291,"outliers":0},"unstable":false,"bandwidth_share":0.417823,"peak_memory_bytes":840957952}]}"#);
    }

    #[test]
    fn without_bytes_per_token_there_is_no_share() {
        let mut plan = plan(&["a"]);
        plan.bytes_per_token = None;
        let report = Report::new(&plan, observed(&[("a", 1, 100, 100)]));
        assert_eq!((report.bandwidth_gb_s, report.bandwidth_share), (Some(30.0), None));
    }

    #[test]
    fn rounds_that_only_one_build_has_are_not_compared() {
        let a = rounds("a", 2, &[100, 100, 100], &[100, 100, 100]);
        let b = rounds("b", 2, &[50, 50], &[50, 50]);
        let report = report(&[a, b].concat());
        assert_eq!(report.ratios.iter().map(|c| c.speed.pairs).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(report.ratios[0].speed.estimate, 2.0);
    }

    #[test]
    fn nothing_measured_is_an_empty_report() {
        let report = Report::new(&plan(&["a"]), Observed::default());
        assert_eq!((report.optimal_threads, report.builds[0].figures.len()), (None, 0));
    }
}

//! The knobs of llama.cpp that change results by rounding at most, and what each may be set to on a machine.
//!
//! What is left out on purpose: the type of the KV cache (it changes answers), `--batch-size` (below the size of a prompt
//! it only splits it, above it does nothing), `--mlock` (it changes nothing once the model is in memory).

use std::path::PathBuf;

use super::journal::Sizes;
use super::setup::{Change, Run, Setup};
use super::space::{Choice, Knob, Skipped, Space, Stage};
use crate::report::Phase;

/// llama.cpp's own `--ubatch-size`.
const DEFAULT_UBATCH: u32 = 512;

/// What decides which knobs there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The builds; the first is the baseline.
    pub builds: Vec<Build>,
    /// Threads that are run without tuning, in both phases.
    pub threads: usize,
    /// Thread counts worth trying, none above the CPU budget.
    pub thread_counts: Vec<usize>,
    /// One CPU of each core that we may use, the fast cores alone where there are others; empty when unknown.
    pub cores: Vec<u32>,
    /// NUMA nodes with CPUs.
    pub numa_nodes: usize,
    /// What `/sys/kernel/mm/transparent_hugepage/enabled` is set to: `always`, `madvise` or `never`.
    pub huge_pages: Option<String>,
    /// Whether we may raise our own priority.
    pub may_raise_priority: bool,
    /// Tokens in the KV cache at which flash attention is measured; zero leaves long contexts out.
    pub depth: u32,
}

/// A build that may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Its name: the build id.
    pub label: String,
    /// Its `llama-bench`.
    pub llama_bench: PathBuf,
    /// Whether its threads are OpenMP's, and not ggml's own.
    pub openmp: bool,
    /// Whether it carries a BLAS plug-in.
    pub blas: bool,
    /// CPU variants to try besides the one that it takes by itself.
    pub variants: Vec<String>,
}

/// Everything that is worth trying on this machine.
///
/// # Panics
/// There is no build.
pub fn space(facts: &Facts, sizes: Sizes) -> Space {
    let first = facts.builds.first().expect("there is a build to tune");
    let run = Run {
        build: first.label.clone(),
        llama_bench: first.llama_bench.clone(),
        environment: Default::default(),
        options: Default::default(),
    };
    let mut skipped = Vec::new();
    let stage = |name: &str, knobs: Vec<Knob>| Stage {
        name: name.to_owned(),
        knobs: knobs.into_iter().filter(|knob| !knob.choices.is_empty()).collect(),
    };
    let mut stages = vec![
        stage("kernels", vec![kernels(&facts.builds)]),
        stage("threads", threads(facts)),
        stage("memory", vec![ubatch(sizes), attention(0), memory(facts, &mut skipped)]),
        stage("scheduling", scheduling(facts, &mut skipped)),
    ];
    if facts.depth > 0 {
        stages.push(stage("long context", vec![attention(facts.depth)]));
    } else {
        skipped.push(Skipped {
            knob: "flash-attn in a long context".to_owned(),
            why: "`--depth N` measures it with N tokens in the KV cache".to_owned(),
        });
    }
    stages.retain(|stage| !stage.knobs.is_empty());
    Space { baseline: Setup { run, threads: facts.threads, threads_batch: facts.threads }, stages, skipped }
}

/// Which code multiplies: build, CPU variant, BLAS and repacked weights belong together, since what is best of one
/// depends on the others.
fn kernels(builds: &[Build]) -> Knob {
    let mut choices = Vec::new();
    for build in builds {
        let program = Change { build: Some((build.label.clone(), build.llama_bench.clone())), ..Change::default() };
        let mut kinds = vec![(build.label.clone(), program.clone())];
        for variant in &build.variants {
            let mut change = program.clone();
            change.environment.extend(Change::variable("GGML_CPU_VARIANT", variant).environment);
            kinds.push((format!("{}@{variant}", build.label), change));
        }
        if build.blas {
            let mut change = program;
            change.environment.extend(Change::variable("GGML_BACKEND_SKIP", "blas").environment);
            kinds.push((format!("{} without BLAS", build.label), change));
        }
        for (label, change) in kinds {
            let mut plain = change.clone();
            plain.options.extend(Change::option("repack", "0").options);
            choices.push(Choice::new(label.clone(), change));
            choices.push(Choice::new(format!("{label}, repack 0"), plain));
        }
    }
    // The baseline is no choice.
    choices.remove(0);
    Knob::of_both("kernels", choices)
}

fn threads(facts: &Facts) -> Vec<Knob> {
    let choices = |change: fn(usize) -> Change| -> Vec<Choice> {
        let others = facts.thread_counts.iter().filter(|&&count| count != facts.threads);
        others.map(|&count| Choice::new(count.to_string(), change(count))).collect()
    };
    vec![
        Knob::of(Phase::Generation, "threads", choices(|n| Change { threads: Some(n), ..Change::default() })),
        Knob::of(Phase::Prompt, "threads-batch", choices(|n| Change { threads_batch: Some(n), ..Change::default() })),
    ]
}

/// A batch of more tokens than the prompt has is the same as one of the prompt's size.
fn ubatch(sizes: Sizes) -> Knob {
    let usual = DEFAULT_UBATCH.min(sizes.prompt);
    let tried = [32, 64, 128, 256, 512, 1024, 2048].into_iter().filter(|&n| n != usual && n <= sizes.prompt);
    let tried = tried.filter(|&n| n >= usual / 4);
    let choices = tried.map(|n| Choice::new(n.to_string(), Change::option("ubatch-size", &n.to_string())));
    Knob::of(Phase::Prompt, "ubatch-size", choices.collect())
}

fn attention(depth: u32) -> Knob {
    let choices = vec![Choice::new("off", Change::option("flash-attn", "off"))];
    Knob { depth, ..Knob::of_both("flash-attn", choices) }
}

/// How weights get into memory, and on pages of which size: fewer, larger pages make fewer misses of the TLB.
fn memory(facts: &Facts, skipped: &mut Vec<Skipped>) -> Knob {
    let read = Change::option("load-mode", "none");
    let mut choices = vec![Choice::new("load-mode none", read.clone())];
    // glibc 2.35 and newer; an older one, and another C library, ignores it.
    let huge = Change::variable("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");
    match facts.huge_pages.as_deref() {
        Some("madvise") => {
            let both = Change { environment: huge.environment.clone(), ..read };
            choices.push(Choice::new("huge pages", huge));
            choices.push(Choice::new("load-mode none, huge pages", both));
        }
        Some("always") => skipped.push(Skipped {
            knob: "huge pages".to_owned(),
            why: "the system gives them to everybody already".to_owned(),
        }),
        _ => skipped.push(Skipped { knob: "huge pages".to_owned(), why: "the system does not offer them".to_owned() }),
    }
    Knob::of_both("memory", choices)
}

fn scheduling(facts: &Facts, skipped: &mut Vec<Skipped>) -> Vec<Knob> {
    let of_builds = |openmp: bool| -> Vec<String> {
        facts.builds.iter().filter(|build| build.openmp == openmp).map(|build| build.label.clone()).collect()
    };
    let waiting = ["0", "100"].map(|poll| Choice::new(poll, Change::option("poll", poll)));
    let policies = ["active", "passive"].map(|policy| Choice::new(policy, Change::variable("OMP_WAIT_POLICY", policy)));
    let mut knobs = vec![
        Knob { builds: of_builds(false), ..Knob::of_both("poll", waiting.into()) },
        Knob { builds: of_builds(true), ..Knob::of_both("OMP_WAIT_POLICY", policies.into()) },
    ];
    knobs.retain(|knob| !knob.builds.is_empty());
    if facts.cores.len() >= facts.threads && facts.cores.len() > 1 {
        let mut change = Change::option("cpu-mask", &mask(&facts.cores));
        change.options.extend(Change::option("cpu-strict", "1").options);
        knobs.push(Knob::of_both("cpu-mask", vec![Choice::new("one CPU of each fast core", change)]));
    }
    if facts.may_raise_priority {
        knobs.push(Knob::of_both("prio", vec![Choice::new("2", Change::option("prio", "2"))]));
    } else {
        skipped.push(Skipped { knob: "prio".to_owned(), why: "only root may raise it".to_owned() });
    }
    if facts.numa_nodes > 1 {
        let modes = ["distribute", "isolate"].map(|mode| Choice::new(mode, Change::option("numa", mode)));
        knobs.push(Knob::of_both("numa", modes.into()));
    } else {
        skipped.push(Skipped { knob: "numa".to_owned(), why: "there is one node".to_owned() });
    }
    knobs
}

/// CPUs as llama.cpp takes them: hexadecimal, one bit each, `0x5` for CPUs 0 and 2.
fn mask(cpus: &[u32]) -> String {
    let digits = cpus.iter().max().map_or(1, |cpu| cpu / 4 + 1);
    let digit =
        |place: u32| cpus.iter().filter(|&&cpu| cpu / 4 == place).fold(0, |bits, cpu| bits | 1_u32 << (cpu % 4));
    let text: String = (0..digits).rev().filter_map(|place| char::from_digit(digit(place), 16)).collect();
    format!("0x{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(label: &str, openmp: bool) -> Build {
        Build {
            label: label.to_owned(),
            llama_bench: format!("/{label}/llama-bench").into(),
            openmp,
            blas: false,
            variants: Vec::new(),
        }
    }

    fn facts() -> Facts {
        Facts {
            builds: vec![build("native", true), build("portable", false)],
            threads: 6,
            thread_counts: vec![1, 2, 4, 6, 8],
            cores: vec![0, 2, 4, 6, 8, 10, 12, 14],
            numa_nodes: 1,
            huge_pages: Some("madvise".to_owned()),
            may_raise_priority: false,
            depth: 0,
        }
    }

    fn listed(space: &Space) -> String {
        let mut lines = Vec::new();
        for stage in &space.stages {
            for knob in &stage.knobs {
                for choice in &knob.choices {
                    let setup = space.baseline.with(&choice.change);
                    lines.push(format!(
                        "{} | {} | {} | {} {setup}",
                        stage.name, knob.name, choice.label, setup.run.build
                    ));
                }
            }
        }
        lines.extend(space.skipped.iter().map(|skipped| format!("skipped {}: {}", skipped.knob, skipped.why)));
        lines.join("\n")
    }

    #[test]
    fn a_desktop() {
        insta::assert_snapshot!(listed(&space(&facts(), Sizes { prompt: 512, generation: 64 })), @"
        kernels | kernels | native, repack 0 | native -t 6 -tb 6 --repack 0
        kernels | kernels | portable | portable -t 6 -tb 6
        kernels | kernels | portable, repack 0 | portable -t 6 -tb 6 --repack 0
        threads | threads | 1 | native -t 1 -tb 6
        threads | threads | 2 | native -t 2 -tb 6
        threads | threads | 4 | native -t 4 -tb 6
        threads | threads | 8 | native -t 8 -tb 6
        threads | threads-batch | 1 | native -t 6 -tb 1
        threads | threads-batch | 2 | native -t 6 -tb 2
        threads | threads-batch | 4 | native -t 6 -tb 4
        threads | threads-batch | 8 | native -t 6 -tb 8
        memory | ubatch-size | 128 | native -t 6 -tb 6 --ubatch-size 128
        memory | ubatch-size | 256 | native -t 6 -tb 6 --ubatch-size 256
        memory | flash-attn | off | native -t 6 -tb 6 --flash-attn off
        memory | memory | load-mode none | native -t 6 -tb 6 --load-mode none
        memory | memory | huge pages | native GLIBC_TUNABLES=glibc.malloc.hugetlb=1 -t 6 -tb 6
        memory | memory | load-mode none, huge pages | native GLIBC_TUNABLES=glibc.malloc.hugetlb=1 -t 6 -tb 6 --load-mode none
        scheduling | poll | 0 | native -t 6 -tb 6 --poll 0
        scheduling | poll | 100 | native -t 6 -tb 6 --poll 100
        scheduling | OMP_WAIT_POLICY | active | native OMP_WAIT_POLICY=active -t 6 -tb 6
        scheduling | OMP_WAIT_POLICY | passive | native OMP_WAIT_POLICY=passive -t 6 -tb 6
        scheduling | cpu-mask | one CPU of each fast core | native -t 6 -tb 6 --cpu-mask 0x5555 --cpu-strict 1
        skipped prio: only root may raise it
        skipped numa: there is one node
        skipped flash-attn in a long context: `--depth N` measures it with N tokens in the KV cache
        ");
    }

    #[test]
    fn a_server_of_two_sockets() {
        let mut facts = facts();
        facts.builds.truncate(1);
        facts.builds[0].blas = true;
        facts.builds[0].variants = vec!["icelake".to_owned()];
        facts.numa_nodes = 2;
        facts.huge_pages = Some("always".to_owned());
        facts.may_raise_priority = true;
        facts.depth = 4096;
        insta::assert_snapshot!(listed(&space(&facts, Sizes { prompt: 64, generation: 16 })), @"
        kernels | kernels | native, repack 0 | native -t 6 -tb 6 --repack 0
        kernels | kernels | native@icelake | native GGML_CPU_VARIANT=icelake -t 6 -tb 6
        kernels | kernels | native@icelake, repack 0 | native GGML_CPU_VARIANT=icelake -t 6 -tb 6 --repack 0
        kernels | kernels | native without BLAS | native GGML_BACKEND_SKIP=blas -t 6 -tb 6
        kernels | kernels | native without BLAS, repack 0 | native GGML_BACKEND_SKIP=blas -t 6 -tb 6 --repack 0
        threads | threads | 1 | native -t 1 -tb 6
        threads | threads | 2 | native -t 2 -tb 6
        threads | threads | 4 | native -t 4 -tb 6
        threads | threads | 8 | native -t 8 -tb 6
        threads | threads-batch | 1 | native -t 6 -tb 1
        threads | threads-batch | 2 | native -t 6 -tb 2
        threads | threads-batch | 4 | native -t 6 -tb 4
        threads | threads-batch | 8 | native -t 6 -tb 8
        memory | ubatch-size | 32 | native -t 6 -tb 6 --ubatch-size 32
        memory | flash-attn | off | native -t 6 -tb 6 --flash-attn off
        memory | memory | load-mode none | native -t 6 -tb 6 --load-mode none
        scheduling | OMP_WAIT_POLICY | active | native OMP_WAIT_POLICY=active -t 6 -tb 6
        scheduling | OMP_WAIT_POLICY | passive | native OMP_WAIT_POLICY=passive -t 6 -tb 6
        scheduling | cpu-mask | one CPU of each fast core | native -t 6 -tb 6 --cpu-mask 0x5555 --cpu-strict 1
        scheduling | prio | 2 | native -t 6 -tb 6 --prio 2
        scheduling | numa | distribute | native -t 6 -tb 6 --numa distribute
        scheduling | numa | isolate | native -t 6 -tb 6 --numa isolate
        long context | flash-attn | off | native -t 6 -tb 6 --flash-attn off
        skipped huge pages: the system gives them to everybody already
        ");
    }

    #[test]
    fn masks_are_those_of_llama_cpp() {
        assert_eq!(
            [&[0][..], &[0, 2], &[1, 4], &[63, 64], &[]].map(mask).join(" "),
            "0x1 0x5 0x12 0x18000000000000000 0x0"
        );
    }

    #[test]
    fn the_baseline_is_no_choice() {
        let space = space(&facts(), Sizes { prompt: 128, generation: 16 });
        for knob in space.stages.iter().flat_map(|stage| &stage.knobs) {
            assert!(knob.choices.iter().all(|choice| space.baseline.with(&choice.change) != space.baseline));
        }
    }
}

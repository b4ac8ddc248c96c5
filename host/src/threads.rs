//! How many threads to run: heuristic, measurement, job, `--threads`.
//!
//! The truth table in `tests/threads.rs` is the contract: machine, affinity, quota, policy and job to `-t`, `-tb`, why.

use std::fmt;
use std::str::FromStr;

use diagnostic::{Error, Result, codes};
use serde::{Deserialize, Serialize};

use crate::job::JobThreads;
use crate::topology::CoreMix;
use crate::{CpuBudget, Topology};

/// How much of the machine to take before anything has been measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Every physical core.
    Max,
    /// What is usually fastest, about three quarters of the cores: see [`choose`].
    #[default]
    Balanced,
    /// Half of the physical cores, for a machine that does other work too.
    Shared,
    /// One thread.
    Single,
}

impl Policy {
    /// Every policy, as the command line lists them.
    pub const ALL: [Policy; 4] = [Policy::Max, Policy::Balanced, Policy::Shared, Policy::Single];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Max => "max",
            Policy::Balanced => "balanced",
            Policy::Shared => "shared",
            Policy::Single => "single",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Policy {
    type Err = Error;

    fn from_str(name: &str) -> Result<Policy> {
        Policy::ALL.into_iter().find(|policy| policy.name() == name).ok_or_else(|| {
            Error::new(codes::THREADS_INVALID, format!("`{name}` is not a thread policy"))
                .hint("the policies are `max`, `balanced`, `shared` and `single`")
        })
    }
}

/// The fastest thread counts that a benchmark found: of this build on this host, or the build's `optimal_threads`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// For generation (`-t`).
    pub generation: usize,
    /// For prompts (`-tb`).
    pub prompt: usize,
}

/// What is asked for; the default asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// How much of the machine to take.
    pub policy: Policy,
    /// What was measured, if anything was.
    pub measured: Option<Measured>,
    /// What the environment says about this job.
    pub job: Option<JobThreads>,
    /// `--threads`.
    pub explicit: Option<usize>,
}

/// The threads to run with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadChoice {
    /// Threads for generation: `-t`.
    pub generation: usize,
    /// Threads for prompts and batches: `-tb`.
    pub prompt: usize,
    /// How these numbers came about, in one line.
    pub why: String,
}

/// Chooses the thread counts.
///
/// The first of these that is given decides: `--threads`; the job's variable; the measurement; the heuristic. All but
/// `--threads` are capped by the CPU budget, because a value found outside a container must not oversubscribe it.
///
/// The heuristic, with p = physical P-cores and n = physical cores, rounding down, at least 1:
///
/// | policy | threads |
/// |---|---|
/// | `max` | n |
/// | `balanced` | p >= 16: p; big and little cores (Arm): p; P and E cores (Intel): 0.75 n; p of 6 to 15: 0.75 p; p of 3 to 5: p - 1; less: p |
/// | `shared` | 0.5 n |
/// | `single` | 1 |
///
/// - Little cores are left out, and are also what is left to the rest of the system: on an RK3588 (4 + 4) four threads
///   generate 1.8 times as fast as eight (llama.cpp issue 7176).
/// - The heuristic counts cores, so it is also capped by the cores that the affinity reaches: a cpuset of two SMT
///   siblings is one core. A measurement is not: where SMT was found to help, it may be used.
/// - Before a measurement `-tb` equals `-t`.
/// - A measurement replaces the heuristic of every policy. `shared` and `single` remain what they are for, a promise to
///   leave cores to others, so they cap it.
///
/// # Errors
/// [`codes::THREADS_INVALID`] when `--threads` is zero or above the CPU budget.
pub fn choose(topology: &Topology, budget: &CpuBudget, wish: &Wish) -> Result<ThreadChoice> {
    if let Some(threads) = wish.explicit {
        return explicit(threads, budget);
    }
    let (generation, prompt, why) = match (&wish.job, wish.measured) {
        (Some(job), _) => (job.threads, job.threads, format!("`{}`: {}", job.variable, job.threads)),
        (None, Some(measured)) => under_policy(measured, topology, wish.policy),
        (None, None) => {
            let (threads, why) = heuristic(topology, wish.policy);
            match budget.cores {
                Some(cores) if cores < threads.min(budget.cpus) => {
                    (cores, cores, format!("{why}; capped to the physical cores that the affinity reaches: {cores}"))
                }
                _ => (threads, threads, why),
            }
        }
    };
    Ok(capped(generation.max(1), prompt.max(1), why, budget))
}

/// `--threads N`: taken as it is or refused.
fn explicit(threads: usize, budget: &CpuBudget) -> Result<ThreadChoice> {
    let refused = |message: String| {
        Error::new(codes::THREADS_INVALID, message)
            .hint(format!("give 1 to {}: this process may use {budget}", budget.cpus))
    };
    if threads == 0 {
        return Err(refused("`--threads` must be at least 1".to_owned()));
    }
    if threads > budget.cpus {
        return Err(refused(format!("`--threads {threads}` is more than the CPU budget of {}", budget.cpus)));
    }
    Ok(ThreadChoice { generation: threads, prompt: threads, why: format!("`--threads {threads}`") })
}

/// The measured values, unless the policy promises to take less.
fn under_policy(measured: Measured, topology: &Topology, policy: Policy) -> (usize, usize, String) {
    let why = format!("measured: {} for generation, {} for prompts", measured.generation, measured.prompt);
    let most = match policy {
        Policy::Shared | Policy::Single => heuristic(topology, policy).0,
        Policy::Max | Policy::Balanced => usize::MAX,
    };
    if measured.generation.max(measured.prompt) <= most {
        return (measured.generation, measured.prompt, why);
    }
    (measured.generation.min(most), measured.prompt.min(most), format!("{why}; policy `{policy}` takes at most {most}"))
}

/// Threads by the table at [`choose`], and the rule in words.
fn heuristic(topology: &Topology, policy: Policy) -> (usize, String) {
    let (p, n) = (topology.big_cores(), topology.cores());
    let (threads, rule) = match policy {
        Policy::Max => (n, "all"),
        Policy::Shared => (n / 2, "half"),
        Policy::Single => (1, "one thread"),
        Policy::Balanced => match topology.mix {
            _ if p >= 16 => (p, "all (16 or more)"),
            CoreMix::BigLittle => (p, "the big cores"),
            CoreMix::Hybrid if n > p => (three_quarters(n), "3/4 of P and E cores"),
            _ if p >= 6 => (three_quarters(p), "3/4 (6 to 15)"),
            _ if p >= 3 => (p - 1, "all but one (3 to 5)"),
            _ => (p, "all (1 or 2)"),
        },
    };
    let threads = threads.max(1);
    (threads, format!("`{policy}` on {topology}: {rule} = {threads}"))
}

/// Rounded down.
fn three_quarters(cores: usize) -> usize {
    cores - cores.div_ceil(4)
}

fn capped(generation: usize, prompt: usize, mut why: String, budget: &CpuBudget) -> ThreadChoice {
    if generation.max(prompt) > budget.cpus {
        why.push_str(&format!("; capped by the CPU budget: {budget}"));
    }
    ThreadChoice { generation: generation.min(budget.cpus), prompt: prompt.min(budget.cpus), why }
}

/// The thread counts that a benchmark tries: 1, the powers of two, the heuristic's value and the CPU budget itself;
/// ascending, each once, none above the budget.
pub fn sweep(budget: usize, heuristic: usize) -> Vec<usize> {
    let mut counts: Vec<usize> = std::iter::successors(Some(1_usize), |count| count.checked_mul(2))
        .take_while(|count| *count <= budget)
        .chain([heuristic.clamp(1, budget.max(1)), budget.max(1)])
        .collect();
    counts.sort_unstable();
    counts.dedup();
    counts
}

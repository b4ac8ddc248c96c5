//! How many threads may compute.

use std::num::NonZeroU32;

use build_info::{BuildInfo, ClassTuning, ModelClass};
use diagnostic::{Error, Result};
use host::Host;
use host::job::JobThreads;
use host::threads::{self, ThreadChoice, Wish};
use store::Measured;

use crate::environment::Variables;

/// An upper bound that OpenMP's users know; llama.cpp itself does not look at it.
const OPENMP: &str = "OMP_NUM_THREADS";

/// What was measured, or chosen when the build was made: threads of both phases, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) threads: threads::Measured,
    pub(crate) from: String,
}

impl Known {
    /// What was measured for a build, or else chosen when it was made.
    pub(crate) fn of(info: &BuildInfo, measured: Option<&Measured>) -> Option<Known> {
        let count = |threads: NonZeroU32| threads.get() as usize;
        let of_build = |threads| Known {
            threads: threads::Measured { generation: count(threads), prompt: count(threads) },
            from: "chosen when the build was made".to_owned(),
        };
        match measured {
            Some(measured) => Some(Known {
                threads: threads::Measured {
                    generation: count(measured.tuning.generation.threads),
                    prompt: count(measured.tuning.prompt.threads),
                },
                from: source(measured),
            }),
            None => info.optimal_threads.map(of_build),
        }
    }
}

/// Where a measured setting comes from, for people: `tuning of 1b/q4_k_m on 2026-11-20`.
pub(crate) fn source(measured: &Measured) -> String {
    format!("tuning of {}", class_on_day(&measured.class, &measured.tuning))
}

/// A class of models and when it was measured: `1b/q4_k_m on 2026-11-20`.
pub(crate) fn class_on_day(class: &ModelClass, tuning: &ClassTuning) -> String {
    let date: String = tuning.date.to_string().chars().take("2026-01-01".len()).collect();
    format!("{class} on {date}")
}

/// The threads for both phases, and why so many: `--threads`; the job's variable; what is known; the heuristic. All but
/// the first are capped by the CPU budget of this moment and by `OMP_NUM_THREADS`.
///
/// # Errors
/// [`codes::THREADS_INVALID`]: more than the budget were asked for, or a job's variable is no good.
pub(crate) fn choose(
    host: &Host,
    explicit: Option<usize>,
    force: bool,
    known: Option<&Known>,
    variables: &Variables,
) -> Result<ThreadChoice> {
    match explicit {
        Some(threads) if force && threads > 0 => {
            let why = format!("`--threads {threads} --force`");
            return Ok(ThreadChoice { generation: threads, prompt: threads, why });
        }
        Some(_) => {
            let wish = Wish { explicit, ..Wish::default() };
            return threads::choose(&host.topology, &host.budget, &wish).map_err(force_hint);
        }
        None => {}
    }
    let job = JobThreads::from_env(variables)?;
    let is_known = job.is_none() && known.is_some();
    let wish = Wish { measured: known.map(|known| known.threads), job, ..Wish::default() };
    let mut choice = threads::choose(&host.topology, &host.budget, &wish)?;
    if let (true, Some(known)) = (is_known, known) {
        choice.why = choice.why.replacen("measured", &known.from, 1);
    }
    if let Some(most) = openmp(variables).filter(|most| *most < choice.generation.max(choice.prompt)) {
        choice.generation = choice.generation.min(most);
        choice.prompt = choice.prompt.min(most);
        choice.why = format!("{}; at most `{OPENMP}={most}`", choice.why);
    }
    Ok(choice)
}

/// The bound of the outermost level: OpenMP takes a list, one number per level of nesting. What is no number binds nothing,
/// as in OpenMP itself.
fn openmp(variables: &Variables) -> Option<usize> {
    let first = variables.get(OPENMP)?.split(',').next()?;
    first.trim().parse().ok().filter(|threads| *threads > 0)
}

/// What a person may do who knows better.
pub(crate) fn force_hint(error: Error) -> Error {
    error.hint("`--force` starts it all the same; threads that wait for a CPU hold up all others")
}

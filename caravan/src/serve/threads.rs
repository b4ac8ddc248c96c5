//! How many threads llama-server may run.

use diagnostic::{Error, Result, codes};
use host::Host;
use host::job::JobThreads;
use host::threads::{self, ThreadChoice, Wish};

use super::given;
use crate::environment::Variables;

/// An upper bound that OpenMP's users know; llama.cpp itself does not look at it.
const OPENMP: &str = "OMP_NUM_THREADS";

/// What was measured, or chosen when the build was made: threads of both phases, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) threads: threads::Measured,
    pub(super) from: String,
}

/// The threads for both phases, and why so many: `--threads`; the job's variable; what is known; the heuristic. All but
/// the first are capped by the CPU budget of this moment and by `OMP_NUM_THREADS`.
///
/// # Errors
/// [`codes::THREADS_INVALID`]: more than the budget were asked for, or a job's variable is no good.
pub(super) fn choose(
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

/// Refuses thread counts that a person gave to llama-server itself when they are more than the budget.
///
/// # Errors
/// [`codes::THREADS_INVALID`].
pub(super) fn check_given(host: &Host, arguments: &[String], variables: &Variables) -> Result<()> {
    for name in ["--threads", "--threads-batch"] {
        let Some(given) = given::find(name, arguments, variables) else { continue };
        let value = given.value.unwrap_or_default();
        let refuse = |why: String| {
            let error = Error::new(codes::THREADS_INVALID, format!("{}: {why}", given.by));
            Err(force_hint(error.hint(format!("give 1 to {}: this process may use {}", host.budget.cpus, host.budget))))
        };
        match value.parse::<i64>() {
            Err(_) => return refuse(format!("`{value}` is not a thread count")),
            Ok(..=0) => return refuse(format!("`{value}` lets llama-server take every CPU of the machine")),
            Ok(threads) if threads > host.budget.cpus as i64 => {
                return refuse(format!("{threads} threads are more than the CPU budget of {}", host.budget.cpus));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

fn force_hint(error: Error) -> Error {
    error.hint("`--force` starts it all the same; threads that wait for a CPU hold up all others")
}

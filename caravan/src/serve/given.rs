//! What a person has said to llama-server himself: arguments after `--`, and llama.cpp's own variables. It wins over what
//! we would set.

use std::fmt;

use diagnostic::{Error, Result, codes};
use host::Host;

use crate::environment::Variables;
use crate::threads::force_hint;

/// A flag of llama-server (`common/arg.cpp` at the pin): its name, its other names, and the variable that sets it too.
struct Flag {
    name: &'static str,
    others: &'static [&'static str],
    variable: Option<&'static str>,
}

const fn flag(name: &'static str, others: &'static [&'static str], variable: &'static str) -> Flag {
    Flag { name, others, variable: if variable.is_empty() { None } else { Some(variable) } }
}

/// Every flag that we may set, and those that name a model.
const FLAGS: &[Flag] = &[
    flag("--model", &["-m"], "LLAMA_ARG_MODEL"),
    flag("--hf-repo", &["-hf", "-hfr"], "LLAMA_ARG_HF_REPO"),
    flag("--model-url", &["-mu"], "LLAMA_ARG_MODEL_URL"),
    flag("--models-dir", &[], "LLAMA_ARG_MODELS_DIR"),
    flag("--models-preset", &[], "LLAMA_ARG_MODELS_PRESET"),
    flag("--host", &[], "LLAMA_ARG_HOST"),
    flag("--port", &[], "LLAMA_ARG_PORT"),
    flag("--threads", &["-t"], "LLAMA_ARG_THREADS"),
    flag("--threads-batch", &["-tb"], ""),
    flag("--ctx-size", &["-c"], "LLAMA_ARG_CTX_SIZE"),
    flag("--cache-ram", &["-cram"], "LLAMA_ARG_CACHE_RAM"),
    flag("--batch-size", &["-b"], "LLAMA_ARG_BATCH"),
    flag("--ubatch-size", &["-ub"], "LLAMA_ARG_UBATCH"),
    flag("--load-mode", &["-lm"], "LLAMA_ARG_LOAD_MODE"),
    flag("--no-repack", &["-nr", "--repack"], "LLAMA_ARG_REPACK"),
    flag("--flash-attn", &["-fa"], "LLAMA_ARG_FLASH_ATTN"),
    flag("--numa", &[], "LLAMA_ARG_NUMA"),
    flag("--poll", &[], ""),
    flag("--poll-batch", &[], ""),
    flag("--prio", &[], ""),
    flag("--prio-batch", &[], ""),
    flag("--cpu-mask", &["-C"], ""),
    flag("--cpu-mask-batch", &["-Cb"], ""),
    flag("--cpu-strict", &[], ""),
    flag("--cpu-strict-batch", &[], ""),
];

/// A flag that a person has set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    /// What follows it; `None` at the end of the line.
    pub(super) value: Option<String>,
    pub(super) by: By,
}

/// How a flag was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum By {
    /// By this argument.
    Argument(String),
    /// By this variable.
    Variable(&'static str),
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            By::Argument(name) => write!(f, "`{name}` after `--`"),
            By::Variable(name) => write!(f, "`{name}`"),
        }
    }
}

/// Who set a flag, if somebody did: the last of the arguments, or else the variable.
pub(super) fn find(name: &str, arguments: &[String], variables: &Variables) -> Option<Given> {
    let flag = FLAGS.iter().find(|flag| flag.name == name)?;
    let is_named = |word: &String| word == flag.name || flag.others.contains(&word.as_str());
    if let Some(at) = arguments.iter().rposition(is_named) {
        let by = By::Argument(arguments[at].clone());
        return Some(Given { value: arguments.get(at + 1).cloned(), by });
    }
    let variable = flag.variable?;
    let value = variables.get(variable).filter(|value| !value.is_empty())?;
    Some(Given { value: Some(value.clone()), by: By::Variable(variable) })
}

/// Whether a model comes from elsewhere than a file: downloaded, or chosen by each request.
pub(super) fn names_other_models(arguments: &[String], variables: &Variables) -> bool {
    ["--hf-repo", "--model-url", "--models-dir", "--models-preset"]
        .iter()
        .any(|name| find(name, arguments, variables).is_some())
}

/// Refuses thread counts that a person gave to llama-server itself when they are more than the budget.
///
/// # Errors
/// [`codes::THREADS_INVALID`].
pub(super) fn check_threads(host: &Host, arguments: &[String], variables: &Variables) -> Result<()> {
    for name in ["--threads", "--threads-batch"] {
        let Some(given) = find(name, arguments, variables) else { continue };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_last_argument_counts_under_any_name_and_before_the_variable() {
        let variables = Variables::from([("LLAMA_ARG_THREADS".to_owned(), "3".to_owned())]);
        let value = |line: &str| find("--threads", &words(line), &variables).and_then(|given| given.value);
        assert_eq!(value("-t 1 --threads 2").as_deref(), Some("2"));
        assert_eq!(value("-tb 7").as_deref(), Some("3"));
        assert_eq!(value("-t"), None);
        assert_eq!(find("--threads", &words("-t"), &variables).unwrap().by.to_string(), "`-t` after `--`");
        assert_eq!(find("--threads", &words(""), &Variables::new()), None);
        let empty = Variables::from([("LLAMA_ARG_THREADS".to_owned(), String::new())]);
        assert_eq!(find("--threads", &[], &empty), None);
    }

    #[test]
    fn names_are_given_once() {
        let mut names: Vec<&str> =
            FLAGS.iter().flat_map(|flag| flag.others.iter().copied().chain([flag.name])).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}

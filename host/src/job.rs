//! Threads per type of job, from the environment.

use std::collections::BTreeMap;

use diagnostic::{Error, Result, codes};

/// Chooses how threads are chosen; `auto` looks at [`JOB`], every other value leaves the choice to the measurement.
pub const THREAD_MODE: &str = "CARAVAN_THREAD_MODE";
/// Accepted in place of [`THREAD_MODE`], which wins when both are set.
pub const THREAD_MODE_ALIAS: &str = "SARAI_THREAD_MODE";
/// The type of the job, such as `marketing`: `<TYPE>_THREADS` then holds its thread count.
pub const JOB: &str = "CARAVAN_JOB";

/// The longest job type; it becomes part of the name of a variable.
const LONGEST_JOB: usize = 64;

/// What the environment says about threads for the job at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobThreads {
    /// The variable that was read, such as `MARKETING_THREADS`.
    pub variable: String,
    /// Its value, at least 1.
    pub threads: usize,
}

impl JobThreads {
    /// Reads the variables of an environment; those that are empty count as not set.
    ///
    /// `None` unless the thread mode is `auto`. A job type may be any name of letters, digits, `-` and `_`; it is put in
    /// upper case with `-` as `_`, so that `email-triage` reads `EMAIL_TRIAGE_THREADS`.
    ///
    /// # Errors
    /// [`codes::THREADS_INVALID`] when the mode is `auto` and the job, or its thread count, is missing or no good. Falling
    /// back in silence would run the job with a thread count that nobody asked for.
    pub fn from_env(variables: &BTreeMap<String, String>) -> Result<Option<JobThreads>> {
        let get = |name: &str| variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
        let Some((mode_variable, mode)) =
            [THREAD_MODE, THREAD_MODE_ALIAS].into_iter().find_map(|name| Some((name, get(name)?)))
        else {
            return Ok(None);
        };
        if !mode.eq_ignore_ascii_case("auto") {
            return Ok(None);
        }
        let Some(job) = get(JOB) else {
            let name = known(variables).unwrap_or_else(|| format!("name the job, for example `{JOB}=marketing`"));
            return Err(invalid(format!("`{mode_variable}=auto` needs `{JOB}`, which is not set"))
                .hint(format!("{name}, or unset `{mode_variable}`")));
        };
        let variable = variable(job)?;
        let Some(value) = get(&variable) else {
            let error = invalid(format!("`{JOB}={job}` reads `{variable}`, which is not set"))
                .hint(format!("set it, for example `{variable}=4`, or unset `{mode_variable}`"));
            return Err(known(variables).into_iter().fold(error, Error::hint));
        };
        match value.parse() {
            Ok(threads) if threads > 0 => Ok(Some(JobThreads { variable, threads })),
            _ => Err(invalid(format!("`{variable}` must be a thread count of at least 1, not `{}`", shortened(value)))),
        }
    }
}

/// The ending of every variable that holds the threads of a job.
const ENDING: &str = "_THREADS";
/// Variables with that ending that are no job's: OpenMP's, and those of libraries that count their own threads.
const NO_JOBS: [&str; 6] = [
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
];
/// How many jobs a hint names.
const NAMED: usize = 8;

/// The jobs that have a thread count, as a hint.
fn known(variables: &BTreeMap<String, String>) -> Option<String> {
    let jobs: Vec<String> =
        variables.keys().filter_map(|name| job_of(name)).map(|job| format!("`{job}`")).take(NAMED).collect();
    (!jobs.is_empty()).then(|| format!("jobs with a thread count are {}", jobs.join(", ")))
}

/// The job whose threads a variable holds: `coding` for `CODING_THREADS`. `None` for every other variable.
pub fn job_of(name: &str) -> Option<String> {
    let job = name.strip_suffix(ENDING).filter(|job| !job.is_empty() && !NO_JOBS.contains(&name))?;
    (variable(job).ok()? == name).then(|| job.to_ascii_lowercase())
}

/// The variable that holds the thread count of a job type.
fn variable(job: &str) -> Result<String> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if job.len() > LONGEST_JOB || !job.bytes().all(known) {
        return Err(invalid(format!("`{JOB}` is not a job type: `{}`", shortened(job)))
            .hint(format!("use at most {LONGEST_JOB} letters, digits, `-` and `_`")));
    }
    Ok(format!("{}{ENDING}", job.to_ascii_uppercase().replace('-', "_")))
}

fn invalid(message: String) -> Error {
    Error::new(codes::THREADS_INVALID, message)
}

/// A value from the environment, safe to print: one line, 40 characters.
fn shortened(value: &str) -> String {
    let mut text: String = value.chars().take(40).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.len() < value.len() {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(environment: &[(&str, &str)]) -> Result<Option<JobThreads>> {
        // The first of two values counts.
        let pairs = environment.iter().rev().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        JobThreads::from_env(&pairs.collect())
    }

    fn threads(environment: &[(&str, &str)]) -> Option<(String, usize)> {
        read(environment).unwrap().map(|job| (job.variable, job.threads))
    }

    #[test]
    fn auto_reads_the_variable_of_the_job() {
        let auto = (THREAD_MODE, "auto");
        for (job, variable) in [
            ("marketing", "MARKETING_THREADS"),
            ("Coding", "CODING_THREADS"),
            ("RESEARCH", "RESEARCH_THREADS"),
            ("email-triage", "EMAIL_TRIAGE_THREADS"),
        ] {
            assert_eq!(threads(&[auto, (JOB, job), (variable, " 6 ")]), Some((variable.to_owned(), 6)));
        }
        let job = [(JOB, "coding"), ("CODING_THREADS", "3")];
        assert_eq!(threads(&[&[(THREAD_MODE_ALIAS, "AUTO")], &job[..]].concat()), Some(("CODING_THREADS".into(), 3)));
        assert_eq!(threads(&[&[auto, (THREAD_MODE_ALIAS, "max")], &job[..]].concat()).map(|job| job.1), Some(3));
    }

    #[test]
    fn any_other_mode_reads_no_job() {
        let job = [(JOB, "coding"), ("CODING_THREADS", "nonsense")];
        assert_eq!(threads(&job), None);
        assert_eq!(threads(&[&[(THREAD_MODE, "optimal")], &job[..]].concat()), None);
        assert_eq!(threads(&[&[(THREAD_MODE, "")], &job[..]].concat()), None);
        let both = [(THREAD_MODE, "optimal"), (THREAD_MODE_ALIAS, "auto")];
        assert_eq!(threads(&[&both, &job[..]].concat()), None, "the alias does not override");
    }

    #[test]
    fn jobs_that_have_a_thread_count_are_named() {
        let hint = |environment: &[(&str, &str)]| read(environment).unwrap_err().hints().join("; ");
        let set = [(THREAD_MODE, "auto"), ("MARKETING_THREADS", "6"), ("EMAIL_TRIAGE_THREADS", "2")];
        let other = [("OMP_NUM_THREADS", "4"), ("lower_THREADS", "4"), ("_THREADS", "4")];
        insta::assert_snapshot!(hint(&[&set, &other[..], &[(JOB, "research")]].concat()), @"set it, for example `RESEARCH_THREADS=4`, or unset `CARAVAN_THREAD_MODE`; jobs with a thread count are `email_triage`, `marketing`");
        insta::assert_snapshot!(hint(&[&set, &other[..]].concat()), @"jobs with a thread count are `email_triage`, `marketing`, or unset `CARAVAN_THREAD_MODE`");
        insta::assert_snapshot!(hint(&[set[0], (JOB, "research")]), @"set it, for example `RESEARCH_THREADS=4`, or unset `CARAVAN_THREAD_MODE`");
    }

    #[test]
    fn what_is_missing_or_no_number_is_named() {
        let error = |environment: &[(&str, &str)]| {
            let error = read(&[&[(THREAD_MODE, "auto")], environment].concat()).unwrap_err();
            assert_eq!(error.code(), codes::THREADS_INVALID);
            error.to_string()
        };
        insta::assert_snapshot!(error(&[]), @"`CARAVAN_THREAD_MODE=auto` needs `CARAVAN_JOB`, which is not set");
        insta::assert_snapshot!(error(&[(JOB, "coding")]), @"`CARAVAN_JOB=coding` reads `CODING_THREADS`, which is not set");
        for value in ["0", "-1", "four", "2.5", "99999999999999999999999"] {
            let message = error(&[(JOB, "coding"), ("CODING_THREADS", value)]);
            assert_eq!(message, format!("`CODING_THREADS` must be a thread count of at least 1, not `{value}`"));
        }
        insta::assert_snapshot!(error(&[(JOB, "a=b\u{1b}[31m")]), @"`CARAVAN_JOB` is not a job type: `a=b?[31m`");
        assert!(error(&[(JOB, &"x".repeat(65))]).len() < 100);
    }
}

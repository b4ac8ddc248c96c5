//! One llama-bench process: started, read line by line, and what it prints held against what it was asked.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use diagnostic::{Error, Result, codes};
use process::Finished;
use serde::{Deserialize, Serialize};

use crate::record::{self, Record};
use crate::report::Phase;
use crate::text;

/// Longer than any sane single run; a hung child must not hang us for ever.
const LIMIT: Duration = Duration::from_secs(2 * 60 * 60);

/// One thing that llama-bench can measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Test {
    /// Prompts or generation.
    pub phase: Phase,
    /// Tokens processed.
    pub tokens: u32,
    /// Tokens that are in the KV cache before it begins.
    pub depth: u32,
}

/// A llama-bench, and what it is told.
pub(crate) struct Call<'a> {
    pub(crate) program: &'a Path,
    /// Environment on top of ours.
    pub(crate) environment: &'a BTreeMap<String, String>,
    pub(crate) args: Vec<OsString>,
}

impl Call<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        // A build finds its own libraries; an inherited path, such as cargo's, would have it run with others.
        command.args(&self.args).env_remove("LD_LIBRARY_PATH").envs(self.environment);
        command
    }

    /// As a line that a person can paste into a shell.
    pub(crate) fn line(&self) -> String {
        let words = self.environment.iter().map(|(name, value)| format!("{name}={}", text::quoted(value)));
        let program = text::quoted(&self.program.to_string_lossy());
        let args = self.args.iter().map(|arg| text::quoted(&arg.to_string_lossy()));
        words.chain([program]).chain(args).collect::<Vec<_>>().join(" ")
    }
}

/// Refuses a path that llama-bench does not understand.
///
/// # Errors
/// [`codes::MODEL_UNREADABLE`].
pub(crate) fn check_model(model: &Path) -> Result<()> {
    if !model.to_string_lossy().contains(',') {
        return Ok(());
    }
    // llama-bench splits the value of `-m` at commas and knows no escape.
    let message = format!("model `{}` has a comma in its path, which llama-bench cannot take", model.display());
    Err(Error::new(codes::MODEL_UNREADABLE, message).hint("rename it, or give a symbolic link to it"))
}

/// A process and what is expected of it.
pub(crate) struct Process<'a> {
    /// The build's label, for messages.
    pub(crate) label: &'a str,
    pub(crate) call: Call<'a>,
    /// What it must print, each once.
    pub(crate) tests: &'a [Test],
    /// The threads that it must report.
    pub(crate) threads: usize,
    /// Samples of each test.
    pub(crate) repetitions: u32,
}

impl Process<'_> {
    /// Runs it to its end and hands over each result as it comes; returns its largest resident set in bytes, if known.
    ///
    /// # Errors
    /// [`codes::BENCH_FAILED`] with its last words when it fails, or prints something else than what it was asked for;
    /// [`codes::INTERRUPTED`], after the results until then.
    pub(crate) fn run(&self, mut on_result: impl FnMut(Test, Record)) -> Result<Option<u64>> {
        let mut seen: Vec<Test> = Vec::new();
        let mut unreadable = None;
        let finished = process::run_lines(&mut self.call.command(), LIMIT, |line| {
            let got = record::parse(line).and_then(|record| {
                let Some(record) = record else { return Ok(()) };
                let test = self.accept(&record, &seen)?;
                seen.push(test);
                on_result(test, record);
                Ok(())
            });
            if let Err(error) = got {
                unreadable.get_or_insert(error);
            }
        });
        let finished = finished.map_err(|error| match error.code() {
            code if code == codes::INTERRUPTED => error,
            _ => self.failed(&error.to_string()).source(error),
        })?;
        if !finished.status.success() {
            let why = format!("{}: {}", finished.ended_by(), last_words(&finished));
            return Err(self.failed(&why).hint(format!("run it by hand: {}", self.call.line())));
        }
        if let Some(error) = unreadable {
            return Err(error.context(format!("measuring `{}`", self.label)));
        }
        let (got, wanted) = (seen.len(), self.tests.len());
        if got != wanted {
            let words = last_words(&finished);
            return Err(self.failed(&format!("it printed {got} of {wanted} results; its last words: {words}")));
        }
        Ok((finished.peak_rss_bytes > 0).then_some(finished.peak_rss_bytes))
    }

    /// Which test a result belongs to, if it was asked for and has not come yet.
    fn accept(&self, record: &Record, seen: &[Test]) -> Result<Test> {
        let (n_prompt, n_gen, depth) = (record.n_prompt, record.n_gen, record.n_depth);
        let test = match (n_prompt, n_gen) {
            (tokens, 0) => Test { phase: Phase::Prompt, tokens, depth },
            (0, tokens) => Test { phase: Phase::Generation, tokens, depth },
            _ => return Err(unasked(&format!("a test of {n_prompt} + {n_gen} tokens"))),
        };
        if !self.tests.contains(&test) {
            let at = if depth > 0 { format!(" at depth {depth}") } else { String::new() };
            return Err(unasked(&format!("a test of {n_prompt} + {n_gen} tokens{at}")));
        }
        if record.n_threads != self.threads {
            return Err(unasked(&format!("a test with {}", text::threads(record.n_threads))));
        }
        if record.samples_ns.len() != self.repetitions as usize {
            return Err(unasked(&format!("{} samples instead of {}", record.samples_ns.len(), self.repetitions)));
        }
        if seen.contains(&test) { Err(unasked("the same test twice")) } else { Ok(test) }
    }

    fn failed(&self, why: &str) -> Error {
        Error::new(codes::BENCH_FAILED, format!("llama-bench of `{}` failed: {why}", self.label))
    }
}

/// What it said before it failed; a result is no such thing.
fn last_words(finished: &Finished) -> &str {
    Some(finished.last_words()).filter(|words| !words.starts_with('{')).unwrap_or("it said nothing")
}

fn unasked(what: &str) -> Error {
    Error::new(codes::BENCH_FAILED, format!("llama-bench printed {what}, which it was not asked for"))
        .hint("extra arguments must not change prompts, generation, threads or repetitions")
}

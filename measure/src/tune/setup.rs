//! How llama.cpp is run, and what a knob changes about it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::report::Phase;
use crate::text;

/// A way to run llama.cpp: which build, and what it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The build and its options.
    #[serde(flatten)]
    pub run: Run,
    /// Threads for generation (`-t`).
    pub threads: usize,
    /// Threads for prompts (`-tb`).
    pub threads_batch: usize,
}

/// What a [`Setup`] says besides threads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Run {
    /// What people call the build; its id where it has one.
    pub build: String,
    /// Its `llama-bench`.
    pub llama_bench: PathBuf,
    /// Environment on top of ours, such as `GGML_CPU_VARIANT`.
    pub environment: BTreeMap<String, String>,
    /// llama-bench's long options without dashes, such as `repack`: `0`.
    pub options: BTreeMap<String, String>,
}

/// What one process runs: llama-bench knows only one thread count, so the phases may need a process each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Launch {
    /// The build and its options.
    #[serde(flatten)]
    pub run: Run,
    /// Threads.
    pub threads: usize,
}

/// A difference to a [`Setup`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Another build: its name and its `llama-bench`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<(String, PathBuf)>,
    /// Variables to set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Options to set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Threads for generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Threads for prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads_batch: Option<usize>,
}

impl Change {
    /// Sets an option of llama-bench, named without dashes.
    pub fn option(name: &str, value: &str) -> Change {
        Change { options: BTreeMap::from([(name.to_owned(), value.to_owned())]), ..Change::default() }
    }

    /// Sets a variable.
    pub fn variable(name: &str, value: &str) -> Change {
        Change { environment: BTreeMap::from([(name.to_owned(), value.to_owned())]), ..Change::default() }
    }
}

impl Setup {
    /// This setup with a change made.
    #[must_use]
    pub fn with(&self, change: &Change) -> Setup {
        let mut setup = self.clone();
        if let Some((build, llama_bench)) = &change.build {
            setup.run.build.clone_from(build);
            setup.run.llama_bench.clone_from(llama_bench);
        }
        setup.run.environment.extend(change.environment.clone());
        setup.run.options.extend(change.options.clone());
        setup.threads = change.threads.unwrap_or(setup.threads);
        setup.threads_batch = change.threads_batch.unwrap_or(setup.threads_batch);
        setup
    }

    /// In how many things it differs from another.
    pub(crate) fn differences(&self, other: &Setup) -> usize {
        let differ = |ours: &BTreeMap<String, String>, others: &BTreeMap<String, String>| {
            let names: BTreeSet<&String> = ours.keys().chain(others.keys()).collect();
            names.into_iter().filter(|name| ours.get(*name) != others.get(*name)).count()
        };
        usize::from(self.run.build != other.run.build)
            + differ(&self.run.environment, &other.run.environment)
            + differ(&self.run.options, &other.run.options)
            + usize::from(self.threads != other.threads)
            + usize::from(self.threads_batch != other.threads_batch)
    }

    /// The process that measures a phase of this setup.
    pub fn launch(&self, phase: Phase) -> Launch {
        let threads = match phase {
            Phase::Prompt => self.threads_batch,
            Phase::Generation => self.threads,
        };
        Launch { run: self.run.clone(), threads }
    }
}

impl Launch {
    /// The arguments that it adds to llama-bench's own.
    pub(crate) fn args(&self) -> Vec<OsString> {
        let threads = ["-t".into(), self.threads.to_string().into()];
        let options = self.run.options.iter().flat_map(|(name, value)| [format!("--{name}").into(), value.into()]);
        threads.into_iter().chain(options).collect()
    }
}

/// What differs from llama.cpp's defaults: `-t 2 -tb 2 --repack 0`.
impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.run.environment {
            write!(f, "{name}={} ", text::quoted(value))?;
        }
        write!(f, "-t {} -tb {}", self.threads, self.threads_batch)?;
        for (name, value) in &self.run.options {
            write!(f, " --{name} {}", text::quoted(value))?;
        }
        Ok(())
    }
}

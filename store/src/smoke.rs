//! Running the tools of a staged build once, each in a child process.
//!
//! A build that compiles can still die on this machine: an instruction that the CPU lacks, a library that is not there,
//! two copies of a C++ library. Such a build must not become the active one.

use std::num::NonZero;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use diagnostic::{Error, Result, codes};

use crate::parallel;

/// Enough for a dozen tools, also where there are a hundred CPUs.
const AT_ONCE: usize = 8;

/// How to see that one tool runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smoke {
    /// File name below `bin/`.
    pub tool: String,
    /// Its arguments, such as `--version`.
    pub args: Vec<String>,
    /// Exit statuses that mean that it works.
    pub accepted: Vec<i32>,
}

impl Smoke {
    /// Runs `tool` with `args`; an exit status out of `accepted` is a success.
    pub fn new(tool: &str, args: &[&str], accepted: &[i32]) -> Smoke {
        Smoke {
            tool: tool.to_owned(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            accepted: accepted.to_owned(),
        }
    }
}

/// What a build must pass before it is activated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmokePlan {
    /// One entry for each file in `bin/`, and none for others.
    pub tools: Vec<Smoke>,
    /// How long one tool may take.
    pub timeout: Duration,
}

/// Runs every tool of the build at `root`, with `workdir` as working directory; as many at once as there are CPUs, since
/// saying a version is mostly waiting for libraries to be mapped. Of several failures the first in the plan is told.
pub(crate) fn run(root: &Path, plan: &SmokePlan, workdir: &Path) -> Result<()> {
    let at_once = thread::available_parallelism().map_or(1, NonZero::get).min(AT_ONCE);
    parallel::for_each(&plan.tools, at_once, |smoke| run_one(root, smoke, plan.timeout, workdir))
}

fn run_one(root: &Path, smoke: &Smoke, timeout: Duration, workdir: &Path) -> Result<()> {
    let mut command = Command::new(root.join("bin").join(&smoke.tool));
    command
        .args(&smoke.args)
        .current_dir(workdir)
        // The build must be complete by itself. Cargo sets the first for everything that it runs.
        .env_remove("LD_LIBRARY_PATH")
        .env_remove("GGML_BACKEND_PATH");
    let shown = std::iter::once(&smoke.tool).chain(&smoke.args).cloned().collect::<Vec<_>>().join(" ");
    let failed = |how: &str| {
        Error::new(codes::SMOKE_FAILED, format!("`{shown}` does not run on this machine: {how}")).hint(advice(how))
    };
    let done = match process::run(&mut command, timeout) {
        Ok(done) => done,
        Err(error) if error.code() == codes::INTERRUPTED => return Err(error),
        Err(error) => return Err(failed(&error.to_string()).source(error)),
    };
    match done.status.code() {
        Some(code) if smoke.accepted.contains(&code) => Ok(()),
        _ => Err(failed(&format!("{}: {}", done.ended_by(), done.last_words()))),
    }
}

/// What a person can do, by what is known of the failure.
fn advice(how: &str) -> &'static str {
    if how.contains("SIGILL") {
        "the build needs instructions that this CPU, or its hypervisor, does not offer: build on this machine"
    } else if how.contains("shared librar") {
        "install the missing library, or build again without what needs it"
    } else {
        "the build was not installed and the active build is unchanged"
    }
}

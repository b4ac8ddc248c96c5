//! Has the build script of `llama-sys` compile by a plan, and shows how far it is.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use diagnostic::{Error, Result, codes};
use llama_build::plan::PLAN_VARIABLE;
use llama_build::{CompilePlan, driver, log, product};

use crate::ui::{self, Progress, Unit};
use crate::workspace;

/// The right to change what lies below `target/llama`; waits for another run that has it.
pub(crate) fn lock() -> Result<process::Lock> {
    let dir = workspace::target_dir();
    fs::create_dir_all(&dir).map_err(|error| Error::io("cannot create", &dir, error))?;
    process::Lock::acquire(&dir.join(".llama.lock"), ui::waiting("its build"))
}

/// Compiles llama.cpp; at once when the last build in this directory followed the same plan.
///
/// # Errors
/// The compiler's first error; an interruption. What was compiled is kept for the next run.
pub(crate) fn run(plan: &CompilePlan) -> Result<()> {
    if plan.is_built() && product::TOOLS.iter().all(|tool| plan.bin_dir().join(tool.name).is_file()) {
        ui::note("compiled  nothing changed since the last build");
        return Ok(());
    }
    let plan_file = plan.build_dir.join("plan.json");
    // Cargo compares time stamps: a plan that must be executed again must be a new file.
    let _ = fs::remove_file(&plan_file);
    plan.write(&plan_file)?;
    for stale in [plan.log(), plan.failure()] {
        let _ = fs::remove_file(stale);
    }
    let cargo_log = plan.build_dir.join("cargo.log");
    let output = File::create(&cargo_log).map_err(|error| Error::io("cannot create", &cargo_log, error))?;
    let mut cargo = process::spawn(
        Command::new(workspace::cargo())
            .args(["build", "--package", "llama-sys", "--features", "vendored", "--color", "never"])
            .current_dir(workspace::root())
            // A directory of its own: cargo locks one while a build script runs, and ours runs for minutes.
            .arg("--target-dir")
            .arg(workspace::llama_target_dir().join("cargo"))
            .env(PLAN_VARIABLE, &plan_file)
            .env_remove("LLAMA_LIB_DIR")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output),
    )?;
    let mut progress = Progress::new("compiling", Unit::Steps);
    let mut follower = Follower { path: plan.log(), offset: 0, partial: String::new() };
    let status = loop {
        follower.read_on(|line| {
            if let Some(step) = log::step(line) {
                progress.set(step.done, step.total, step.what);
            }
        });
        match cargo.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => {}
            Err(error) => return Err(Error::io("cannot wait for", &workspace::cargo(), error)),
        }
        if let Err(interrupted) = process::interrupt::check() {
            process::end(&mut cargo);
            return Err(interrupted);
        }
        thread::sleep(Duration::from_millis(100));
    };
    drop(progress);
    if status.success() {
        return Ok(());
    }
    Err(why_it_failed(plan, &cargo_log))
}

/// What the build script wrote down, or what cargo said when it did not get that far.
fn why_it_failed(plan: &CompilePlan, cargo_log: &Path) -> Error {
    if let Some(error) = driver::recorded_failure(plan) {
        return error;
    }
    let said = fs::read(cargo_log).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let first = said.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or("it does not say why");
    Error::new(codes::COMPILE_FAILED, format!("cargo cannot build `llama-sys`: {first}"))
        .hint(format!("the whole log is `{}`", workspace::short(cargo_log)))
}

/// Reads a growing file line by line.
struct Follower {
    path: PathBuf,
    offset: u64,
    partial: String,
}

impl Follower {
    fn read_on(&mut self, mut on_line: impl FnMut(&str)) {
        // The file appears some time after the build has started.
        let Ok(mut file) = File::open(&self.path) else { return };
        let mut bytes = Vec::new();
        if file.seek(SeekFrom::Start(self.offset)).and_then(|_| file.read_to_end(&mut bytes)).is_err() {
            return;
        }
        self.offset += bytes.len() as u64;
        self.partial.push_str(&String::from_utf8_lossy(&bytes));
        while let Some(end) = self.partial.find('\n') {
            on_line(&self.partial[..end]);
            self.partial.drain(..=end);
        }
    }
}

//! Compiles by a plan, and shows how far it is.
//!
//! A native build is made by the build script of `llama-sys`, as a Rust program that links llama.cpp would have it made. A
//! portable one is packed and never linked: this program itself runs the driver.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
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
pub(crate) fn native(plan: &CompilePlan) -> Result<()> {
    if is_there(plan, product::TOOLS.iter().map(|tool| tool.name)) {
        return Ok(());
    }
    let plan_file = write_anew(plan)?;
    let cargo_log = plan.build_dir.join("cargo.log");
    let output = File::create(&cargo_log).map_err(|error| Error::io("cannot create", &cargo_log, error))?;
    let status = follow(
        plan,
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
    if status.success() { Ok(()) } else { Err(why_it_failed(plan, &cargo_log)) }
}

/// Compiles a portable llama.cpp, or the part of one that the plan names; at once when the last build in this directory
/// followed the same plan. `environment` is what the build must not care about.
///
/// # Errors
/// As [`native`].
pub(crate) fn portable(plan: &CompilePlan, environment: &[(&str, &str)]) -> Result<()> {
    if is_there(plan, std::iter::empty()) {
        return Ok(());
    }
    let plan_file = write_anew(plan)?;
    let status = follow(plan, driver::command(plan, &plan_file)?.envs(environment.iter().copied()))?;
    driver::finish(plan, status)
}

fn is_there<'a>(plan: &CompilePlan, tools: impl Iterator<Item = &'a str>) -> bool {
    let built = plan.is_built() && tools.into_iter().all(|tool| plan.bin_dir().join(tool).is_file());
    if built {
        ui::note("compiled  nothing changed since the last build");
    }
    built
}

fn write_anew(plan: &CompilePlan) -> Result<PathBuf> {
    let plan_file = plan.build_dir.join("plan.json");
    // Cargo compares time stamps: a plan that must be executed again must be a new file.
    let _ = fs::remove_file(&plan_file);
    plan.write(&plan_file)?;
    for stale in [plan.log(), plan.failure()] {
        let _ = fs::remove_file(stale);
    }
    Ok(plan_file)
}

/// Runs a command that compiles by the plan, and shows what its log says meanwhile.
fn follow(plan: &CompilePlan, command: &mut Command) -> Result<ExitStatus> {
    let program = PathBuf::from(command.get_program());
    let mut child = process::spawn(command)?;
    let mut progress = Progress::new("compiling", Unit::Steps);
    let mut follower = Follower { path: plan.log(), offset: 0, partial: String::new() };
    let status = loop {
        follower.read_on(|line| {
            if let Some(step) = log::step(line) {
                progress.set(step.done, step.total, step.what);
            }
        });
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => {}
            Err(error) => return Err(Error::io("cannot wait for", &program, error)),
        }
        if let Err(interrupted) = process::interrupt::check() {
            process::end(&mut child);
            return Err(interrupted);
        }
        thread::sleep(Duration::from_millis(100));
    };
    drop(progress);
    Ok(status)
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

//! `test`: everything that must be true before a commit lands, on a machine that has only Rust, gcc and python3.
//!
//! What a test needs is installed here: Python packages into a virtual environment of our own, llama.cpp into a store of
//! our own, and by root a few programs of the system. Quick checks come first.

mod fuzz;
mod packages;
mod sanitizer;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Args;
use diagnostic::{Error, Result, codes};
use xshell::{Shell, cmd};

use crate::environment::{TEST_HOME, TEST_PYTHON};
use crate::{bindings, ui, workspace};

/// Run every check: formatting, lints, generated files, tests, doc tests, and a real llama.cpp from end to end
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Also what takes too long for every commit: the whole portable build again, compared file by file; `llama` with a
    /// llama.cpp that checks every access to memory; ten million inputs for the reader of models
    #[arg(long)]
    full: bool,
    /// Say what would be run and stop
    #[arg(long)]
    dry_run: bool,
}

/// Upstream's reader of GGUF files, and what it stands on; exact versions, so that a failure is ours.
const PYTHON_REQUIREMENTS: &str = include_str!("../../../gguf/tests/requirements.txt");

/// One step: what it is called, and what is run.
struct Step {
    name: &'static str,
    run: fn(&Setting) -> Result<()>,
}

/// Where the parts that the tests need are installed.
struct Setting {
    python: PathBuf,
    home: PathBuf,
    /// The layout that the portable build is packed into.
    layout: PathBuf,
    full: bool,
}

const STEPS: &[Step] = &[
    Step { name: "formatting", run: |_| cargo("formatting", &["fmt", "--all", "--check"], &[]) },
    Step {
        name: "lints",
        run: |_| cargo("lints", &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"], &[]),
    },
    Step { name: "generated files", run: |_| xtask("generated files", &["codegen", "--check"], &[]) },
    Step { name: "system packages", run: |_| packages::install() },
    Step { name: "fuzzing", run: fuzz::run },
    Step { name: "python packages", run: |setting| install_python_packages(&setting.python) },
    Step { name: "portable llama.cpp", run: install_portable },
    Step { name: "native llama.cpp", run: install_native },
    Step { name: "tests", run: run_tests },
];

/// Those of `--full`, after all others.
const LONG_STEPS: &[Step] = &[Step { name: "address sanitizer", run: sanitizer::run }];

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        let dir = workspace::target_dir().join("test");
        let setting = Setting {
            python: dir.join("venv/bin/python3"),
            home: dir.join("home"),
            layout: dir.join("oci"),
            full: self.full,
        };
        let steps: Vec<&Step> = STEPS.iter().chain(if self.full { LONG_STEPS } else { &[] }).collect();
        if self.dry_run {
            return steps.iter().try_for_each(|step| ui::print(step.name));
        }
        let start = Instant::now();
        for step in &steps {
            process::interrupt::check()?;
            ui::note(format!("checking  {}", step.name));
            let step_start = Instant::now();
            (step.run)(&setting)?;
            ui::note(format!("passed    {} in {} s", step.name, step_start.elapsed().as_secs()));
        }
        ui::note(format!("passed    all {} checks in {} s", steps.len(), start.elapsed().as_secs()));
        Ok(())
    }
}

/// Runs cargo in the workspace, with its output for the person to see.
fn cargo(what: &str, arguments: &[&str], environment: &[(&str, &Path)]) -> Result<()> {
    let shell = Shell::new().map_err(|error| failed(what, &error.to_string()))?;
    shell.change_dir(workspace::root());
    let program = workspace::cargo();
    cmd!(shell, "{program} {arguments...}")
        .envs(environment.iter().copied())
        // Tests talk to servers of their own; a proxy is not asked for those.
        .env("NO_PROXY", "127.0.0.1,localhost")
        .quiet()
        .run()
        .or_else(|error| {
            process::interrupt::check()?;
            Err(failed(what, &error.to_string()))
        })
}

/// Runs a command of ours as a person would.
fn xtask(what: &str, arguments: &[&str], environment: &[(&str, &Path)]) -> Result<()> {
    cargo(what, &[&["xtask"], arguments].concat(), environment)
}

/// Creates the virtual environment, unless one with the same requirements is there.
fn install_python_packages(python: &Path) -> Result<()> {
    let venv = python.ancestors().nth(2).expect("the interpreter lies in `bin/` of its environment");
    let stamp = venv.join("requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == PYTHON_REQUIREMENTS) && python.is_file() {
        return Ok(());
    }
    let what = "python packages";
    let run = |command: &mut Command| -> Result<()> {
        let done = process::run(command, Duration::from_secs(600))?;
        if done.status.success() { Ok(()) } else { Err(failed(what, done.last_words())) }
    };
    let _ = fs::remove_dir_all(venv);
    run(Command::new("python3").args(["-m", "venv"]).arg(venv))
        .map_err(|error| error.hint("python3 needs its `venv` module: `apt-get install python3-venv` on Debian"))?;
    let pending = venv.join("pending.txt");
    fs::write(&pending, PYTHON_REQUIREMENTS).map_err(|error| Error::io("cannot write", &pending, error))?;
    run(Command::new(python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "-r"])
        .arg(&pending))?;
    fs::rename(&pending, &stamp).map_err(|error| Error::io("cannot write", &stamp, error))
}

/// Packs the real thing, builds a part of it again elsewhere and compares, with `--full` the whole, and installs it from its
/// layout into a store that only the tests use.
fn install_portable(setting: &Setting) -> Result<()> {
    let layout = setting.layout.to_string_lossy();
    let again = if setting.full { "whole" } else { "part" };
    let home = [("CARAVAN_HOME", setting.home.as_path())];
    xtask("package", &["package", "--out", &layout, "--check-reproducible", again], &home)?;
    xtask("install-fast", &["install-fast", "--allow-unsigned", &format!("oci:{layout}")], &home)
}

/// Installs the real thing, as the README says, into the same store, where it is the active build.
fn install_native(setting: &Setting) -> Result<()> {
    xtask("install-optimized", &["install-optimized"], &[("CARAVAN_HOME", &setting.home)])
}

/// All tests, with the crate `llama` linked to the native build that was just installed.
fn run_tests(setting: &Setting) -> Result<()> {
    let libclang = bindings::libclang(&setting.home.join("cache/tools"))?;
    let lib = setting.home.join("lib");
    // Examples in documentation are programs of their own, which cargo gives no path to libraries.
    let rpath = PathBuf::from(format!("-C link-arg=-Wl,-rpath,{}", lib.display()));
    let environment: [(&str, &Path); 5] = [
        (TEST_PYTHON, setting.python.as_path()),
        (TEST_HOME, &setting.home),
        (bindings::LIBCLANG, &libclang),
        ("LLAMA_LIB_DIR", &lib),
        ("RUSTDOCFLAGS", &rpath),
    ];
    cargo("tests", &["test", "--workspace"], &environment)
}

fn failed(what: &str, why: &str) -> Error {
    Error::new(codes::CHECK_FAILED, format!("{what}: {why}"))
}

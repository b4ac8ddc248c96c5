//! Executes a [`CompilePlan`] with the `cmake` crate.
//!
//! Three properties of that crate shape this file. It panics when a step fails, so it runs in a child process of its own
//! and a failure is an exit status. It writes to our standard output, which cargo keeps to itself until the end, so the
//! child's output goes to a log that others can follow. It takes the build type from cargo's profile, so we always say
//! Release.

use std::env;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use diagnostic::{CODES, Error, Result, codes};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::plan::{CompilePlan, Wrapper};
use crate::{gate, log};

/// Set in the child process that may panic; its value is the path of the plan.
const CHILD_VARIABLE: &str = "LLAMA_BUILD_CHILD";

/// Variables with which compilers, CMake and llama.cpp's own scripts let the environment change a build. The first turns
/// upstream's vector instructions off.
const SHAPING_VARIABLES: &[&str] = &[
    "SOURCE_DATE_EPOCH",
    "CFLAGS",
    "CXXFLAGS",
    "CPPFLAGS",
    "LDFLAGS",
    "CPATH",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "LIBRARY_PATH",
    "CMAKE_PREFIX_PATH",
    "CMAKE_TOOLCHAIN_FILE",
    "CMAKE_GENERATOR",
    "GGML_BACKEND_DIR",
];

/// The target triple that this program was compiled for.
const TARGET: &str = env!("LLAMA_BUILD_TARGET");

/// The directory of our `CMakeLists.txt` for a kind of build.
pub(crate) fn cmake_project(kind: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("cmake");
    if kind == "portable" { root.join("portable") } else { root }
}

/// The files of those projects, as they were when this program was compiled.
const PROJECTS: [(&str, &[&[u8]]); 2] = [
    (
        "native",
        &[
            include_bytes!("../cmake/CMakeLists.txt"),
            include_bytes!("../cmake/prefixed_openblas.h"),
            include_bytes!("../cmake/unity.cmake"),
        ],
    ),
    (
        "portable",
        &[
            include_bytes!("../cmake/portable/CMakeLists.txt"),
            include_bytes!("../cmake/portable/ggml.map"),
            include_bytes!("../cmake/portable/llama.map"),
            include_bytes!("../cmake/portable/tool.c"),
            include_bytes!("../cmake/portable/tools.cpp"),
            include_bytes!("../cmake/unity.cmake"),
        ],
    ),
];

/// Digest of the project for a kind of build.
pub(crate) fn project_id(kind: &str) -> String {
    let mut hasher = Sha256::new();
    for file in PROJECTS.iter().filter(|(name, _)| *name == kind).flat_map(|(_, files)| files.iter()) {
        hasher.update(file.len().to_le_bytes());
        hasher.update(file);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compiles by the plan and checks the result. The calling program must start with [`run_if_child`].
///
/// # Errors
/// As [`command`] and [`finish`].
pub fn compile(plan_file: &Path) -> Result<CompilePlan> {
    let plan = CompilePlan::read(plan_file)?;
    let mut child = command(&plan, plan_file)?;
    let status = child.status().map_err(|error| Error::io("cannot start", Path::new(child.get_program()), error))?;
    finish(&plan, status)?;
    Ok(plan)
}

/// The command that compiles by a plan, which `plan_file` holds: this program again, as a child. For callers that follow
/// the log, or must be able to end it.
///
/// # Errors
/// The build directory cannot be written.
pub fn command(plan: &CompilePlan, plan_file: &Path) -> Result<Command> {
    forget_stale_results(plan)?;
    for stale in [plan.built_stamp(), plan.failure()] {
        let _ = fs::remove_file(stale);
    }
    fs::create_dir_all(&plan.build_dir).map_err(|error| Error::io("cannot create", &plan.build_dir, error))?;
    let log_file = File::create(plan.log()).map_err(|error| Error::io("cannot create", &plan.log(), error))?;
    let log_copy = log_file.try_clone().map_err(|error| Error::io("cannot write", &plan.log(), error))?;
    write_wrappers(plan)?;
    let program = env::current_exe().map_err(|error| Error::io("cannot find", Path::new("/proc/self/exe"), error))?;
    let mut child = Command::new(&program);
    child
        .env(CHILD_VARIABLE, plan_file)
        .env("CMAKE", &plan.cmake)
        .env("NUM_JOBS", plan.jobs.to_string())
        // llama.cpp asks git for its commit and would be told ours.
        .env("GIT_CEILING_DIRECTORIES", plan.source.parent().unwrap_or(&plan.source))
        // The log is searched for errors, in English.
        .env("LC_ALL", "C")
        .env("RUST_BACKTRACE", "0")
        .stdout(log_file)
        .stderr(log_copy);
    // The plan is all that may shape the build.
    for variable in SHAPING_VARIABLES {
        child.env_remove(variable);
    }
    Ok(child)
}

/// What comes after the command has ended: checks, and the stamp that says that this plan is built.
///
/// # Errors
/// [`codes::COMPILE_FAILED`] with the compiler's first error and where the log is, [`codes::GATE_FAILED`] when the
/// result is not what was planned.
pub fn finish(plan: &CompilePlan, status: ExitStatus) -> Result<()> {
    if !status.success() {
        return Err(failure(plan));
    }
    gate::check(plan)?;
    plan.write(&plan.built_stamp())
}

/// Writes the scripts that stand in for compilers, unless they are there: a new time stamp would compile everything again.
fn write_wrappers(plan: &CompilePlan) -> Result<()> {
    for Wrapper { path, text } in &plan.wrappers {
        if fs::read_to_string(path).is_ok_and(|old| old == *text) {
            continue;
        }
        let dir = path.parent().unwrap_or(path);
        fs::create_dir_all(dir)
            .and_then(|()| fs::write(path, text))
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o755)))
            .map_err(|error| Error::io("cannot write", path, error))?;
    }
    Ok(())
}

/// To be called first thing in `main`: in the child process it runs CMake and never returns.
pub fn run_if_child() {
    let Some(plan_file) = env::var_os(CHILD_VARIABLE) else { return };
    let plan = CompilePlan::read(Path::new(&plan_file)).expect("the parent process has just read this plan");
    let mut config = cmake::Config::new(cmake_project(&plan.kind));
    if env::var_os("TARGET").is_none() {
        // Not below a build script: cargo has said nothing.
        config.target(TARGET).host(TARGET);
    }
    config
        .generator("Ninja")
        .profile("Release")
        .out_dir(&plan.build_dir)
        .no_default_flags(true)
        .define("CMAKE_MAKE_PROGRAM", &plan.ninja)
        .define("CMAKE_C_COMPILER", &plan.c_compiler)
        .define("CMAKE_CXX_COMPILER", &plan.cxx_compiler)
        .define("CMAKE_ASM_COMPILER", &plan.c_compiler)
        .define("LLAMA_SOURCE_DIR", &plan.source)
        .build_target(&plan.target);
    for archiver in
        plan.wrappers.iter().filter(|wrapper| wrapper.path.ends_with("ar") || wrapper.path.ends_with("ranlib"))
    {
        let name = archiver.path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        config.define(format!("CMAKE_{name}"), &archiver.path);
    }
    for (key, value) in &plan.definitions {
        config.define(key, value);
    }
    config.build();
    // What an earlier plan built and this one does not (a backend, say) must not be taken along.
    let cleaned = Command::new(&plan.ninja).arg("-C").arg(plan.cmake_dir()).args(["-t", "cleandead"]).status();
    std::process::exit(if cleaned.is_ok_and(|status| status.success()) { 0 } else { 1 });
}

/// What went wrong, as the compiler said it.
fn failure(plan: &CompilePlan) -> Error {
    let text = fs::read(plan.log()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let said = log::first_error(&text).unwrap_or_else(|| {
        let tail: Vec<&str> = text.lines().rev().filter(|line| !log::is_noise(line)).take(5).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    });
    let error = Error::new(codes::COMPILE_FAILED, format!("llama.cpp did not compile:\n{said}"));
    let error = match log::hint(&said) {
        Some(hint) => error.hint(hint),
        None => error,
    };
    error.hint(format!("the whole log is `{}`", plan.log().display()))
}

/// An error as JSON: code, message, hints.
#[derive(Serialize, Deserialize)]
struct Record {
    code: String,
    message: String,
    hints: Vec<String>,
}

/// Writes an error down for another process.
pub(crate) fn record(error: &Error, path: &Path) -> std::io::Result<()> {
    let record =
        Record { code: error.code().name.to_owned(), message: error.to_string(), hints: error.hints().to_vec() };
    fs::write(path, serde_json::to_string_pretty(&record).expect("a record holds only strings"))
}

/// Why the last build by this plan failed, as the build script wrote it down; `None` when it did not get that far.
pub fn recorded_failure(plan: &CompilePlan) -> Option<Error> {
    let record: Record = serde_json::from_slice(&fs::read(plan.failure()).ok()?).ok()?;
    let code = CODES.iter().copied().find(|code| code.name == record.code)?;
    Some(record.hints.into_iter().fold(Error::new(code, record.message), Error::hint))
}

/// Removes what this plan must not find: everything when it is made with other compilers or for another CPU, CMake's cache
/// when a definition vanished, since CMake keeps one that is no longer given. Objects then stay.
fn forget_stale_results(plan: &CompilePlan) -> Result<()> {
    let configured = plan.build_dir.join("configured.json");
    let old = CompilePlan::read(&configured).ok();
    let as_before = |same: fn(&CompilePlan, &CompilePlan) -> bool| old.as_ref().is_some_and(|old| same(old, plan));
    let cmake_dir = plan.cmake_dir();
    if !as_before(|old, new| {
        // Not the wrappers: where their compiler lies makes no difference, and which it is stands in `made_with`.
        (&old.made_with, &old.c_compiler, &old.cxx_compiler) == (&new.made_with, &new.c_compiler, &new.cxx_compiler)
    }) && cmake_dir.exists()
    {
        fs::remove_dir_all(&cmake_dir).map_err(|error| Error::io("cannot remove", &cmake_dir, error))?;
    }
    let cache = cmake_dir.join("CMakeCache.txt");
    if !as_before(|old, new| old.definitions.keys().all(|key| new.definitions.contains_key(key))) && cache.exists() {
        fs::remove_file(&cache).map_err(|error| Error::io("cannot remove", &cache, error))?;
    }
    plan.write(&configured)
}

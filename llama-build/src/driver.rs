//! Executes a [`CompilePlan`] with the `cmake` crate.
//!
//! Three properties of that crate shape this file. It panics when a step fails, so it runs in a child process of its own
//! and a failure is an exit status. It writes to our standard output, which cargo keeps to itself until the end, so the
//! child's output goes to a log that others can follow. It takes the build type from cargo's profile, so we always say
//! Release.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use diagnostic::{Error, Result, codes};

use crate::plan::CompilePlan;
use crate::{gate, log};

/// Set in the child process that may panic; its value is the path of the plan.
const CHILD_VARIABLE: &str = "LLAMA_BUILD_CHILD";

/// The directory of our `CMakeLists.txt`.
pub fn cmake_project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cmake")
}

/// Compiles by the plan and checks the result. The calling program must start with [`run_if_child`].
///
/// # Errors
/// [`codes::COMPILE_FAILED`] with the compiler's first error and where the log is, [`codes::GATE_FAILED`] when the
/// result is not what was planned.
pub fn compile(plan_file: &Path) -> Result<CompilePlan> {
    let plan = CompilePlan::read(plan_file)?;
    forget_stale_definitions(&plan)?;
    let _ = fs::remove_file(plan.built_stamp());
    fs::create_dir_all(&plan.build_dir).map_err(|error| Error::io("cannot create", &plan.build_dir, error))?;
    let log_file = File::create(plan.log()).map_err(|error| Error::io("cannot create", &plan.log(), error))?;
    let log_copy = log_file.try_clone().map_err(|error| Error::io("cannot write", &plan.log(), error))?;
    let program = env::current_exe().map_err(|error| Error::io("cannot find", Path::new("this program"), error))?;
    let status = Command::new(program)
        .env(CHILD_VARIABLE, plan_file)
        .env("CMAKE", &plan.cmake)
        .env("NUM_JOBS", plan.jobs.to_string())
        // llama.cpp asks git for its commit and would be told ours.
        .env("GIT_CEILING_DIRECTORIES", plan.source.parent().unwrap_or(&plan.source))
        // A set variable turns upstream's vector defaults off; we pass every option, and leave it no other influence.
        .env_remove("SOURCE_DATE_EPOCH")
        .stdout(log_file)
        .stderr(log_copy)
        .status()
        .map_err(|error| Error::io("cannot start", Path::new("the build"), error))?;
    if !status.success() {
        return Err(failure(&plan));
    }
    gate::check(&plan)?;
    plan.write(&plan.built_stamp())?;
    Ok(plan)
}

/// To be called first thing in `main`: in the child process it runs CMake and never returns.
pub fn run_if_child() {
    let Some(plan_file) = env::var_os(CHILD_VARIABLE) else { return };
    let plan = CompilePlan::read(Path::new(&plan_file)).expect("the parent process has just read this plan");
    let mut config = cmake::Config::new(cmake_project());
    config
        .generator("Ninja")
        .profile("Release")
        .out_dir(&plan.build_dir)
        .no_default_flags(true)
        .define("CMAKE_MAKE_PROGRAM", &plan.ninja)
        .define("CMAKE_C_COMPILER", &plan.c_compiler)
        .define("CMAKE_CXX_COMPILER", &plan.cxx_compiler)
        .define("LLAMA_SOURCE_DIR", &plan.source)
        .build_target("caravan");
    for (key, value) in &plan.definitions {
        config.define(key, value);
    }
    config.build();
    std::process::exit(0);
}

/// What went wrong, as the compiler said it.
pub fn failure(plan: &CompilePlan) -> Error {
    let text = fs::read(plan.log()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let said = log::first_error(&text).unwrap_or_else(|| {
        let tail: Vec<&str> = text.lines().rev().take(5).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    });
    let error = Error::new(codes::COMPILE_FAILED, format!("llama.cpp did not compile:\n{said}"));
    let error = match log::hint(&said) {
        Some(hint) => error.hint(hint),
        None => error,
    };
    error.hint(format!("the whole log is `{}`", plan.log().display()))
}

/// CMake keeps a definition that is no longer given. When one vanished from the plan since the last configuration, the
/// cache is removed: what is compiled stays, only the configuration is made anew.
fn forget_stale_definitions(plan: &CompilePlan) -> Result<()> {
    let configured = plan.build_dir.join("configured.json");
    let stale = match CompilePlan::read(&configured) {
        Ok(old) => {
            old.definitions.keys().any(|key| !plan.definitions.contains_key(key))
                || (&old.c_compiler, &old.cxx_compiler) != (&plan.c_compiler, &plan.cxx_compiler)
        }
        // Never configured, or by an older version of this code.
        Err(_) => true,
    };
    let cache = plan.cmake_dir().join("CMakeCache.txt");
    if stale && cache.exists() {
        fs::remove_file(&cache).map_err(|error| Error::io("cannot remove", &cache, error))?;
    }
    plan.write(&configured)
}

//! The build that this program is part of, and where its measurements are.

use std::env;
use std::path::{Path, PathBuf};

use build_info::{BuildInfo, BuildKind, HostFingerprint, Tuning};
use diagnostic::{Error, Result, codes};
use gguf::Header;
use host::{Cpu, Host};
use planner::class;
use store::{Build, Measured};

use crate::environment::Variables;
use crate::ui;

/// Names another build than the one that this program lies in.
const BUILD: &str = "CARAVAN_BUILD";
/// Names the store, where measurements are kept, when the build does not lie in it.
const HOME: &str = "CARAVAN_HOME";

/// The build that `CARAVAN_BUILD` names, or the one that this program lies in.
///
/// # Errors
/// [`codes::NO_SUCH_BUILD`]: it lies in none. Its build information is damaged, or newer than this program.
pub(crate) fn find(variables: &Variables) -> Result<Build> {
    let dir = match variables.get(BUILD).filter(|dir| !dir.is_empty()).map(PathBuf::from) {
        Some(dir) => dir.canonicalize().map_err(|error| Error::io(&format!("`{BUILD}`: cannot find"), &dir, error))?,
        None => own_directory()?,
    };
    Build::open(&dir).map_err(|error| match error.code() == codes::NO_SUCH_BUILD {
        true => error.hint(format!("run the `caravan` of an installed build, or name one with `{BUILD}`")),
        false => error,
    })
}

/// Two levels above this executable, links followed: `<build>/bin/caravan`.
fn own_directory() -> Result<PathBuf> {
    let exe = env::current_exe().and_then(|exe| exe.canonicalize());
    let exe = exe.map_err(|error| Error::io("cannot find", Path::new("this program"), error))?;
    Ok(exe.ancestors().nth(2).unwrap_or(Path::new("/")).to_owned())
}

/// The store that a person names.
fn home(variables: &Variables) -> Option<&Path> {
    variables.get(HOME).filter(|home| !home.is_empty()).map(Path::new)
}

/// A native build runs on the CPU that it was compiled for, and on those that have all of its features.
///
/// # Errors
/// [`codes::VARIANT_UNAVAILABLE`], with the features that this CPU lacks.
pub(crate) fn runs_on(info: &BuildInfo, cpu: &Cpu) -> Result<()> {
    if info.build_type != BuildKind::Native {
        return Ok(());
    }
    let needed = info.cpu_flags.iter().flatten();
    let missing: Vec<&str> = needed.map(String::as_str).filter(|feature| !cpu.has(feature)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let of = |model: &Option<String>, unknown: &str| model.clone().unwrap_or_else(|| unknown.to_owned());
    let message = format!(
        "this build was compiled for {}; {} lacks `{}`",
        of(&info.cpu_model, "another CPU"),
        of(&cpu.model, "this one"),
        missing.join("`, `")
    );
    Err(Error::new(codes::VARIANT_UNAVAILABLE, message)
        .hint("a portable build runs on every x86-64: `cargo xtask install-fast`"))
}

/// What was measured with a model like this one, if it is known and can be read: damaged measurements cost speed, and should
/// not cost the service.
pub(crate) fn measured(build: &Build, host: &Host, header: &Header, variables: &Variables) -> Option<Measured> {
    let class = class::of(header).ok()?;
    build.measured(&fingerprint(host), &class, home(variables)).unwrap_or_else(|error| not_used(&error))
}

/// All that was measured, likewise.
pub(crate) fn tuning(build: &Build, host: &Host, variables: &Variables) -> Option<Tuning> {
    build.tuning(&fingerprint(host), home(variables)).unwrap_or_else(|error| not_used(&error))
}

fn fingerprint(host: &Host) -> HostFingerprint {
    host.fingerprint().parse().expect("a host's fingerprint has the form that build_info asks for")
}

fn not_used<T>(error: &Error) -> Option<T> {
    ui::note(format!("what was measured is not used: {error}"));
    None
}

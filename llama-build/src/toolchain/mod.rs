//! What this machine can build with. Every tool is probed by running it: a name on `PATH` proves nothing.

mod distribution;
mod probe;
pub mod pypi;

use std::fs;
use std::path::{Path, PathBuf};

use diagnostic::{Error, Result, codes};

pub use probe::{compile_and_run, version_of};

/// A program that has been run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Absolute path.
    pub path: PathBuf,
    /// As it reported it, `12.2.0`.
    pub version: String,
}

/// What a build needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// The C compiler.
    pub c: Program,
    /// The C++ compiler.
    pub cxx: Program,
    /// CMake, the system's or ours.
    pub cmake: Program,
    /// Ninja, the system's or ours.
    pub ninja: Program,
    /// Used when present.
    pub ccache: Option<Program>,
    /// Version of the system's OpenSSL, when its development files are installed.
    pub openssl: Option<String>,
    /// Tools of ours that are not here yet; [`fetch`] gets them.
    pub to_fetch: Vec<&'static pypi::Wheel>,
}

/// What a portable build needs: pinned, whatever the system has, since the bytes must be the same everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hermetic {
    /// The compiler, with its own C and C++ library.
    pub zig: Program,
    /// CMake.
    pub cmake: Program,
    /// Ninja.
    pub ninja: Program,
    /// Those that are not here yet; [`fetch`] gets them.
    pub to_fetch: Vec<&'static pypi::Wheel>,
}

/// Looks for the pinned tools in `tools_dir`; changes nothing.
///
/// # Errors
/// [`codes::TOOL_MISSING`]: something must be fetched, and there is no python3 with pip.
pub fn hermetic(tools_dir: &Path) -> Result<Hermetic> {
    let mut to_fetch = Vec::new();
    let mut tool = |wheel: &'static pypi::Wheel| {
        let path = wheel.file(&wheel.dir(tools_dir));
        if probe::runs(&path).is_err() {
            to_fetch.push(wheel);
        }
        Program { path, version: wheel.version.to_owned() }
    };
    let (zig, cmake, ninja) = (tool(&pypi::ZIG), tool(&pypi::CMAKE), tool(&pypi::NINJA));
    if !to_fetch.is_empty()
        && let Err(error) = probe::pip()
    {
        let error = Error::new(codes::TOOL_MISSING, format!("no usable python3 with pip: {error}"));
        return Err(match distribution::install_command(&[distribution::Part::Pip]) {
            Some(command) => error.hint(format!("install what is missing with `{command}`")),
            None => error.hint("install python3 with pip"),
        });
    }
    Ok(Hermetic { zig, cmake, ninja, to_fetch })
}

/// What a person may say about the tools.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// C compiler; otherwise `CC`, otherwise the system's.
    pub cc: Option<PathBuf>,
    /// C++ compiler; otherwise `CXX`, otherwise the system's.
    pub cxx: Option<PathBuf>,
    /// Where fetched tools are kept.
    pub tools_dir: PathBuf,
    /// Whether tools may be fetched.
    pub may_fetch: bool,
}

/// Oldest CMake that knows all that our project file uses; upstream asks for 3.14.
const OLDEST_CMAKE: (u32, u32) = (3, 18);
/// Oldest ninja that understands what that CMake writes.
const OLDEST_NINJA: (u32, u32) = (1, 8);
/// llama.cpp is C++17 with `std::filesystem` in the standard library itself.
const OLDEST_GCC: (u32, u32) = (9, 0);
const OLDEST_CLANG: (u32, u32) = (9, 0);

/// Probes everything; changes nothing. When the system has no CMake or ninja that is good enough, the answer names ours
/// and says that it must be fetched.
///
/// # Errors
/// [`codes::TOOL_MISSING`] naming everything that is missing at once, with the command that installs it here.
pub fn probe(wishes: &Wishes) -> Result<Toolchain> {
    let (c, cxx) = compilers(wishes)?;
    let mut to_fetch = Vec::new();
    let cmake = build_tool("cmake", OLDEST_CMAKE, &pypi::CMAKE, wishes, &mut to_fetch)?;
    let ninja = build_tool("ninja", OLDEST_NINJA, &pypi::NINJA, wishes, &mut to_fetch)?;
    let ccache = probe::on_path("ccache").and_then(|path| probe::program(path).ok());
    let openssl = compile_and_run(&c, "c", OPENSSL_PROBE, &["-lssl".to_owned(), "-lcrypto".to_owned()]).ok();
    Ok(Toolchain { c, cxx, cmake, ninja, ccache, openssl, to_fetch })
}

/// Fetches tools and runs each once.
///
/// # Errors
/// [`codes::TOOL_FETCH`] with what pip said; [`codes::TOOL_MISSING`] when the fetched tool does not run here.
pub fn fetch(wheels: &[&'static pypi::Wheel], tools_dir: &Path, note: &mut dyn FnMut(String)) -> Result<()> {
    for wheel in wheels {
        // On the list although it is there: it does not run, and would be taken for fetched.
        let dir = wheel.dir(tools_dir);
        if wheel.file(&dir).is_file() && probe::runs(&wheel.file(&dir)).is_err() {
            fs::remove_dir_all(&dir).map_err(|error| Error::io("cannot remove", &dir, error))?;
        }
        let dir = pypi::fetch(wheel, tools_dir, note)?;
        probe::runs(&wheel.file(&dir))?;
    }
    Ok(())
}

/// The compilers, and python3 with pip, which fetches the pinned source and tools: looked at together, so that a person
/// installs once.
fn compilers(wishes: &Wishes) -> Result<(Program, Program)> {
    let c = probe::compiler("C", wishes.cc.as_deref());
    let cxx = probe::compiler("C++", wishes.cxx.as_deref());
    let mut missing = Vec::new();
    let mut reasons = Vec::new();
    let mut hints = Vec::new();
    let found = [("C", &c, &wishes.cc, distribution::Part::C), ("C++", &cxx, &wishes.cxx, distribution::Part::Cxx)];
    for (language, found, named, part) in found {
        let Err(error) = found else { continue };
        reasons.push(format!("no usable {language} compiler: {error}"));
        if named.is_some() {
            hints.push(format!("name another {language} compiler, or none: the system's is found by itself"));
        } else if error.hints().is_empty() {
            missing.push(part);
        } else {
            // It is there; installing it again would change nothing.
            hints.extend_from_slice(error.hints());
        }
    }
    if let Err(error) = probe::pip() {
        missing.push(distribution::Part::Pip);
        reasons.push(format!("no usable python3 with pip: {error}"));
    }
    if !reasons.is_empty() {
        if !missing.is_empty() {
            hints.push(match distribution::install_command(&missing) {
                Some(command) => format!("install what is missing with `{command}`"),
                None => "install gcc, g++ and python3 with pip".to_owned(),
            });
        }
        let error = Error::new(codes::TOOL_MISSING, reasons.join("; "));
        return Err(hints.into_iter().fold(error, Error::hint));
    }
    let (c, cxx) = (c?, cxx?);
    for (compiler, language, flag, probe) in [(&c, "c", "-std=c11", C_PROBE), (&cxx, "c++", "-std=c++17", CXX_PROBE)] {
        compile_and_run(compiler, language, probe, &[flag.to_owned()]).map_err(|error| {
            error
                .context(format!("`{}` cannot compile and run a small {language} program", compiler.path.display()))
                .hint("name a C compiler with `--cc` and a C++ compiler with `--cxx`")
        })?;
    }
    Ok((c, cxx))
}

/// The system's tool if it is new enough, else the pinned one, put on the list if it is not here yet.
fn build_tool(
    name: &str,
    oldest: (u32, u32),
    wheel: &'static pypi::Wheel,
    wishes: &Wishes,
    to_fetch: &mut Vec<&'static pypi::Wheel>,
) -> Result<Program> {
    let reason = match probe::on_path(name).map(probe::program) {
        Some(Ok(found)) if probe::at_least(&found.version, oldest) => return Ok(found),
        Some(Ok(found)) => format!("`{name}` {} is older than {}.{}", found.version, oldest.0, oldest.1),
        Some(Err(error)) => error.to_string(),
        None => format!("`{name}` is not installed"),
    };
    let ours = Program { path: wheel.file(&wheel.dir(&wishes.tools_dir)), version: wheel.version.to_owned() };
    if version_of(&ours.path).is_ok() {
        return Ok(ours);
    }
    if !wishes.may_fetch {
        return Err(Error::new(codes::TOOL_MISSING, reason)
            .hint(format!("install {name} {}.{} or newer, or leave out `--no-fetch-tools`", oldest.0, oldest.1)));
    }
    to_fetch.push(wheel);
    Ok(ours)
}

/// Whether a compiler is new enough; says what is needed when it is not.
fn check_age(compiler: &Program, is_clang: bool) -> Result<()> {
    let (name, oldest) = if is_clang { ("clang", OLDEST_CLANG) } else { ("gcc", OLDEST_GCC) };
    if probe::at_least(&compiler.version, oldest) {
        return Ok(());
    }
    Err(Error::new(
        codes::TOOL_MISSING,
        format!(
            "`{}` is {name} {}; llama.cpp needs {name} {} or newer",
            compiler.path.display(),
            compiler.version,
            oldest.0
        ),
    )
    .hint("name another with `--cc` and `--cxx`"))
}

/// The version of the system's OpenSSL headers, printed by a program that links against its libraries.
const OPENSSL_PROBE: &str = r#"
#include <openssl/opensslv.h>
#include <openssl/ssl.h>
#include <stdio.h>
int main(void) {
    printf("%s", OPENSSL_VERSION_STR);
    return TLS_client_method() ? 0 : 1;
}
"#;

const C_PROBE: &str = "int main(void) { return 0; }\n";

const CXX_PROBE: &str = r#"
#include <charconv>
#include <filesystem>
#include <optional>
int main() { std::optional<std::filesystem::path> path("."); return path->empty() ? 1 : 0; }
"#;

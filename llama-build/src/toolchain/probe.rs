//! Runs programs to see what they are.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use diagnostic::{Error, Result, codes};

use super::{Program, check_age};

/// A probe answers at once or not at all.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The first executable of this name on `PATH`.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// Runs `path --version` and reads the version from what it says.
pub(super) fn program(path: PathBuf) -> Result<Program> {
    let version = version_of(&path)?;
    Ok(Program { path, version })
}

/// The first dotted number that `path --version` prints.
///
/// # Errors
/// It does not run, fails, or says nothing that looks like a version.
pub fn version_of(path: &Path) -> Result<String> {
    let done = process::run(Command::new(path).arg("--version"), TIMEOUT)?;
    let unusable = |why: &str| Error::new(codes::TOOL_MISSING, format!("`{} --version`: {why}", path.display()));
    if !done.status.success() {
        return Err(unusable(&format!("{}: {}", done.ended_by(), done.last_words())));
    }
    dotted_number(&done.stdout).map(str::to_owned).ok_or_else(|| unusable("it prints no version"))
}

/// Whether one of our fetched tools runs: zig has a sub-command where others have a flag.
///
/// # Errors
/// It does not run, fails, or says nothing that looks like a version.
pub(super) fn runs(path: &Path) -> Result<()> {
    if !path.ends_with("zig") {
        return version_of(path).map(drop);
    }
    let done = process::run(Command::new(path).arg("version"), TIMEOUT)?;
    if done.status.success() && dotted_number(&done.stdout).is_some() {
        return Ok(());
    }
    Err(Error::new(
        codes::TOOL_MISSING,
        format!("`{} version`: {}: {}", path.display(), done.ended_by(), done.last_words()),
    ))
}

fn dotted_number(text: &str) -> Option<&str> {
    text.split(|c: char| c.is_whitespace() || c == '(' || c == ')' || c == ',')
        .find(|word| word.contains('.') && word.split('.').take(2).all(|part| part.parse::<u32>().is_ok()))
}

/// Whether `version` is at least `oldest`; text after the numbers is ignored.
pub(super) fn at_least(version: &str, oldest: (u32, u32)) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= oldest
}

/// The compiler for a language, found as the `cc` crate finds it (`CC`, `CXX`, the platform's default), unless named.
pub(super) fn compiler(language: &str, named: Option<&Path>) -> Result<Program> {
    let mut build = cc::Build::new();
    build.cargo_metadata(false).cargo_warnings(false).cpp(language == "C++").opt_level(0).target(TARGET).host(TARGET);
    if let Some(path) = named {
        build.compiler(path);
    }
    let tool = build
        .try_get_compiler()
        .map_err(|error| Error::new(codes::TOOL_MISSING, error.to_string().trim_end_matches('.').to_owned()))?;
    let path = tool.path();
    let path = if path.components().count() == 1 {
        on_path(&path.to_string_lossy())
            .ok_or_else(|| Error::new(codes::TOOL_MISSING, format!("`{}` is not on `PATH`", path.display())))?
    } else {
        path.to_owned()
    };
    // `--version` prints the packager's text first on some systems; this prints the number alone.
    // Where gcc gives only its major number to the second, it knows the first; clang refuses the first.
    let ask: &[&str] = if tool.is_like_clang() { &["-dumpversion"] } else { &["-dumpfullversion", "-dumpversion"] };
    let done = process::run(Command::new(&path).args(ask), TIMEOUT)?;
    let version = done.stdout.trim().to_owned();
    if !done.status.success() || !version.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Error::new(codes::TOOL_MISSING, format!("`{}` does not tell its version", path.display())));
    }
    let compiler = Program { path, version };
    check_age(&compiler, tool.is_like_clang())?;
    Ok(compiler)
}

/// The target triple that this program was compiled for: native means this machine.
const TARGET: &str = env!("LLAMA_BUILD_TARGET");

/// Runs `python3 -m pip --version`.
pub(super) fn pip() -> Result<()> {
    let done = process::run(Command::new("python3").args(["-m", "pip", "--version"]), TIMEOUT)?;
    if done.status.success() {
        return Ok(());
    }
    Err(Error::new(codes::TOOL_MISSING, format!("`python3 -m pip`: {}", done.last_words())))
}

/// Compiles a program from source text, runs it, and returns what it printed.
///
/// `language` is the compiler's `-x` argument; `arguments` come after the source file.
///
/// # Errors
/// It does not compile, or exits with another status than zero.
pub fn compile_and_run(compiler: &Program, language: &str, source: &str, arguments: &[String]) -> Result<String> {
    let dir =
        tempfile::tempdir().map_err(|error| Error::io("cannot create", Path::new("a temporary directory"), error))?;
    let (file, exe) = (dir.path().join("probe.source"), dir.path().join("probe"));
    fs::write(&file, source).map_err(|error| Error::io("cannot write", &file, error))?;
    let mut compile = Command::new(&compiler.path);
    compile.args(["-x", language]).arg(&file).args(["-x", "none", "-o"]).arg(&exe).args(arguments);
    for command in [&mut compile, &mut Command::new(&exe)] {
        let done = process::run(command, TIMEOUT)?;
        if !done.status.success() {
            return Err(Error::new(codes::TOOL_MISSING, format!("{}: {}", done.ended_by(), done.last_words())));
        }
        if command.get_program() == exe {
            return Ok(done.stdout);
        }
    }
    unreachable!("the second command is the program itself")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_tools_print() {
        assert_eq!(dotted_number("cmake version 3.25.1\n\nCMake suite"), Some("3.25.1"));
        assert_eq!(dotted_number("1.13.0.git.kitware\n"), Some("1.13.0.git.kitware"));
        assert_eq!(dotted_number("ccache version 4.7.5\nFeatures: a.b"), Some("4.7.5"));
        assert_eq!(dotted_number("no number here."), None);
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(at_least("3.18", (3, 18)));
        assert!(at_least("10.2.0", (9, 0)));
        assert!(!at_least("3.9.6", (3, 18)));
        assert!(!at_least("", (1, 0)));
    }

    #[test]
    fn a_compiler_that_is_missing_or_too_old_is_named() {
        let error = compiler("C", Some(Path::new("/no/such/cc"))).unwrap_err().to_string();
        assert!(error.contains("/no/such/cc"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("old-gcc");
        fs::write(&old, "#!/bin/sh\necho 4.8.5\n").unwrap();
        fs::set_permissions(&old, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let error = compiler("C++", Some(&old)).unwrap_err();
        assert_eq!(error.code(), codes::TOOL_MISSING);
        assert!(error.to_string().ends_with("is gcc 4.8.5; llama.cpp needs gcc 9 or newer"), "{error}");
    }

    #[test]
    fn clang_is_asked_as_it_wants_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let clang = dir.path().join("clang");
        // The `cc` crate has it preprocess a file to see what it is; clang itself refuses gcc's longer question.
        fs::write(
            &clang,
            "#!/bin/sh\ncase \"$*\" in\n\
             *-dumpfullversion*) echo \"clang: error: unsupported option '-dumpfullversion'\" >&2; exit 1;;\n\
             '-?') exit 1;;\n-dumpversion) echo 18.1.3;;\n*) echo '\"clang\"';;\nesac\n",
        )
        .unwrap();
        fs::set_permissions(&clang, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(compiler("C", Some(&clang)).unwrap().version, "18.1.3");
    }
}

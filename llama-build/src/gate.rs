//! What a finished build must satisfy: CMake took our options, and the CPU backend was compiled with them.
//!
//! Upstream turns vector instructions off by itself in several situations (a set `SOURCE_DATE_EPOCH`, cross-compiling, an
//! unknown system name) and says nothing. A slow build that looks right is the worst result, so we look.

use std::fs;

use diagnostic::{Error, Result, codes};
use serde::Deserialize;

use crate::plan::CompilePlan;

/// Checks a finished build against its plan.
///
/// # Errors
/// [`codes::GATE_FAILED`] naming the option or flag that did not arrive.
pub fn check(plan: &CompilePlan) -> Result<()> {
    let path = plan.cmake_dir().join("CMakeCache.txt");
    let cache = fs::read_to_string(&path).map_err(|error| Error::io("cannot read", &path, error))?;
    check_cache(plan, &cache)?;
    check_openssl(plan, &cache)?;
    let path = plan.cmake_dir().join("compile_commands.json");
    let commands = fs::read_to_string(&path).map_err(|error| Error::io("cannot read", &path, error))?;
    check_commands(&plan.required_flags, &commands)
}

fn check_cache(plan: &CompilePlan, cache: &str) -> Result<()> {
    for (key, wanted) in plan.definitions.iter().filter(|(key, _)| key.starts_with("GGML_")) {
        let found = cache.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.split(':').next() == Some(key)).then_some(value)
        });
        if found != Some(wanted) {
            let found = found.unwrap_or("nothing");
            return Err(Error::new(codes::GATE_FAILED, format!("cmake was told `{key}={wanted}` and kept `{found}`")));
        }
    }
    Ok(())
}

/// Upstream only warns when OpenSSL is not usable after all, and builds a server that cannot fetch models.
fn check_openssl(plan: &CompilePlan, cache: &str) -> Result<()> {
    let wanted = plan.definitions.get("LLAMA_OPENSSL").is_some_and(|value| value == "ON");
    if wanted && !cache.lines().any(|line| line == "OPENSSL_VERSION_SUPPORTED:INTERNAL=1") {
        return Err(Error::new(
            codes::GATE_FAILED,
            "cmake does not accept the OpenSSL that a test program was built with",
        )
        .hint("build without it: `--cmake-arg=-DLLAMA_OPENSSL=OFF`"));
    }
    Ok(())
}

#[derive(Deserialize)]
struct CompileCommand {
    command: String,
    file: String,
}

fn check_commands(required: &[String], commands: &str) -> Result<()> {
    let commands: Vec<CompileCommand> = serde_json::from_str(commands)
        .map_err(|error| Error::new(codes::GATE_FAILED, format!("`compile_commands.json` cannot be read: {error}")))?;
    let kernels: Vec<_> = commands.iter().filter(|command| command.file.contains("/ggml/src/ggml-cpu/")).collect();
    if kernels.is_empty() {
        return Err(Error::new(codes::GATE_FAILED, "no file of ggml's CPU backend was compiled"));
    }
    let is_there = |command: &str, flag: &str| {
        command.split(' ').any(|word| word == flag || (flag.ends_with('=') && word.starts_with(flag)))
    };
    for kernel in kernels {
        if let Some(flag) = required.iter().find(|flag| !is_there(&kernel.command, flag)) {
            return Err(Error::new(codes::GATE_FAILED, format!("`{}` was compiled without `{flag}`", kernel.file))
                .hint("look at the flags given with `--cmake-arg`"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_flag_is_named() {
        let native = ["-march=native".to_owned()];
        let commands = r#"[{"command":"cc -march=native -c x","file":"/s/ggml/src/ggml-cpu/a.c"}]"#;
        check_commands(&native, commands).unwrap();
        let commands = r#"[{"command":"cc -O3 -c x","file":"/s/ggml/src/ggml-cpu/a.c"}]"#;
        let error = check_commands(&native, commands).unwrap_err().to_string();
        assert_eq!(error, "`/s/ggml/src/ggml-cpu/a.c` was compiled without `-march=native`");
        assert!(check_commands(&native, "[]").is_err(), "nothing compiled is not a pass");
        let arm = ["-mcpu=".to_owned()];
        let commands = r#"[{"command":"cc -mcpu=neoverse-n1+dotprod -c x","file":"/s/ggml/src/ggml-cpu/a.c"}]"#;
        check_commands(&arm, commands).unwrap();
    }

    #[test]
    fn an_option_that_cmake_dropped_is_named() {
        let plan = CompilePlan {
            kind: "native".into(),
            project_id: "project".into(),
            target: "caravan".into(),
            source: "/s".into(),
            source_id: "tree".into(),
            made_with: "cc 1".into(),
            build_dir: "/b".into(),
            cmake: "cmake".into(),
            ninja: "ninja".into(),
            c_compiler: "cc".into(),
            cxx_compiler: "c++".into(),
            wrappers: Vec::new(),
            jobs: 1,
            definitions: [("GGML_NATIVE".to_owned(), "ON".to_owned())].into(),
            required_flags: Vec::new(),
        };
        check_cache(&plan, "GGML_NATIVE:BOOL=ON\n").unwrap();
        let error = check_cache(&plan, "GGML_NATIVE:BOOL=OFF\n").unwrap_err().to_string();
        assert_eq!(error, "cmake was told `GGML_NATIVE=ON` and kept `OFF`");
        assert!(check_cache(&plan, "GGML_NATIVE_X:BOOL=ON\n").is_err());
    }
}

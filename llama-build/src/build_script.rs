//! The build script of `llama-sys`: where llama.cpp comes from, in this order.
//!
//! 1. Documentation builds need nothing.
//! 2. `LLAMA_LIB_DIR` names the `lib/` of an installed build: it is linked.
//! 3. The feature `vendored` compiles by the plan in `LLAMA_BUILD_PLAN` (written by `cargo xtask`).
//! 4. Otherwise nothing is linked, and `cargo check` works all the same.

use std::env;
use std::path::{Path, PathBuf};

use crate::driver;
use crate::plan::{CompilePlan, PLAN_VARIABLE};

/// Everything that the build script does; a failure is shown as cargo's `error:` lines and ends the script.
pub fn main() {
    driver::run_if_child();
    // The `links` key makes cargo hand what we print here to dependents as `DEP_LLAMA_*`.
    println!("cargo::rerun-if-env-changed=DOCS_RS");
    println!("cargo::rerun-if-env-changed=LLAMA_LIB_DIR");
    println!("cargo::rerun-if-env-changed={PLAN_VARIABLE}");
    println!("cargo::rustc-check-cfg=cfg(llama_linked)");
    if env::var_os("DOCS_RS").is_some() {
        return;
    }
    let vendored = env::var_os("CARGO_FEATURE_VENDORED").is_some();
    if let Some(lib_dir) = env::var_os("LLAMA_LIB_DIR") {
        link(Path::new(&lib_dir));
    } else if vendored {
        let Some(plan) = env::var_os(PLAN_VARIABLE) else {
            fail(&format!(
                "the feature `vendored` compiles by a plan, and `{PLAN_VARIABLE}` is not set\n\
                 hint: run `cargo xtask install-optimized`, then link its result with `LLAMA_LIB_DIR=\"$PWD/.local/lib\"`"
            ));
        };
        compile(&PathBuf::from(plan));
    } else {
        // The linker's error is where a person looks, and it quotes this name.
        println!("cargo::rustc-link-lib=dylib={NOTHING_LINKED}");
    }
}

/// The name of a library that does not exist.
const NOTHING_LINKED: &str = "llama-is-not-linked--set-LLAMA_LIB_DIR-to-the-lib-directory-of-an-installed-build";

fn compile(plan_file: &Path) {
    println!("cargo::rerun-if-changed={}", plan_file.display());
    match driver::compile(plan_file) {
        Ok(plan) => {
            println!("cargo::metadata=log={}", plan.log().display());
            link(&plan.bin_dir());
        }
        Err(error) => {
            // For the program that gave the plan: cargo shows text only.
            if let Ok(plan) = CompilePlan::read(plan_file) {
                let _ = driver::record(&error, &plan.failure());
            }
            let hints: String = error.hints().iter().map(|hint| format!("\nhint: {hint}")).collect();
            fail(&format!("{error}{hints}"));
        }
    }
}

/// Links the shared libraries of a build and tells dependents where they are.
fn link(lib_dir: &Path) {
    let library = lib_dir.join("libllama.so");
    println!("cargo::rerun-if-changed={}", library.display());
    if !lib_dir.is_absolute() || !library.is_file() {
        fail(&format!(
            "`{}` does not exist, or is not an absolute path\n\
             hint: `LLAMA_LIB_DIR` names the `lib` directory of an installed build, such as `$PWD/.local/lib`",
            library.display()
        ));
    }
    println!("cargo::rustc-cfg=llama_linked");
    println!("cargo::rustc-link-search=native={}", lib_dir.display());
    for library in ["llama", "ggml", "ggml-base"] {
        println!("cargo::rustc-link-lib=dylib={library}");
    }
    println!("cargo::metadata=lib_dir={}", lib_dir.display());
    println!("cargo::metadata=lib_kind=dylib");
    println!("cargo::metadata=backends_dir={}", lib_dir.display());
    println!("cargo::metadata=build_info_json={}", lib_dir.join("build_info.json").display());
}

fn fail(message: &str) -> ! {
    for line in message.lines() {
        println!("cargo::error={line}");
    }
    std::process::exit(1);
}

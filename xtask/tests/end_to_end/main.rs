//! The real thing from end to end: a llama.cpp that `cargo xtask test` has just installed into a store of its own.
//!
//! Every test works on a copy of that store, or only reads it, so that they run side by side.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod emulated;
mod installed;
mod planned;
mod run;
mod serve;
mod server;
mod tuned;
mod upstream;

use std::fs;
use std::process::Command;

use installed::{Installed, output, text};
use server::Server;

#[test]
fn completion_generates_and_is_deterministic() {
    let installed = Installed::find();
    let model = installed.tiny_model();
    let run = || {
        output(
            installed
                .tool("llama-completion")
                .args(["--no-conversation", "--seed", "1", "--temp", "0", "-n", "24", "-p", "hello", "-m"])
                .arg(&model),
        )
    };
    let first = run();
    assert!(first.status.success(), "{}", text(&first.stderr));
    let generated = text(&first.stdout);
    let generated = generated.trim_start().strip_prefix("hello").expect("the prompt is echoed first");
    assert!(!generated.trim().is_empty(), "nothing was generated");
    // Many times: upstream loses the whole output of one short run in six.
    for _ in 0..40 {
        assert_eq!(text(&run().stdout), text(&first.stdout));
    }
}

#[test]
fn the_server_answers_and_refuses_bad_requests() {
    let installed = Installed::find();
    let server = Server::start(&installed, &installed.tiny_model());
    assert_eq!(server.get("/health"), (200, r#"{"status":"ok"}"#.to_owned()));

    let (status, body) = server.post("/completion", r#"{"prompt":"hello","n_predict":8}"#);
    assert_eq!(status, 200, "{body}");
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["tokens_predicted"], 8, "{body}");

    // An exception thrown in one library and caught in another: what a wrong link layout breaks first.
    let (status, body) = server.post("/completion", r#"{"prompt":"hello","n_predict":"eight"}"#);
    assert_eq!(status, 400, "{body}");
    let (status, body) = server.post("/completion", r#"{"prompt":"#);
    assert_eq!(status, 500, "upstream answers so at our pin: {body}");
    assert!(body.contains("parse error at line 1"), "{body}");
    assert_eq!(server.get("/health").0, 200, "the server did not survive a bad request");
}

#[test]
fn show_build_agrees_with_what_the_tools_say() {
    let installed = Installed::find();
    let shown = output(installed.xtask(&["show-build", "--json"]));
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let info = &shown["build_info"];
    let commit = info["llama_commit"].as_str().unwrap();
    let version = output(installed.tool("llama-server").arg("--version"));
    let said = text(&version.stderr) + &text(&version.stdout);
    assert!(said.contains(&format!("commit {}", &commit[..8])), "{said}");
    assert!(said.contains(info["llama_version"].as_str().unwrap()), "{said}");
    assert_eq!(info["build_type"], "native_optimized");
    assert!(info["cmake_flags"].as_array().unwrap().iter().any(|flag| flag == "-DGGML_NATIVE=ON"));
    assert!(info["optimal_threads"].as_u64().unwrap() >= 1);
}

#[test]
fn a_truncated_model_gives_one_error() {
    let installed = Installed::find();
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("truncated.gguf");
    let whole = fs::read(installed.tiny_model()).unwrap();
    fs::write(&model, &whole[..whole.len() / 2]).unwrap();

    // Ours says so before anything is run.
    let ours = output(installed.xtask(&["bench", "--model"]).arg(&model));
    assert_eq!(ours.status.code(), Some(51), "{}", text(&ours.stderr));
    assert_eq!(text(&ours.stderr).matches("error").count(), 1, "{}", text(&ours.stderr));
    // llama.cpp's own tool fails without a crash.
    let theirs = output(installed.tool("llama-bench").arg("-m").arg(&model));
    assert_eq!(theirs.status.code(), Some(1), "{}", text(&theirs.stderr));
}

#[test]
fn quantise_and_reload() {
    let installed = Installed::find();
    let dir = tempfile::tempdir().unwrap();
    let (f16, q4) = (dir.path().join("f16.gguf"), dir.path().join("q4.gguf"));
    let written = output(installed.xtask(&["model", "--shape", "tiny", "--quant", "f16", "--out"]).arg(&f16));
    assert!(written.status.success(), "{}", text(&written.stderr));
    let quantised = output(installed.tool("llama-quantize").arg(&f16).arg(&q4).arg("q4_k_m"));
    assert!(quantised.status.success(), "{}", text(&quantised.stderr));
    let run =
        output(installed.tool("llama-completion").args(["--no-conversation", "-n", "4", "-p", "hello", "-m"]).arg(&q4));
    assert!(run.status.success(), "{}", text(&run.stderr));
}

#[test]
fn a_moved_store_runs() {
    let installed = Installed::find().copied();
    let moved = installed.renamed();
    let mut command = moved.tool("llama-completion");
    command.args(["--no-conversation", "-n", "4", "-p", "hello", "-m"]).arg(moved.tiny_model());
    let run = output(command.env_remove("LD_LIBRARY_PATH"));
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert!(text(&run.stdout).trim_start().starts_with("hello"));
    let shown = output(moved.xtask(&["show-build"]));
    assert!(shown.status.success(), "{}", text(&shown.stderr));
}

#[test]
fn no_backend_is_loaded_from_the_working_directory_or_the_environment() {
    let installed = Installed::find();
    let dir = tempfile::tempdir().unwrap();
    let (source, marker) = (dir.path().join("planted.c"), dir.path().join("marker"));
    // Loading it is enough: the constructor runs before any symbol is looked up.
    let code = format!(
        "#include <stdio.h>\n__attribute__((constructor)) static void run(void) {{ fclose(fopen(\"{}\", \"w\")); }}\n",
        marker.display()
    );
    fs::write(&source, code).unwrap();
    let planted = dir.path().join("libggml-blas.so");
    let compiled = output(Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&planted).arg(&source));
    assert!(compiled.status.success(), "{}", text(&compiled.stderr));
    for name in ["libggml-blas-x.so", "libggml-cpu-x.so", "libggml-rpc.so"] {
        fs::copy(&planted, dir.path().join(name)).unwrap();
    }

    for bench in [installed.bin().join("llama-bench"), installed.portable().bin("llama-bench")] {
        let list_devices = || {
            let mut command = Command::new(&bench);
            command.arg("--list-devices").current_dir(dir.path()).env("GGML_BACKEND_PATH", &planted);
            command
        };
        let listed = output(list_devices());
        assert!(listed.status.success(), "{}", text(&listed.stderr));
        assert!(!marker.exists(), "a planted library was run by {}", bench.display());
        // The trap works: loaded by force, it leaves its mark.
        output(list_devices().env("LD_PRELOAD", &planted));
        fs::remove_file(&marker).expect("the planted library leaves a mark");
    }
}

#[test]
fn a_compile_error_is_shown_in_the_compilers_words() {
    let installed = Installed::find().copied();
    let before = installed.active_id();
    let arguments = ["install-optimized", "--blas", "off", "--cmake-arg=-DCMAKE_CXX_FLAGS=-Dstd=oops"];
    let done = output(installed.xtask(&arguments));
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(33), "{said}");
    // The standard library, its namespace renamed, is the first to complain: file, line, column.
    assert!(said.lines().any(|line| line.starts_with('/') && line.contains(": error: ")), "{said}");
    assert!(said.contains("build.log`"), "the log is not named: {said}");
    assert_eq!(installed.active_id(), before);
}

#[test]
fn rollback_rolls_back() {
    let installed = Installed::find().copied();
    let first = installed.active_id();
    // Another build number is another build; only what shows it is compiled again.
    let second = output(installed.xtask(&["install-optimized", "--blas", "off", "--cmake-arg=-DLLAMA_BUILD_NUMBER=7"]));
    assert!(second.status.success(), "{}", text(&second.stderr));
    assert_ne!(installed.active_id(), first);
    let version = output(installed.tool("llama-server").arg("--version"));
    assert!((text(&version.stderr) + &text(&version.stdout)).contains("build 7"));

    let both = output(installed.xtask(&[
        "bench",
        "--builds",
        "all",
        "--shape",
        "tiny",
        "--rounds",
        "2",
        "--prompt",
        "32",
        "--generate",
        "8",
        "--json",
        "-",
    ]));
    assert!(both.status.success(), "{}", text(&both.stderr));
    let report: serde_json::Value = serde_json::from_slice(&both.stdout).unwrap();
    assert_eq!(report["builds"].as_array().unwrap().len(), 3, "two native, one portable, each once");
    assert!(!report["ratios"].as_array().unwrap().is_empty());
    assert!(report["machine"]["cpu_budget"].as_u64().unwrap() >= 1);

    let back = output(installed.xtask(&["rollback"]));
    assert!(back.status.success(), "{}", text(&back.stderr));
    assert_eq!(installed.active_id(), first);

    let active = output(installed.xtask(&["uninstall", &first]));
    assert_eq!(active.status.code(), Some(41), "the active build must not be uninstalled: {}", text(&active.stderr));
    let unknown = output(installed.xtask(&["use", "native-0.0.0-00000000-00000000"]));
    assert_eq!(unknown.status.code(), Some(40), "{}", text(&unknown.stderr));
}

#[test]
fn bench_prints_measured_figures_and_raw_samples() {
    let installed = Installed::find();
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("bench.json");
    let bench = output(installed.xtask(&["bench", "--shape", "tiny", "--quant", "q4_k_m", "--json"]).arg(&json));
    assert!(bench.status.success(), "{}", text(&bench.stderr));
    let table = text(&bench.stdout);
    for column in ["Threads", "PP-512", "TG-128", "Total"] {
        assert!(table.contains(column), "no column {column}:\n{table}");
    }
    let report: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert!(report["bandwidth_gb_s"].as_f64().unwrap() > 0.1, "{report}");
}

#[test]
fn bad_input_gets_one_clear_error() {
    let installed = Installed::find();
    let dir = tempfile::tempdir().unwrap();
    let text_file = dir.path().join("notes.gguf");
    fs::write(&text_file, "not a model").unwrap();
    let cases: &[(&[&str], i32)] = &[
        (&["bench", "--model", "/no/such/model.gguf"], 50),
        (&["bench", "--model", dir.path().to_str().unwrap()], 50),
        (&["bench", "--model", text_file.to_str().unwrap()], 51),
        (&["bench", "--shape", "tiny", "--threads", "0"], 52),
        (&["bench", "--shape", "tiny", "--threads", "9999"], 52),
        (&["install-optimized", "--cc", "/no/such/cc"], 30),
        (&["install-optimized", "--cmake-arg=-DCMAKE_CXX_FLAGS=-ffast-math"], 32),
        (&["model", "--shape", "tiny", "--out", "/proc/no/such/dir/m.gguf"], 10),
    ];
    for (arguments, exit) in cases {
        let done = output(installed.xtask(arguments));
        let said = text(&done.stderr);
        assert_eq!(done.status.code(), Some(*exit), "{arguments:?}: {said}");
        assert_eq!(said.lines().filter(|line| line.starts_with("error")).count(), 1, "{arguments:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("backtrace"), "{arguments:?}: {said}");
    }
}

#[test]
fn an_unwritable_store_is_one_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let done = output(command.args(["model", "--shape", "tiny"]).env("CARAVAN_HOME", file.join("home")));
    assert_eq!(
        text(&done.stderr).lines().filter(|line| line.starts_with("error")).count(),
        1,
        "{}",
        text(&done.stderr)
    );
    assert!(!done.status.success());
}

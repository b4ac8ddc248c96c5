//! `caravan run` of the installed build: text, conversation, figures, refusals.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::installed::{Installed, output, text};

fn caravan(installed: &Installed) -> Command {
    let mut command = installed.tool("caravan");
    for name in ["CARAVAN_THREAD_MODE", "SARAI_THREAD_MODE", "CARAVAN_JOB", "OMP_NUM_THREADS"] {
        command.env_remove(name);
    }
    command.env("CARAVAN_HOME", installed.home()).arg("run");
    command
}

#[test]
fn the_most_likely_text_is_that_of_llama_completion() {
    let installed = Installed::find();
    let model = installed.tiny_model();
    let theirs = output(
        installed
            .tool("llama-completion")
            .args(["--no-conversation", "--temp", "0", "-n", "24", "-p", "hello", "--no-warmup", "-m"])
            .arg(&model),
    );
    let theirs = text(&theirs.stdout);
    let theirs = theirs.trim_start().strip_prefix("hello").expect("the prompt is echoed first").trim_end().to_owned();
    let ask = ["--temperature", "0", "-n", "24", "-p", "hello"];
    let ours = output(caravan(&installed).arg("--model").arg(&model).args(ask).arg("--stats"));
    assert!(ours.status.success(), "{}", text(&ours.stderr));
    assert_eq!(text(&ours.stdout).trim_end(), theirs);
    let stats = text(&ours.stderr);
    assert!(stats.contains("time to the first token") && stats.contains("generation  24 tokens, "), "{stats}");

    let json = output(caravan(&installed).arg("--model").arg(&model).args(ask).arg("--json"));
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["text"].as_str().unwrap().trim_end(), theirs);
    assert_eq!((&json["ended"], &json["tokens"]), (&"length".into(), &24.into()));
    assert!(json["tokens_per_second"].as_f64().unwrap() > 0.0, "{json}");

    // The same from standard input.
    let mut child = caravan(&installed)
        .arg("--model")
        .arg(&model)
        .args(["--temperature", "0", "-n", "24"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    assert_eq!(text(&child.wait_with_output().unwrap().stdout).trim_end(), theirs);
}

#[test]
fn the_plan_says_why() {
    let installed = Installed::find();
    let shown = output(caravan(&installed).arg("--model").arg(installed.tiny_model()).args(["-p", "x", "--print"]));
    let shown = text(&shown.stdout);
    assert!(shown.contains("caravan-run") && shown.contains("what the model was trained for"), "{shown}");
}

#[test]
fn bad_input_gets_one_clear_error() {
    let installed = Installed::find();
    let dir = tempfile::tempdir().unwrap();
    let model = installed.tiny_model();
    let whole = fs::read(&model).unwrap();
    let cut = dir.path().join("cut.gguf");
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let model = model.to_str().unwrap();
    let long = "long ".repeat(2000);
    let cases: &[(&[&str], i32)] = &[
        (&["--model", "/no/such/model.gguf", "-p", "x"], 50),
        (&["--model", cut.to_str().unwrap(), "-p", "x"], 51),
        (&["--model", model, "-p", "x", "--threads", "9999"], 52),
        (&["--model", model, "-p", "x", "--ctx", "4000000000"], 54),
        (&["--model", model, "-p", &long, "--ctx", "512"], 55),
        (&["--model", model, "-p", "x", "--temperature", "NaN"], 2),
        // The model has no chat template.
        (&["--model", model, "-p", "x", "--chat"], 51),
    ];
    for (arguments, exit) in cases {
        let done = output(caravan(&installed).args(*arguments));
        let said = text(&done.stderr);
        assert_eq!(done.status.code(), Some(*exit), "{arguments:?}: {said}");
        assert_eq!(said.lines().filter(|line| line.starts_with("error")).count(), 1, "{arguments:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("backtrace"), "{arguments:?}: {said}");
    }
    let by_hand = output(installed.tool("caravan-run").arg("{}"));
    assert!(text(&by_hand.stderr).contains("is started by `caravan run`"), "{}", text(&by_hand.stderr));
}

#[test]
fn ctrl_c_ends_a_text() {
    let installed = Installed::find();
    let mut child = caravan(&installed)
        .arg("--model")
        .arg(installed.home().join("models/1b-q4_k_m.gguf"))
        .args(["-p", "hello", "--ctx", "4096", "-n", "4000"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_secs(3));
    assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(130), "{}", text(&done.stderr));
}

#[test]
fn the_portable_build_runs_the_same() {
    let installed = Installed::find();
    let portable = installed.portable();
    let model = installed.tiny_model();
    let ask = ["--temperature", "0", "-n", "24", "-p", "hello", "--json"];
    let run = output(Command::new(portable.bin("caravan")).arg("run").arg("--model").arg(&model).args(ask));
    assert!(run.status.success(), "{}", text(&run.stderr));
    let run: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!((&run["ended"], &run["tokens"]), (&"length".into(), &24.into()));

    let plan = output(Command::new(portable.bin("caravan")).arg("serve").arg("--model").arg(&model).arg("--print"));
    assert!(text(&plan.stdout).contains(&portable.id()), "{}", text(&plan.stderr));
}

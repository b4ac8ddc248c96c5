//! `doctor` as a person starts it, on the machine that runs the tests.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn doctor(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("doctor").args(arguments).env("CARAVAN_HOME", home.join("store")).current_dir(home);
    for variable in ["CARAVAN_THREAD_MODE", "SARAI_THREAD_MODE", "GGML_CPU_VARIANT"] {
        command.env_remove(variable);
    }
    command.output().unwrap()
}

fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_screen_and_the_json_tell_of_one_machine() {
    let home = tempfile::tempdir().unwrap();
    let screen = succeeds(&doctor(home.path(), &[]));
    let value: Value = serde_json::from_str(&succeeds(&doctor(home.path(), &["--json"]))).unwrap();
    for line in
        ["cpu ", "topology ", "cpu budget ", "threads ", "memory ", "gpu ", "store ", "build        none", "warning: "]
    {
        assert!(screen.contains(&format!("\n{line}")) || screen.starts_with(line), "{line:?} in\n{screen}");
    }
    assert!(screen.contains(value["host"]["fingerprint"].as_str().unwrap()), "{screen}");
    let verdicts: Vec<&str> = value["verdicts"].as_array().unwrap().iter().filter_map(|it| it["id"].as_str()).collect();
    assert!(verdicts.contains(&"no_build"), "{verdicts:?}");
    assert!(value["cpu_budget"].as_u64() >= Some(1) && value["optimal_threads"].as_u64() >= Some(1), "{value}");
    assert!(!home.path().join("store").exists(), "looking changes nothing");
}

#[test]
fn a_saved_machine_is_named_by_what_it_is_and_by_nobody() {
    let home = tempfile::tempdir().unwrap();
    succeeds(&doctor(home.path(), &["--save", "reports/mine"]));
    let text = fs::read_to_string(home.path().join("reports/mine/tree.txt")).unwrap();
    assert!(text.starts_with("# recorded by "), "{text}");
    assert!(text.contains("\nsys/devices/system/cpu/online = "), "{text}");
    let user = std::env::var("USER").ok().filter(|user| user.len() > 4);
    for secret in [Some(host_name()), user, Some(home.path().display().to_string())].into_iter().flatten() {
        assert!(!text.contains(&secret), "{secret:?} in\n{text}");
    }
    let names: Vec<_> = fs::read_dir(home.path().join("reports")).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["mine"], "nothing is left beside it");
}

/// A name that is long enough not to be a part of something else.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    if name.len() > 4 && name != "localhost" { name } else { "no such name".to_owned() }
}

#[test]
fn what_is_there_is_not_replaced() {
    let home = tempfile::tempdir().unwrap();
    let refused = |place: &str| {
        let output = doctor(home.path(), &["--save", place]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(10), "{message}");
        assert!(message.contains("is there and is no empty directory") && message.contains("hint"), "{message}");
        assert!(output.stdout.is_empty(), "refused before anything is shown");
    };
    fs::create_dir(home.path().join("full")).unwrap();
    fs::write(home.path().join("full/mine"), "kept").unwrap();
    refused("full");
    refused("full/mine");
    assert_eq!(fs::read_to_string(home.path().join("full/mine")).unwrap(), "kept");
    fs::create_dir(home.path().join("empty")).unwrap();
    succeeds(&doctor(home.path(), &["--save", "empty"]));
    assert!(home.path().join("empty/tree.txt").is_file());
}

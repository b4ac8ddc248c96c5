//! Searching for the best settings with the real llama-bench.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::installed::{Installed, output, text};

const TINY: [&str; 5] = ["tune", "--shape", "tiny", "--builds", "active"];

/// The file in which everything measured for the tiny model is kept.
fn search_file(home: &Path) -> Option<PathBuf> {
    let hosts = fs::read_dir(home.join("tuning")).ok()?;
    hosts.map(|host| host.unwrap().path().join("search/tiny-q4_k_m.json")).find(|path| path.is_file())
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_second_search_measures_nothing() {
    let installed = Installed::find().copied();
    let tune = || output(installed.xtask(&TINY).args(["--goal", "balanced", "--budget", "20s"]));
    let first = tune();
    assert!(first.status.success(), "{}", text(&first.stderr));
    let shown = text(&first.stdout);
    assert!(shown.contains("kernels |"), "{shown}");
    let file = search_file(installed.home()).expect("what was measured is kept");
    let kept = read(&file);
    assert!(!kept["journal"]["rounds"].as_array().unwrap().is_empty());

    let second = tune();
    assert!(second.status.success(), "{}", text(&second.stderr));
    assert_eq!(text(&second.stdout), shown, "the same figures lead to the same answer");
    assert!(read(&file) == kept, "the second search has changed what is kept");

    // What is kept as tuning is what `show-build` shows and `bench --tuned` measures; nothing is when nothing was better.
    let kept = text(&first.stderr).contains("kept      as tuning");
    let bench = output(installed.xtask(&["bench", "--shape", "tiny", "--tuned", "--rounds", "1", "--dry-run"]));
    assert_eq!(bench.status.code(), Some(if kept { 0 } else { 62 }), "{}", text(&bench.stderr));
    let build = output(installed.xtask(&["show-build"]));
    assert_eq!(text(&build.stdout).contains("(goal: balanced)"), kept, "{}", text(&build.stdout));
}

#[test]
fn ctrl_c_keeps_what_was_measured() {
    let installed = Installed::find().copied();
    let mut child =
        installed.xtask(&TINY).args(["--budget", "10m"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    let file = loop {
        if let Some(file) = search_file(installed.home()) {
            break file;
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended before a round was measured");
        assert!(start.elapsed() < Duration::from_secs(120), "no round within two minutes");
        thread::sleep(Duration::from_millis(20));
    };
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{}", text(&ended.stderr));
    assert!(text(&ended.stderr).contains("goes on from here"), "{}", text(&ended.stderr));
    let kept = read(&file)["journal"]["rounds"].as_array().unwrap().len();
    assert!(kept >= 1);

    // Goes on: with no time left, from what was kept alone.
    let again = output(installed.xtask(&TINY).args(["--budget", "1s", "--json", "-"]));
    assert!(again.status.success(), "{}", text(&again.stderr));
    let report: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert!(report["journal"]["rounds"].as_array().unwrap().len() >= kept);
}

#[test]
fn a_damaged_search_is_made_anew() {
    let installed = Installed::find().copied();
    let tune = || output(installed.xtask(&TINY).args(["--budget", "1s"]));
    assert!(tune().status.success());
    let file = search_file(installed.home()).expect("what was measured is kept");
    for damaged in ["", "{\"journal\": 7}", "\u{0}\u{1}"] {
        fs::write(&file, damaged).unwrap();
        let done = tune();
        assert!(done.status.success(), "{}", text(&done.stderr));
        assert!(text(&done.stderr).contains("anew      "), "{}", text(&done.stderr));
    }
    let mut other = read(&file);
    other["journal"]["subject"]["machine"] = "another".into();
    fs::write(&file, other.to_string()).unwrap();
    assert!(text(&tune().stderr).contains("the machine, what we may use of it, the model, or Caravan is another"));
}

#[test]
fn what_another_machine_measured_is_not_used_and_that_is_said() {
    let installed = Installed::find().copied();
    // As it looks when the processor was exchanged, or the store lies on a shared disk.
    let tuning = installed.home().join("tuning");
    let _ = fs::remove_dir_all(&tuning);
    fs::create_dir_all(tuning.join("0123456789abcdef")).unwrap();
    fs::write(tuning.join("0123456789abcdef").join(format!("{}.json", installed.active_id())), "{}").unwrap();
    let done = output(installed.xtask(&TINY).args(["--budget", "1s"]));
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(text(&done.stderr).contains("with another CPU in this one, is not used"), "{}", text(&done.stderr));
    let build = output(installed.xtask(&["show-build"]));
    assert!(text(&build.stdout).contains("measured on one other machine too"), "{}", text(&build.stdout));
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_runs() {
    let installed = Installed::find();
    let refused = |arguments: &[&str]| {
        let done = output(installed.xtask(arguments));
        (done.status.code(), text(&done.stderr))
    };
    for budget in ["0s", "0", "-5m", "soon", ""] {
        let (code, said) = refused(&["tune", "--budget", budget]);
        assert_eq!(code, Some(2), "`{budget}`: {said}");
    }
    assert_eq!(refused(&["tune", "--model", "/no/such/model.gguf"]).0, Some(50));
    assert_eq!(refused(&["bench", "--tuned", "--variant", "haswell"]).0, Some(2));
    // Told before minutes of measuring, not after.
    for command in ["tune", "bench"] {
        let (code, said) = refused(&[command, "--shape", "tiny", "--json", "/no/such/dir/report.json"]);
        assert_eq!(code, Some(10), "{said}");
        assert!(said.contains("the report cannot be written"), "{said}");
    }

    let dir = tempfile::tempdir().unwrap();
    let comma = dir.path().join("a,b.gguf");
    fs::copy(installed.tiny_model(), &comma).unwrap();
    for command in ["tune", "bench"] {
        let (code, said) = refused(&[command, "--model", comma.to_str().unwrap()]);
        assert_eq!(code, Some(50), "{said}");
        assert!(said.contains("has a comma in its path"), "{said}");
    }
    let huge = dir.path().join("huge.gguf");
    fs::copy(installed.tiny_model(), &huge).unwrap();
    // No bytes on the disk, but weights to read.
    fs::OpenOptions::new().write(true).open(&huge).unwrap().set_len(1 << 42).unwrap();
    for command in ["tune", "bench"] {
        let (code, said) = refused(&[command, "--model", huge.to_str().unwrap()]);
        assert_eq!(code, Some(54), "{said}");
        assert!(said.contains("needs 4398.") && said.contains("are available"), "{said}");
    }
}

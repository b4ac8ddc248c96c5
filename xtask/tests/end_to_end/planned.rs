//! `caravan plan`, `validate` and `doctor` beside the real llama-server: every option that we know is one of its own, and
//! what we write, it loads.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use planner::configuration::{self, Format, options};

use crate::installed::{Installed, output, text};
use crate::server::Server;

fn caravan(installed: &Installed) -> Command {
    let mut command = installed.tool("caravan");
    command.env("CARAVAN_HOME", installed.home());
    command
}

fn planned(installed: &Installed, format: &str, file: &Path) {
    let done = output(
        caravan(installed)
            .args(["plan", "--ctx", "1024", "--format", format, "--model"])
            .arg(installed.tiny_model())
            .arg("--output")
            .arg(file),
    );
    assert!(done.status.success(), "{format}: {}", text(&done.stderr));
}

/// The names at the start of a line of the help, and its variables.
fn help(installed: &Installed) -> (BTreeSet<String>, BTreeSet<String>) {
    let help = output(installed.tool("llama-server").arg("--help"));
    let help = text(&help.stdout) + &text(&help.stderr);
    let mut names = BTreeSet::new();
    for line in help.lines().filter(|line| line.starts_with('-') && !line.starts_with("-----")) {
        for word in line.split_whitespace() {
            let Some(name) = word.strip_suffix(',').or(Some(word)).filter(|name| name.starts_with('-')) else { break };
            names.insert(name.to_owned());
        }
    }
    let variables = help.split("(env: ").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect();
    (names, variables)
}

#[test]
fn the_table_of_options_is_what_llama_server_says() {
    let (names, variables) = help(&Installed::find());
    let ours = |of: fn(&options::Opt) -> Vec<&'static str>| -> BTreeSet<String> {
        options::all().iter().flat_map(of).map(str::to_owned).collect()
    };
    assert_eq!(ours(|option| option.names.iter().chain(&option.negated).copied().collect()), names);
    assert_eq!(ours(|option| option.variable.into_iter().collect()), variables);
}

#[test]
fn what_is_planned_is_validated_in_every_format() {
    let installed = Installed::find();
    let dir = tempfile::tempdir().unwrap();
    for format in Format::ALL {
        let file = dir.path().join(format.name());
        planned(&installed, format.name(), &file);
        let done = output(caravan(&installed).args(["validate", "--json"]).arg(&file));
        assert!(done.status.success(), "{format}: {}{}", text(&done.stdout), text(&done.stderr));
        let found: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(found["format"], format.name());
        assert_eq!(found["configurations"][0]["model_checked"], true);
    }
}

#[test]
fn llama_server_loads_what_is_planned() {
    let installed = Installed::find();
    let dir = tempfile::tempdir().unwrap();
    // The command line: the words of it, with a port of our own.
    let file = dir.path().join("line");
    planned(&installed, "command-line", &file);
    let one = configuration::read(&fs::read_to_string(&file).unwrap(), Format::CommandLine).unwrap().remove(0);
    let mut words = vec!["--model".to_owned(), one.model.clone().unwrap()];
    words.extend(configuration::arguments(&one));
    let server = Server::start_with(&installed, &words, &[]);
    let (status, body) = server.post("/completion", r#"{"prompt":"hello","n_predict":4}"#);
    assert_eq!(status, 200, "{body}");
    assert!(server.get("/props").1.contains("\"n_ctx\":1024"), "{}", server.get("/props").1);
    drop(server);

    // Variables.
    let file = dir.path().join("variables");
    planned(&installed, "environment", &file);
    let text = fs::read_to_string(&file).unwrap();
    let variables: Vec<(&str, &str)> =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect();
    let server = Server::start_with(&installed, &[], &variables);
    assert!(server.get("/props").1.contains("\"n_ctx\":1024"), "{}", server.get("/props").1);
    drop(server);

    // The preset: a server that loads its models when they are asked for.
    let file = dir.path().join("preset.ini");
    planned(&installed, "preset", &file);
    let words = ["--models-preset".to_owned(), file.display().to_string()];
    let server = Server::start_with(&installed, &words, &[]);
    let (status, body) = server.post("/v1/completions", r#"{"model":"tiny-q4_k_m","prompt":"hello","max_tokens":4}"#);
    assert_eq!(status, 200, "{body}");
}

#[test]
fn doctor_refuses_what_does_not_fit_and_what_is_degraded() {
    let installed = Installed::find();
    let doctor = |arguments: &[&str]| output(caravan(&installed).arg("doctor").args(arguments)).status.code();
    assert_eq!(doctor(&["--model-size", "1000B"]), Some(54));
    assert_eq!(doctor(&["--model-size", "0.05B", "--ctx", "512"]), Some(0));
    let model = installed.tiny_model();
    let tiny = ["--model", model.to_str().unwrap(), "--ctx", "32768"];
    assert_eq!(doctor(&tiny), Some(95), "beyond what it was trained for");
    assert_eq!(doctor(&[&tiny[..], &["--accept-degraded"]].concat()), Some(0));
    assert_eq!(doctor(&["--model", "/no/such.gguf"]), Some(50));
    assert_eq!(doctor(&["--model-size", "8B", "--hardware", "rtx-9999"]), Some(98));
}

#[test]
fn serve_takes_what_was_decided() {
    let installed = Installed::find();
    let printed = output(
        caravan(&installed)
            .args(["serve", "--auto", "--ctx", "2048", "--print", "--model"])
            .arg(installed.tiny_model()),
    );
    let said = text(&printed.stdout);
    assert!(printed.status.success(), "{}", text(&printed.stderr));
    assert!(
        said.contains("--ctx-size") && said.contains("auto: `general`") && said.contains("note: auto: fits"),
        "{said}"
    );
}

#[test]
fn a_model_that_is_still_elsewhere_is_asked_about_by_its_first_bytes() {
    let installed = Installed::find();
    let mut asked = caravan(&installed);
    let done =
        output(asked.args(["doctor", "--json", "--model", "-"]).stdin(fs::File::open(installed.tiny_model()).unwrap()));
    assert!(done.status.success(), "{}", text(&done.stderr));
    let from_stream: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    let done = output(caravan(&installed).args(["doctor", "--json", "--model"]).arg(installed.tiny_model()));
    let from_file: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(from_stream["memory"], from_file["memory"]);
    assert_eq!(from_stream["model"]["precision"], from_file["model"]["precision"]);
    let done = output(caravan(&installed).args(["doctor", "--model", "-"]).stdin(std::process::Stdio::null()));
    assert_eq!(done.status.code(), Some(diagnostic::codes::MODEL_INVALID.exit.into()), "{}", text(&done.stderr));
}

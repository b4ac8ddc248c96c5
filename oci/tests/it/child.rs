//! The crate used by a process of its own, so that it can be interrupted, killed, or run out of disk.
//!
//! The process is this very test program, told to run the one ignored test below.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use diagnostic::Result;
use oci::{Cache, Credentials};
use process::interrupt;
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::support;

const ACTION: &str = "CARAVAN_OCI_TEST_ACTION";
const DIRECTORY: &str = "CARAVAN_OCI_TEST_DIRECTORY";

/// A running action, and the lines that it says.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

/// The command of an action in a directory; see [`act`] for what there is.
pub(crate) fn command(dir: &Path, action: &str) -> Command {
    // A write beyond the limit then fails, as on a full disk, instead of ending the process.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", "child::runs_an_action"]);
    command.env(ACTION, action).env(DIRECTORY, dir);
    command
}

pub(crate) fn start(dir: &Path, action: &str) -> Running {
    start_command(command(dir, action))
}

pub(crate) fn start_command(mut command: Command) -> Running {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    Running { child, lines }
}

impl Running {
    /// The rest of the next line that has `what`; `None` when the process ends without it.
    pub(crate) fn wait_for(&mut self, what: &str) -> Option<String> {
        self.lines.by_ref().map_while(Result::ok).find_map(|line| {
            // The test harness may have written the name of the test before it on the same line.
            line.split_once(what).map(|(_, rest)| rest.trim().to_owned())
        })
    }

    /// Waits for the end: `ok`, or the error's code and message; `None` when it was killed.
    pub(crate) fn result(mut self) -> Option<String> {
        let result = self.wait_for("result:");
        self.child.wait().unwrap();
        result
    }
}

#[test]
#[ignore = "started by other tests as a process of its own"]
fn runs_an_action() {
    let (Ok(action), Ok(dir)) = (env::var(ACTION), env::var(DIRECTORY)) else { return };
    let result = act(Path::new(&dir), &action);
    println!("result: {}", result.unwrap_or_else(|error| format!("{} {error}", error.code().name)));
}

fn act(dir: &Path, action: &str) -> Result<String> {
    let (verb, argument) = action.split_once(' ').unwrap();
    match verb {
        // Pulls the artefact from a registry at this host into the cache.
        "pull" => {
            interrupt::install();
            let cache = Cache::open(&dir.join("cache"))?;
            let source = support::source(argument);
            oci::pull(&source, &support::amd64(), &cache, &mut |done, total| println!("progress: {done} of {total}"))?;
            Ok("ok".to_owned())
        }
        // The same, but no file may grow beyond half a megabyte.
        "pull-on-full-disk" => {
            setrlimit(Resource::Fsize, Rlimit { current: Some(500_000), maximum: Some(500_000) }).unwrap();
            support::pull(&support::source(argument), &support::cache(dir))?;
            Ok("ok".to_owned())
        }
        // Pulls with whatever the environment has stored for this host.
        "pull-with-stored-credentials" => {
            let source = oci::Source::open(&support::reference(argument), &support::access(Credentials::Stored))?;
            support::pull(&source, &support::cache(dir))?;
            Ok("ok".to_owned())
        }
        _ => panic!("unknown action {action}"),
    }
}

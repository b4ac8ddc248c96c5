//! A test program that starts itself as a process of its own, so that what it does there can wait, be interrupted, be
//! killed, or run out of disk.

use std::env;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A running action, and the lines that it says.
pub struct Running {
    /// The process, to be signalled.
    pub child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// The command that runs the ignored test `child::runs_an_action` of this program; how it is told what to do is its own.
pub fn command() -> Command {
    // A write beyond the limit then fails, as on a full disk, instead of ending the process.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", "child::runs_an_action"]);
    command
}

/// Starts what [`command`] made.
pub fn start(command: &mut Command) -> Running {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    Running { child, lines }
}

impl Running {
    /// The rest of the next line that has `what`; `None` when the process ends without it.
    pub fn wait_for(&mut self, what: &str) -> Option<String> {
        self.lines.by_ref().map_while(Result::ok).find_map(|line| {
            // The test harness may have written the name of the test before it on the same line.
            line.split_once(what).map(|(_, rest)| rest.trim().to_owned())
        })
    }

    /// Waits for the end: what it says after `result:`; `None` when it was killed.
    pub fn result(mut self) -> Option<String> {
        let result = self.wait_for("result:");
        self.child.wait().unwrap();
        result
    }
}

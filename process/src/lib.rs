//! Child processes that behave: they end when we are told to end, they are bounded in time and output, and their peak
//! memory is known.
//!
//! Every child runs in a process group of its own. On Ctrl-C the terminal therefore signals only us; we end the whole
//! group (a build is cargo, a build script, cmake, ninja and compilers), wait for it, and report
//! [`codes::INTERRUPTED`], so that callers can remove what they staged.
#![forbid(unsafe_code)]

pub mod interrupt;
mod lock;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use diagnostic::{Error, Result, codes};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

pub use lock::Lock;

/// How often a running child is looked at: for its end, for Ctrl-C, and for its memory.
const POLL: Duration = Duration::from_millis(10);
/// How long a child may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(3);
/// What we keep of each output stream; the rest is read and dropped.
const OUTPUT_LIMIT: u64 = 64 << 20;

/// A child process that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, at most 64 MiB of it.
    pub stdout: String,
    /// Its standard error, at most 64 MiB of it.
    pub stderr: String,
    /// The largest resident set seen, in bytes. Sampled every 10 ms from `VmHWM`, which never falls, so only growth in
    /// the last 10 ms can be missed; zero where `/proc` is not available.
    pub peak_rss_bytes: u64,
}

impl Finished {
    /// The last line of standard error that holds text, or else of standard output: what a tool said before it failed.
    pub fn last_words(&self) -> &str {
        [&self.stderr, &self.stdout]
            .into_iter()
            .find_map(|text| text.lines().rev().map(str::trim).find(|line| !line.is_empty()))
            .unwrap_or("it said nothing")
    }

    /// How it ended, in words: `exit status 1`, `signal 4 (SIGILL, illegal instruction)`.
    pub fn ended_by(&self) -> String {
        describe(self.status)
    }
}

/// An exit status in words a person can search for.
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(4)) => "signal 4 (SIGILL, illegal instruction)".to_owned(),
        (None, Some(6)) => "signal 6 (SIGABRT)".to_owned(),
        (None, Some(9)) => "signal 9 (SIGKILL, perhaps out of memory)".to_owned(),
        (None, Some(11)) => "signal 11 (SIGSEGV)".to_owned(),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}

/// Runs a command to its end and collects its output.
///
/// # Errors
/// It cannot be started, it runs longer than `timeout`, or we were interrupted. A failing exit status is *not* an error
/// here: look at [`Finished::status`].
pub fn run(command: &mut Command, timeout: Duration) -> Result<Finished> {
    run_lines(command, timeout, |_| {})
}

/// As [`run`], and calls `on_line` with each line of standard output as it comes.
///
/// # Errors
/// As [`run`].
pub fn run_lines(command: &mut Command, timeout: Duration, mut on_line: impl FnMut(&str)) -> Result<Finished> {
    let name = command.get_program().to_string_lossy().into_owned();
    let start = Instant::now();
    let mut child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let (line_sender, lines) = mpsc::channel::<String>();
    let (text_sender, texts) = mpsc::channel::<String>();
    let stdout = child.stdout.take().expect("stdout was piped above");
    let stderr = child.stderr.take().expect("stderr was piped above");
    thread::spawn(move || {
        // Lossy on purpose: one bad byte in a log must not lose the rest of it.
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        while reader.by_ref().take(OUTPUT_LIMIT).read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            if line_sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
            line.clear();
        }
    });
    thread::spawn(move || {
        let mut kept = Vec::new();
        let mut reader = BufReader::new(stderr);
        // A stream that breaks off ends the text; the exit status tells the rest.
        let _ = reader.by_ref().take(OUTPUT_LIMIT).read_to_end(&mut kept);
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
        // Nobody listens when we were interrupted.
        let _ = text_sender.send(String::from_utf8_lossy(&kept).into_owned());
    });

    let mut stdout = String::new();
    let mut keep = |line: String| {
        on_line(line.trim_end());
        if (stdout.len() + line.len()) as u64 <= OUTPUT_LIMIT {
            stdout.push_str(&line);
        }
    };
    let mut peak_rss_bytes = 0;
    // A tool that only says its version is not waited for longer than it takes.
    let mut pause = POLL / 10;
    loop {
        while let Ok(line) = lines.try_recv() {
            keep(line);
        }
        peak_rss_bytes = peak_rss_bytes.max(resident_high_water(child.id()));
        if has_ended(&child) {
            break;
        }
        if let Err(interrupted) = interrupt::check() {
            end(&mut child);
            return Err(interrupted);
        }
        if start.elapsed() > timeout {
            end(&mut child);
            return Err(failed(&name, &format!("it ran longer than {} s and was ended", timeout.as_secs())));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(POLL);
    }
    // What the child itself wrote is in the pipes. What it left behind could keep them open for ever: it is ended, while
    // the child still holds its process id, and what has left the group is not waited for.
    signal(&child, Signal::KILL);
    let status = child.wait().map_err(|error| failed(&name, &diagnostic::plain(&error)))?;
    let deadline = Instant::now() + GRACE;
    while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        keep(line);
    }
    let stderr = texts.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap_or_default();
    Ok(Finished { status, stdout, stderr, peak_rss_bytes })
}

/// Starts a command in its own process group, so that [`end`] reaches all that it starts.
///
/// # Errors
/// The program does not exist or may not be run.
pub fn spawn(command: &mut Command) -> Result<Child> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.process_group(0).spawn().map_err(|error| failed(&name, &diagnostic::plain(&error)).source(error))
}

/// Ends a child started by [`spawn`] and its whole group: SIGTERM, three seconds, SIGKILL.
pub fn end(child: &mut Child) {
    signal(child, Signal::TERM);
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline && !has_ended(child) {
        thread::sleep(POLL);
    }
    signal(child, Signal::KILL);
    let _ = child.wait();
}

/// Whether a child has ended; it stays a zombie, so that its id, which is also its group's, is not given to another.
fn has_ended(child: &Child) -> bool {
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return true };
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(pid), look), Ok(None))
}

/// Signals the group of a child that has not been waited for.
fn signal(child: &Child, signal: Signal) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // An error means that nothing is left of the group, which is what we want.
        let _ = kill_process_group(group, signal);
    }
}

fn failed(name: &str, why: &str) -> Error {
    Error::new(codes::PROCESS_FAILED, format!("`{name}` failed: {why}"))
}

/// `VmHWM` of a process in bytes; zero when it has ended or there is no `/proc`.
fn resident_high_water(pid: u32) -> u64 {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return 0 };
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn collects_output_and_status() {
        let mut seen = Vec::new();
        let done = run_lines(&mut sh("echo one; echo two; echo oops >&2; exit 3"), Duration::from_secs(10), |line| {
            seen.push(line.to_owned());
        })
        .unwrap();
        assert_eq!(seen, ["one", "two"]);
        assert_eq!(done.stdout, "one\ntwo\n");
        assert_eq!(done.last_words(), "oops");
        assert_eq!(done.ended_by(), "exit status 3");
    }

    #[test]
    fn a_signal_is_named() {
        let done = run(&mut sh("kill -ILL $$"), Duration::from_secs(10)).unwrap();
        assert_eq!(done.ended_by(), "signal 4 (SIGILL, illegal instruction)");
    }

    #[test]
    fn a_child_that_runs_too_long_is_ended_with_its_children() {
        let start = Instant::now();
        let error = run(&mut sh("sleep 60 & wait"), Duration::from_millis(200)).unwrap_err();
        assert_eq!(error.code(), codes::PROCESS_FAILED);
        assert!(start.elapsed() < Duration::from_secs(20), "the group was not ended");
    }

    #[test]
    fn what_a_child_leaves_behind_does_not_hold_us() {
        let start = Instant::now();
        let done = run(&mut sh("sleep 60 & echo done"), Duration::from_secs(50)).unwrap();
        assert_eq!(done.stdout, "done\n");
        assert!(start.elapsed() < Duration::from_secs(50), "we waited for a grandchild");
    }

    #[test]
    fn a_grandchild_that_left_the_group_does_not_hold_us() {
        let start = Instant::now();
        let done = run(&mut sh("setsid sleep 20 & echo done"), Duration::from_secs(15)).unwrap();
        assert_eq!(done.stdout, "done\n");
        assert!(start.elapsed() < Duration::from_secs(15), "we waited for a grandchild");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("caravan-no-such-program"), Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("caravan-no-such-program"), "{error}");
    }

    #[test]
    fn peak_memory_counts_what_the_child_touched() {
        // 64 MiB of bytes in one variable of the shell's own process.
        let done = run(
            &mut sh("x=$(head -c 67108864 /dev/zero | tr '\\0' x); sleep 0.1; echo ${#x}"),
            Duration::from_secs(60),
        )
        .unwrap();
        assert_eq!(done.stdout.trim(), "67108864");
        assert!(done.peak_rss_bytes > 64 << 20, "{}", done.peak_rss_bytes);
    }
}

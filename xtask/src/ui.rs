//! What a person sees: notes and progress on standard error, data on standard output.
//!
//! On a terminal long work is a bar; elsewhere it is a line every few seconds, so that a CI log stays readable.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use diagnostic::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};

const NOTE: Style = AnsiColor::Green.on_default().bold();

/// How often progress is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// One line about what is being done.
pub(crate) fn note(text: impl AsRef<str>) {
    let text = text.as_ref();
    let (head, rest) = text.split_once(' ').unwrap_or((text, ""));
    anstream::eprintln!("{NOTE}{head}{NOTE:#} {rest}");
}

/// Lines that are data or part of a table; to standard output, with colour only on a terminal.
///
/// # Errors
/// Standard output cannot be written. A closed pipe (`| head`) is none: it ends our output, not our work.
pub(crate) fn print(text: impl AsRef<str>) -> Result<()> {
    let mut out = anstream::stdout();
    match writeln!(out, "{}", text.as_ref().trim_end_matches('\n')).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::io("cannot write", Path::new("standard output"), error))
        }
        _ => Ok(()),
    }
}

/// An error with its hints, as the last thing that a command says.
pub(crate) fn show_error(error: &Error) {
    anstream::eprint!("{}", error.report());
}

/// Asks a question that `y` answers with yes; without a terminal the answer is no.
///
/// # Errors
/// We were interrupted while waiting for the answer.
pub(crate) fn confirm(question: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(false);
    }
    anstream::eprint!("{question} [y/N] ");
    let (sender, answers) = mpsc::channel();
    // In a thread of its own: reading goes on after a signal, and would hold us.
    thread::spawn(move || {
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        let _ = sender.send(read.map_or_else(|_| String::new(), |_| answer));
    });
    loop {
        match answers.recv_timeout(Duration::from_millis(50)) {
            Ok(answer) => return Ok(matches!(answer.trim(), "y" | "Y" | "yes")),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(false),
            Err(mpsc::RecvTimeoutError::Timeout) => process::interrupt::check().inspect_err(|_| eprintln!())?,
        }
    }
}

/// The progress of one long piece of work.
pub(crate) struct Progress {
    label: &'static str,
    unit: Unit,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

/// What is counted.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Steps,
    Bytes,
}

impl Progress {
    pub(crate) fn new(label: &'static str, unit: Unit) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let counter = match unit {
                Unit::Steps => "{pos}/{len}",
                Unit::Bytes => "{bytes}/{total_bytes}",
            };
            let template = format!("{{prefix}} [{{bar:30}}] {counter} {{elapsed}} {{wide_msg}}");
            let style = ProgressStyle::with_template(&template).expect("the template above is valid");
            ProgressBar::new(0).with_style(style.progress_chars("=> ")).with_prefix(label)
        });
        Progress { label, unit, bar, last_line: Instant::now() }
    }

    pub(crate) fn set(&mut self, done: u64, total: u64, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(what.to_owned());
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            match self.unit {
                Unit::Steps => eprintln!("{} {done}/{total} {what}", self.label),
                Unit::Bytes => eprintln!("{} {}/{} MB {what}", self.label, done / 1_000_000, total / 1_000_000),
            }
        }
    }

    /// Shows what has just happened without counting it.
    pub(crate) fn say(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }

    /// A line that stays above the bar.
    pub(crate) fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| note(text)),
            None => note(text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What is said when another process holds a lock: that it must finish `what`.
pub(crate) fn waiting(what: &'static str) -> impl FnOnce(Option<u32>) {
    move |holder| match holder {
        Some(pid) => note(format!("waiting   for process {pid} to finish {what}")),
        None => note(format!("waiting   for another process to finish {what}")),
    }
}

/// Says which build is active now.
pub(crate) fn activated(activation: &store::Activation) {
    match &activation.from {
        Some(from) if *from == activation.to => note(format!("active    {} (it was already)", activation.to)),
        Some(from) => note(format!("active    {} (before: {from})", activation.to)),
        None => note(format!("active    {}", activation.to)),
    }
}

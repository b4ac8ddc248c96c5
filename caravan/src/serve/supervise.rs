//! Runs llama-server by the plan: forwards signals, lets it drain, tells it new thread counts, ends as it ends.

use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use diagnostic::{Error, Result, codes};
use host::out_of_memory_kills;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use super::live::{Change, Threads};
use super::plan::Plan;
use crate::health::{self, Gpus};
use crate::ui;

/// How often we look whether thread counts have changed.
const LOOK: Duration = Duration::from_secs(2);
/// How often memory is looked at, and how often it is said when all is well.
const MEMORY: Duration = Duration::from_secs(15);
const MEMORY_SAID: Duration = Duration::from_secs(600);
/// How long the server has to end once it was told to end at once.
const LAST: Duration = Duration::from_secs(3);
/// Has llama-server take commands on its standard input (our patch); the end of it means that we are gone.
const CONTROL: (&str, &str) = ("LLAMA_SERVER_CONTROL", "stdin");

/// Runs the server until it ends, and ends with its code: 128 + N when signal N ended it.
///
/// It is never started again: whoever started us (systemd, Kubernetes) decides that.
///
/// # Errors
/// [`codes::PROCESS_FAILED`]: it cannot be started.
pub(super) fn run(plan: &Plan, live: Option<Threads>, grace: Duration) -> Result<ExitCode> {
    // Before the child, so that no signal is lost between them.
    let signals = listen()?;
    let kills = out_of_memory_kills(Path::new("/"));
    let child = start(plan)?;
    let mut server = Server { child, live, grace, ending: Ending::Not, looked: Instant::now(), memory: Memory::new() };
    let status = server.wait(&signals);
    explain(status, server.ending, kills);
    Ok(exit_code(status))
}

fn start(plan: &Plan) -> Result<Child> {
    Command::new(&plan.program)
        .args(plan.args())
        .env_remove("LD_LIBRARY_PATH")
        .envs(plan.variables())
        .env(CONTROL.0, CONTROL.1)
        .stdin(Stdio::piped())
        // Ctrl-C reaches us alone, and the server through us, once.
        .process_group(0)
        .spawn()
        .map_err(|error| {
            let message = format!("cannot start `{}`: {}", plan.program.display(), diagnostic::plain(&error));
            Error::new(codes::PROCESS_FAILED, message).hint("install the build again")
        })
}

/// Signals as they arrive, SIGCHLD among them.
fn listen() -> Result<Receiver<i32>> {
    let mut signals = Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2]).map_err(|error| {
        Error::new(codes::PROCESS_FAILED, format!("cannot listen for signals: {}", diagnostic::plain(&error)))
    })?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for signal in signals.forever() {
            if sender.send(signal).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Not,
    /// Told to end, and given until then.
    Asked(Instant),
    /// Told to end at once, and killed then.
    Cut(Instant),
    Killed,
}

struct Server {
    child: Child,
    live: Option<Threads>,
    grace: Duration,
    ending: Ending,
    looked: Instant,
    memory: Memory,
}

/// What was said of memory.
struct Memory {
    looked: Instant,
    said: Option<Instant>,
    /// Whether it was about to run out when it was last looked at.
    low: bool,
}

impl Memory {
    fn new() -> Memory {
        Memory { looked: Instant::now(), said: None, low: false }
    }

    /// Says how much is taken: now and then, and once when it is about to run out, with what helps.
    fn look(&mut self) {
        if self.looked.elapsed() < MEMORY {
            return;
        }
        self.looked = Instant::now();
        let places = health::look(Gpus::LeftOut, None);
        let low = !health::short(&places, health::ALERT).is_empty();
        if low && !self.low {
            ui::note(format!("memory is about to run out: {}; the context stays as it is", health::line(&places)));
            for option in health::options() {
                ui::note(format!("hint: {option}"));
            }
        } else if self.said.is_none_or(|said| said.elapsed() >= MEMORY_SAID) {
            ui::note(format!("memory: {}", health::line(&places)));
            self.said = Some(Instant::now());
        }
        self.low = low;
    }
}

impl Server {
    fn wait(&mut self, signals: &Receiver<i32>) -> ExitStatus {
        loop {
            // Asked in every round: several SIGCHLD may arrive as one.
            if let Ok(Some(status)) = self.child.try_wait() {
                return status;
            }
            match signals.recv_timeout(self.until_next()) {
                Ok(SIGCHLD) => {}
                Ok(signal) => self.forward(signal),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => self.on_time(),
            }
        }
    }

    /// How long nothing can happen but signals.
    fn until_next(&self) -> Duration {
        let now = Instant::now();
        match self.ending {
            Ending::Asked(until) | Ending::Cut(until) => until.saturating_duration_since(now).min(LOOK),
            Ending::Not => (self.looked + LOOK).saturating_duration_since(now),
            Ending::Killed => LOOK,
        }
        .max(Duration::from_millis(1))
    }

    fn forward(&mut self, signal: i32) {
        match (signal, self.ending) {
            // The terminal has gone: nobody will press Ctrl-C.
            (SIGTERM | SIGHUP, Ending::Not) => {
                ui::note(format!("draining: running requests have {} s", self.grace.as_secs()));
                self.signal(Signal::TERM);
                self.ending = Ending::Asked(Instant::now() + self.grace);
            }
            (SIGINT, Ending::Not) => {
                self.signal(Signal::INT);
                self.ending = Ending::Asked(Instant::now() + self.grace);
            }
            // Whoever asks twice does not want to wait.
            (SIGTERM | SIGHUP | SIGINT, Ending::Asked(_)) => self.cut(),
            (SIGTERM | SIGHUP | SIGINT, _) => {}
            (SIGQUIT, _) => self.signal(Signal::QUIT),
            (SIGUSR1, _) => self.signal(Signal::USR1),
            (SIGUSR2, _) => self.signal(Signal::USR2),
            _ => {}
        }
    }

    /// A second signal has llama-server end at once.
    fn cut(&mut self) {
        self.signal(Signal::TERM);
        self.ending = Ending::Cut(Instant::now() + LAST);
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        match self.ending {
            Ending::Asked(until) if now >= until => {
                ui::note("the grace period is over: running requests are cut off");
                self.cut();
            }
            Ending::Cut(until) if now >= until => {
                self.signal(Signal::KILL);
                self.ending = Ending::Killed;
            }
            Ending::Not if now >= self.looked + LOOK => self.look(),
            _ => {}
        }
    }

    fn look(&mut self) {
        self.looked = Instant::now();
        self.memory.look();
        match self.live.as_mut().and_then(Threads::look) {
            None => {}
            Some(Change::Unusable(why)) => ui::note(format!("threads stay as they are: {why}")),
            Some(Change::To(generation, prompt, why)) => {
                let told = self.child.stdin.as_mut().is_some_and(|stdin| {
                    writeln!(stdin, "threads {generation} {prompt}").and_then(|()| stdin.flush()).is_ok()
                });
                let when = if told { "from the next token on" } else { "after a restart" };
                ui::note(format!("threads {when}: {generation} for generation, {prompt} for prompts ({why})"));
            }
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It has not been waited for, so the number is still its own; an error means that it has ended.
            let _ = kill_process(pid, signal);
        }
    }
}

/// Says how the server ended, unless that is what was asked for.
fn explain(status: ExitStatus, ending: Ending, kills_before: Option<u64>) {
    match (status.code(), status.signal()) {
        (Some(0), _) => {}
        (Some(code), _) => ui::note(format!("llama-server ended with exit status {code}")),
        (None, Some(9)) if ending == Ending::Killed => ui::note("llama-server did not end, and was killed"),
        (None, Some(9)) => {
            let by_the_kernel = out_of_memory_kills(Path::new("/")) > kills_before;
            ui::note(match by_the_kernel {
                true => {
                    "llama-server was killed by the kernel: out of memory (its cgroup counts an `oom_kill`); a \
                         shorter `--ctx`, a smaller model or a higher memory limit helps"
                }
                false => "llama-server was killed (SIGKILL), by a person or by the kernel when memory ran out",
            });
        }
        (None, Some(4)) => ui::note(
            "llama-server met an instruction that this CPU does not have (SIGILL); `cargo xtask install-fast` installs \
             a build that runs everywhere",
        ),
        (None, signal) if ending == Ending::Not => {
            ui::note(format!("llama-server was ended by signal {}", signal.unwrap_or_default()));
        }
        (None, _) => {}
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

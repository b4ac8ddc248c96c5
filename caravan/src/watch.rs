//! `caravan watch`: the memory of a machine on which a server runs. It says what can be done, and does nothing itself: a
//! context that shrinks by itself is worse than a message.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Args;
use diagnostic::{Error, Result, codes};
use serde_json::{Value, json};

use crate::health::{self, Gpus};
use crate::ui;

/// The longest answer of a server that is read.
const MOST_BYTES: u64 = 256 << 10;
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Watch memory while a server runs, and say what can be done before it runs out
///
/// A line every few seconds: what is taken of the cgroup, of main memory, and of NVIDIA's GPUs. From 95 % on it is said what
/// helps; the context is never touched.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A server's process: what it takes itself is shown too, its cgroup counts in place of ours, and its end ends this
    #[arg(long)]
    pid: Option<u32>,
    /// A llama-server on this machine: `http://127.0.0.1:8080`
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Seconds between two lines
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Percent from which memory is about to run out
    #[arg(long, default_value_t = health::ALERT, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(1..=100))]
    limit: u64,
    /// Look once; fail when memory is about to run out
    #[arg(long)]
    once: bool,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

impl Flags {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let server = self.url.as_deref().map(address).transpose()?;
        loop {
            let process = match self.pid {
                Some(pid) => match resident(pid) {
                    Some(bytes) => Some(bytes),
                    None if self.once => return Err(gone(pid)),
                    None => {
                        ui::note(format!("process {pid} has ended"));
                        return Ok(ExitCode::SUCCESS);
                    }
                },
                None => None,
            };
            let places = health::look(Gpus::Asked, self.pid);
            let state = server.as_ref().map(|server| state(server));
            let short = health::short(&places, self.limit);
            ui::print(match self.json {
                true => json!({
                    "memory": places, "process_bytes": process, "server": state, "low": !short.is_empty(),
                })
                .to_string(),
                false => {
                    let process = process.map(|bytes| format!(", process {}", planner::memory::gigabytes(bytes)));
                    let state = state.map(|state| format!(", server {state}"));
                    format!("{}{}{}", health::line(&places), process.unwrap_or_default(), state.unwrap_or_default())
                }
            })?;
            if !short.is_empty() {
                let names: Vec<&str> = short.iter().map(|place| place.name.as_str()).collect();
                let message = format!("less than {} % is left of {}", 101 - self.limit, names.join(", "));
                let error = Error::new(codes::MEMORY_LOW, message);
                let error = health::options().iter().fold(error, |error, option| error.hint(*option));
                if self.once {
                    return Err(error);
                }
                ui::show_error(&error);
            }
            if self.once {
                return Ok(ExitCode::SUCCESS);
            }
            thread::sleep(Duration::from_secs(self.interval));
        }
    }
}

fn gone(pid: u32) -> Error {
    Error::new(codes::PROCESS_FAILED, format!("there is no process {pid}"))
}

/// What a process keeps in memory, in bytes; `None` when it has ended.
fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Host and port of a server on this machine.
///
/// # Errors
/// [`codes::ADDRESS_UNUSABLE`]: it is none, or on another machine, whose memory is not seen from here.
fn address(url: &str) -> Result<String> {
    let refuse = |why: &str| {
        let message = format!("`{}` {why}", url.escape_debug());
        Err(Error::new(codes::ADDRESS_UNUSABLE, message)
            .hint("give one of this machine, such as `http://127.0.0.1:8080`"))
    };
    let Some(rest) = url.strip_prefix("http://") else { return refuse("does not begin with `http://`") };
    let authority = rest.split('/').next().unwrap_or_default();
    let authority = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let Ok(mut all) = authority.to_socket_addrs() else { return refuse("is no address") };
    if !all.all(|address| address.ip().is_loopback()) {
        return refuse("is on another machine");
    }
    Ok(authority)
}

/// What a server says of itself: `ok, context of 4096`, or why it says nothing.
fn state(server: &str) -> String {
    let Some((status, _)) = get(server, "/health") else { return "does not answer".to_owned() };
    if status != 200 {
        return format!("answers with status {status}");
    }
    let props = get(server, "/props").and_then(|(_, body)| serde_json::from_str::<Value>(&body).ok());
    let ctx = props.as_ref().and_then(|props| props["default_generation_settings"]["n_ctx"].as_u64());
    ctx.map_or_else(|| "ok".to_owned(), |ctx| format!("ok, context of {ctx}"))
}

/// One small request.
fn get(server: &str, path: &str) -> Option<(u16, String)> {
    let address = server.to_socket_addrs().ok()?.next()?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n").ok()?;
    let mut bytes = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_of_this_machine_are_asked() {
        assert_eq!(address("http://127.0.0.1:8080/health").unwrap(), "127.0.0.1:8080");
        assert_eq!(address("http://[::1]:8080").unwrap(), "[::1]:8080");
        for url in ["https://127.0.0.1", "http://192.0.2.1:80", "127.0.0.1:80", "http://", "http://:80:80"] {
            assert_eq!(address(url).unwrap_err().code(), codes::ADDRESS_UNUSABLE, "{url}");
        }
    }

    #[test]
    fn a_process_that_has_ended_has_no_memory() {
        assert!(resident(std::process::id()).is_some_and(|bytes| bytes > 100_000));
        assert_eq!(resident(u32::MAX), None);
    }
}

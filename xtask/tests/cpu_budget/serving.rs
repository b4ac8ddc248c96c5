//! `caravan serve` in a cgroup: against plain llama-server, and where memory is short.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use super::cgroup::Cgroup;
use super::{ROUNDS, TURN, home};

const CLIENTS: usize = 4;
/// Tokens of each answer.
const TOKENS: usize = 16;
/// A model loads within it, also with one CPU.
const PATIENCE: Duration = Duration::from_secs(120);

fn model() -> PathBuf {
    home().join("models/1b-q4_k_m.gguf")
}

/// A server on loopback, ended with what it stands for.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts the program with these arguments in the cgroup, and waits until it is ready.
    fn start(cgroup: &Cgroup, program: &str, arguments: &[&str]) -> Server {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (program, model, number) = (home().join("bin").join(program), model(), port.to_string());
        let ours = ["--model", model.to_str().unwrap(), "--port", &number];
        let child = cgroup
            .command(&program, &[arguments, &ours[..]].concat())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Server { child, port };
        let start = Instant::now();
        while server.request("GET", "/health", "").is_none_or(|answer| !answer.contains("ok")) {
            assert_eq!(server.child.try_wait().unwrap(), None, "it ended before it was ready");
            assert!(start.elapsed() < PATIENCE, "not ready in time");
            thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
        write!(stream, "{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(answer)
    }

    /// Tokens per second of all clients together.
    fn measure(&self) -> f64 {
        let ask = |client: usize| {
            let body = format!(
                r#"{{"prompt":"client {client} wants to hear a story","n_predict":{TOKENS},"ignore_eos":true,"cache_prompt":false}}"#
            );
            assert!(self.request("POST", "/completion", &body).is_some(), "client {client} got no answer");
        };
        ask(CLIENTS);
        let start = Instant::now();
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                scope.spawn(move || ask(client));
            }
        });
        (CLIENTS * TOKENS) as f64 / start.elapsed().as_secs_f64()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn caravan_serves_under_a_quota_of_one_cpu() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // A cgroup for each: what one has used up must not slow the next.
        let cgroup = Cgroup::with_quota(1);
        theirs.push(Server::start(&cgroup, "llama-server", &["--ctx-size", "4096"]).measure());
        let cgroup = Cgroup::with_quota(1);
        ours.push(Server::start(&cgroup, "caravan", &["serve", "--ctx", "4096"]).measure());
    }
    let median = |speeds: &mut Vec<f64>| {
        speeds.sort_by(f64::total_cmp);
        speeds[speeds.len() / 2]
    };
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    let line = format!(
        "quota of 1 CPU, {CLIENTS} clients: caravan serve {ours:.2} tokens/s, llama-server {theirs:.2}, ratio {:.2}\n",
        ours / theirs
    );
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

#[test]
fn a_model_that_does_not_fit_the_cgroup_is_refused_or_its_end_is_explained() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let cgroup = Cgroup::with_memory(400_000_000);
    let run = |arguments: &[&str]| {
        let (program, model) = (home().join("bin/caravan"), model());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let serve = ["serve", "--model", model.to_str().unwrap(), "--port", &port];
        let mut command: Command = cgroup.command(Path::new(&program), &[&serve[..], arguments].concat());
        let done = command.stdin(Stdio::null()).output().unwrap();
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (code, said) = run(&[]);
    assert_eq!(code, Some(54), "{said}");
    assert!(said.contains("weights 0.7 GB"), "{said}");

    // Read, not mapped: what is mapped the kernel may drop.
    let (code, said) = run(&["--force", "--", "--load-mode", "none"]);
    assert_eq!(code, Some(137), "{said}");
    assert!(said.contains("killed by the kernel: out of memory"), "{said}");
}

//! Three replicas against one plain llama-server with as many threads: the figures are printed and not judged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::balancer::Balancer;
use crate::load::{Load, Shape, percentile};
use crate::replicas::{Cluster, model};
use crate::{CLIENTS, TURN, http, say, wait};

const REPLICAS: usize = 3;
const ROUNDS: usize = 3;
/// How long each side is asked in a round: a count would take minutes where threads are more than CPUs.
const ROUND: Duration = Duration::from_secs(10);

/// A llama-server of the same build outside of containers, with its own defaults but for the threads.
struct Plain {
    child: Child,
    port: u16,
}

/// The portable build's, which is what the image holds too.
fn program() -> PathBuf {
    let builds = fs::read_dir(crate::home().join("builds")).unwrap().flatten().map(|entry| entry.path());
    let is_portable = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("portable-");
    builds.filter(is_portable).max().expect("the portable build is installed").join("bin/llama-server")
}

impl Plain {
    fn start(model: &Path, threads: usize) -> Plain {
        let port = http::free_port();
        let mut command = Command::new(program());
        command.arg("--model").arg(model).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--threads", &threads.to_string(), "--ctx-size", "4096"]);
        // It ends with us, whatever ends us: its standard input does.
        command.env("LLAMA_SERVER_CONTROL", "stdin").stdin(Stdio::piped());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let plain = Plain { child, port };
        wait("llama-server is ready", || http::is_ready(port));
        plain
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Requests per second, and within how many milliseconds 50 and 99 of 100 are answered.
fn measure(ports: &[u16], tokens: usize) -> [f64; 3] {
    let balancer = Arc::new(Balancer::start(ports));
    let shape = Shape { clients: CLIENTS, requests: 100_000, tokens };
    let warm = Load::start(&balancer, Shape { requests: CLIENTS, ..shape }).finish();
    crate::assert_none_lost(&warm, CLIENTS);
    let start = Instant::now();
    let load = Load::start(&balancer, shape);
    thread::sleep(ROUND);
    let outcomes = load.stop();
    let seconds = start.elapsed().as_secs_f64();
    crate::assert_none_lost(&outcomes, CLIENTS);
    let milliseconds = |share| percentile(&outcomes, share).as_secs_f64() * 1000.0;
    [outcomes.len() as f64 / seconds, milliseconds(0.5), milliseconds(0.99)]
}

fn compare(shape_of_model: &str, tokens: usize) {
    let cluster = Cluster::new(shape_of_model);
    let start = Instant::now();
    let (_, ports) = cluster.play_all(REPLICAS, 1);
    say(&format!("{shape_of_model}: {REPLICAS} replicas played and ready in {} ms", start.elapsed().as_millis()));
    let model = model(shape_of_model);
    let mut sides: [(&str, Vec<[f64; 3]>); 3] = [
        ("3 replicas of 1 thread", Vec::new()),
        ("llama-server, 3 threads", Vec::new()),
        ("llama-server, 2 threads", Vec::new()),
    ];
    for _ in 0..ROUNDS {
        sides[0].1.push(measure(&ports, tokens));
        for (side, threads) in [(1, REPLICAS), (2, 2)] {
            // Idle replicas cost nothing: they wait for requests.
            let plain = Plain::start(&model, threads);
            sides[side].1.push(measure(&[plain.port], tokens));
        }
    }
    let seconds = ROUND.as_secs();
    say(&format!(
        "{shape_of_model}, {CLIENTS} clients, answers of {tokens} tokens, median of {ROUNDS} rounds of {seconds} s in turn:"
    ));
    for (name, rounds) in &sides {
        let median = |at: usize| {
            let mut values: Vec<f64> = rounds.iter().map(|round| round[at]).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (rate, half, most) = (median(0), median(1), median(2));
        say(&format!("  {name}: {rate:.2} requests/s, p50 {half:.0} ms, p99 {most:.0} ms"));
    }
}

#[test]
#[ignore = "takes minutes: `cargo xtask test --full` runs it"]
fn three_replicas_are_measured_against_one_plain_server() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    compare("tiny", crate::TOKENS);
    compare("1b", 8);
}

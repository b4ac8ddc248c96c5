//! Three replicas against one plain llama-server with as many threads: the figures are printed and not judged.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::balancer::Balancer;
use crate::load::{Load, Shape, percentile};
use crate::replicas::{Cluster, model};
use crate::{CLIENTS, TURN, http, say, wait};

const REPLICAS: usize = 3;
const ROUNDS: usize = 3;

/// A llama-server of the same build outside of containers, with its own defaults but for the threads.
struct Plain {
    child: Child,
    port: u16,
}

impl Plain {
    fn start(model: &std::path::Path, threads: usize) -> Plain {
        let port = http::free_port();
        let program = crate::home().join("bin/llama-server");
        let mut command = Command::new(program);
        command.arg("--model").arg(model).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--threads", &threads.to_string(), "--ctx-size", "4096"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
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
fn measure(ports: &[u16], shape: Shape) -> [f64; 3] {
    let balancer = Arc::new(Balancer::start(ports));
    let warm = Load::start(&balancer, Shape { requests: shape.clients, ..shape }).finish();
    crate::assert_none_lost(&warm, shape.clients);
    let start = Instant::now();
    let outcomes = Load::start(&balancer, shape).finish();
    let seconds = start.elapsed().as_secs_f64();
    crate::assert_none_lost(&outcomes, shape.requests);
    let milliseconds = |share| percentile(&outcomes, share).as_secs_f64() * 1000.0;
    [outcomes.len() as f64 / seconds, milliseconds(0.5), milliseconds(0.99)]
}

fn compare(shape_of_model: &str, shape: Shape) {
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
        sides[0].1.push(measure(&ports, shape));
        for (side, threads) in [(1, REPLICAS), (2, 2)] {
            // Idle replicas cost nothing: they wait for requests.
            let plain = Plain::start(&model, threads);
            sides[side].1.push(measure(&[plain.port], shape));
        }
    }
    let Shape { clients, requests, tokens } = shape;
    say(&format!(
        "{shape_of_model}, {clients} clients, {requests} requests of {tokens} tokens, median of {ROUNDS} rounds in turn:"
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
    compare("tiny", Shape { clients: CLIENTS, requests: 600, tokens: crate::TOKENS });
    compare("1b", Shape { clients: CLIENTS, requests: 48, tokens: 8 });
}

//! Clients that ask all the time, and what became of every request.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::balancer::Balancer;
use crate::http;

/// How many clients ask at once, and how often at most: tests are bounded.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) clients: usize,
    pub(crate) requests: usize,
    /// Tokens of each answer.
    pub(crate) tokens: usize,
}

/// One request.
pub(crate) struct Outcome {
    /// Which replica had it.
    pub(crate) replica: Option<usize>,
    pub(crate) took: Duration,
    /// Why there was no whole answer.
    pub(crate) lost: Option<String>,
}

/// Clients at work.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<Outcome>>>,
}

impl Load {
    pub(crate) fn start(balancer: &Arc<Balancer>, shape: Shape) -> Load {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let begun = Arc::new(AtomicUsize::new(0));
        let client = |number: usize| {
            let (stop, done, begun) = (Arc::clone(&stop), Arc::clone(&done), Arc::clone(&begun));
            let balancer = Arc::clone(balancer);
            thread::spawn(move || {
                let mut outcomes = Vec::new();
                while !stop.load(Ordering::SeqCst) && begun.fetch_add(1, Ordering::SeqCst) < shape.requests {
                    outcomes.push(ask(&balancer, number, shape.tokens));
                    done.fetch_add(1, Ordering::SeqCst);
                }
                outcomes
            })
        };
        let clients = (0..shape.clients).map(client).collect();
        Load { stop, done, clients }
    }

    /// Waits until so many requests are done.
    pub(crate) fn wait_for(&self, requests: usize) {
        crate::wait("requests are answered", || self.done() >= requests);
    }

    /// Requests that are done.
    pub(crate) fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    /// Lets the clients finish what they have begun, and nothing more.
    pub(crate) fn stop(self) -> Vec<Outcome> {
        self.stop.store(true, Ordering::SeqCst);
        self.finish()
    }

    /// Waits until all requests are done.
    pub(crate) fn finish(self) -> Vec<Outcome> {
        self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    }
}

fn ask(balancer: &Balancer, client: usize, tokens: usize) -> Outcome {
    let body = format!(
        r#"{{"prompt":"client {client} wants to hear a story","n_predict":{tokens},"ignore_eos":true,"cache_prompt":false}}"#
    );
    let start = Instant::now();
    let mut port = None;
    let answer = http::send(balancer.port, "POST", "/completion", &body).and_then(|mut stream: TcpStream| {
        port = stream.local_addr().ok().map(|address| address.port());
        http::receive(&mut stream)
    });
    let lost = match answer {
        Ok((200, body)) => {
            let whole = format!("\"tokens_predicted\":{tokens},");
            (!body.contains(&whole)).then(|| format!("not {tokens} tokens: {body}"))
        }
        Ok((status, body)) => Some(format!("status {status}: {body}")),
        Err(error) => Some(error.to_string()),
    };
    Outcome { replica: port.and_then(|port| balancer.taken_by(port)), took: start.elapsed(), lost }
}

/// The time within which this share of requests was answered.
pub(crate) fn percentile(outcomes: &[Outcome], share: f64) -> Duration {
    let mut times: Vec<Duration> = outcomes.iter().map(|outcome| outcome.took).collect();
    times.sort();
    let at = (times.len() as f64 * share).ceil() as usize;
    times[at.clamp(1, times.len()) - 1]
}

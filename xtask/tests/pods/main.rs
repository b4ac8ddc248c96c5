//! From the registry to a pod: the image, the rendered manifests and a real container runtime. The image is pushed to a
//! registry, pulled by digest, and played with `podman play kube` as the overlay `stable` says, as far as one machine can.
//!
//! A short form runs with all tests. What takes minutes is ignored there and run by `cargo xtask test --full`.
//!
//! A program of its own, because cargo runs test programs one after the other: nothing else of ours runs meanwhile.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod balancer;
mod figures;
mod http;
mod load;
mod manifests;
mod podman;
mod replicas;
mod threads;

use std::env;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use balancer::Balancer;
use load::{Load, Outcome, Shape};
use replicas::Cluster;

/// One at a time: each takes all CPUs.
static TURN: Mutex<()> = Mutex::new(());

const CLIENTS: usize = 6;
/// Tokens of most answers.
const TOKENS: usize = 32;

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + http::PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {} s: {what}", http::PATIENCE.as_secs());
        thread::sleep(Duration::from_millis(20));
    }
}

/// Not `println!`, which the test harness keeps to itself.
pub(crate) fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// The store that `cargo xtask test` has filled.
pub(crate) fn home() -> PathBuf {
    let home = env::var_os("CARAVAN_TEST_HOME");
    PathBuf::from(home.expect("CARAVAN_TEST_HOME names no store with an installed build: run `cargo xtask test`"))
}

#[track_caller]
fn assert_none_lost(outcomes: &[Outcome], least: usize) {
    let lost: Vec<&str> = outcomes.iter().filter_map(|outcome| outcome.lost.as_deref()).collect();
    assert!(
        lost.is_empty(),
        "{} of {} requests were lost: {:?}",
        lost.len(),
        outcomes.len(),
        &lost[..lost.len().min(5)]
    );
    assert!(outcomes.len() >= least, "only {} requests", outcomes.len());
}

/// A server was told so many threads, and runs so many.
#[track_caller]
fn assert_threads(server: Pid, port: u16, threads: usize) {
    let arguments = podman::arguments(server);
    let value = |flag: &str| arguments[arguments.iter().position(|word| word == flag).unwrap() + 1].clone();
    assert_eq!([value("--threads"), value("--threads-batch")], [threads.to_string(), threads.to_string()]);
    assert_eq!(threads::computing(server, port), threads);
}

#[test]
fn a_pod_of_the_pulled_image_serves_with_the_threads_of_its_quota_and_drains() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = Cluster::new("tiny");
    let start = Instant::now();
    // The ConfigMap says 8.
    let (differences, ports) = cluster.play_all(1, 1);
    let ready = start.elapsed();
    say("stable, adapted to one machine:");
    differences.iter().for_each(|line| say(&format!("  {line}")));
    say(&format!("podman play kube to ready, with the image pulled: {} ms", ready.as_millis()));

    let server = cluster.server(0);
    assert_threads(server, ports[0], 1);
    let said = cluster.said(0);
    assert!(said.contains("`CODING_THREADS`: 8; capped by the CPU budget: 1 CPU (quota 1.00 of"), "{said}");

    let balancer = Arc::new(Balancer::start(&ports));
    let outcomes = Load::start(&balancer, Shape { clients: CLIENTS, requests: 60, tokens: TOKENS }).finish();
    assert_none_lost(&outcomes, 60);

    // As the kubelet ends a pod that runs a request.
    let stream = http::generate(ports[0], 3000);
    podman::signal(cluster.process(0), Signal::TERM);
    assert_eq!(http::generated(stream), 3000, "a running request is finished");
    wait("it says that it drains", || cluster.said(0).contains("draining: running requests have 60 s"));
    wait("it drains, ends and is started again", || http::is_ready(ports[0]) && cluster.server(0) != server);
}

#[test]
#[ignore = "takes minutes: `cargo xtask test --full` runs it"]
fn replicas_lose_nothing_when_they_are_rolled_ended_and_killed_under_load() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = Cluster::new("tiny");
    let (_, ports) = cluster.play_all(3, 2);
    // The ConfigMap says 8, the quota 2.
    assert_threads(cluster.server(0), ports[0], 2);
    let balancer = Arc::new(Balancer::start(&ports));
    let shape = Shape { clients: CLIENTS, requests: 100_000, tokens: TOKENS };

    // A change of the ConfigMap, and one replica after the other is made anew.
    let load = Load::start(&balancer, shape);
    load.wait_for(20);
    let start = Instant::now();
    let changed = cluster.changed("CODING_THREADS", 1);
    for number in 0..3 {
        roll(&changed, &balancer, number);
    }
    let seconds = start.elapsed().as_secs_f64();
    let before = load.done();
    load.wait_for(before + 50);
    let outcomes = load.stop();
    assert_none_lost(&outcomes, 70);
    say(&format!("rolled 3 replicas under load in {seconds:.1} s: {} requests, 0 lost", outcomes.len()));
    for (number, port) in ports.iter().enumerate() {
        // The ConfigMap says 1 now.
        assert_threads(changed.server(number), *port, 1);
    }

    // The end of one that is at work.
    let load = Load::start(&balancer, shape);
    load.wait_for(20);
    let stream = http::generate(ports[1], 3000);
    let process = changed.process(1);
    // The endpoints of the Service change before the container is told.
    balancer.enable(1, false);
    thread::sleep(Duration::from_millis(200));
    podman::signal(process, Signal::TERM);
    assert_eq!(http::generated(stream), 3000, "a running request is finished");
    wait("it is started again", || changed.running(1).is_some_and(|running| running != process));
    wait("it is ready again", || http::is_ready(ports[1]));
    balancer.enable(1, true);
    let outcomes = load.stop();
    assert_none_lost(&outcomes, 20);
    say(&format!("SIGTERM to one of 3 replicas under load: {} requests, 0 lost", outcomes.len()));

    kill_one(&changed, &balancer, shape);
}

/// As a rolling update does it: out of the Service, SIGTERM, a new pod, and into the Service when it is ready.
fn roll(changed: &Cluster, balancer: &Balancer, number: usize) {
    balancer.enable(number, false);
    thread::sleep(Duration::from_millis(200));
    changed.stop(number);
    changed.play(number);
    wait("the new pod is ready", || changed.is_ready(number));
    balancer.enable(number, true);
    wait("the Service sends requests there", || balancer.serves(number));
}

/// Kills one replica in the middle of a thousand requests.
fn kill_one(cluster: &Cluster, balancer: &Arc<Balancer>, shape: Shape) {
    const KILLED: usize = 2;
    let load = Load::start(balancer, Shape { requests: 1500, ..shape });
    load.wait_for(400);
    let process = cluster.process(KILLED);
    wait("it has requests", || balancer.active(KILLED) > 0);
    let kill = Instant::now();
    podman::signal(process, Signal::KILL);
    wait("nothing is sent there any more", || !balancer.serves(KILLED));
    wait("it is started again and serves", || balancer.serves(KILLED));
    let back = kill.elapsed();
    let outcomes = load.finish();
    let (there, elsewhere): (Vec<&Outcome>, Vec<&Outcome>) =
        outcomes.iter().filter(|outcome| outcome.lost.is_some()).partition(|outcome| outcome.replica == Some(KILLED));
    let why: Vec<_> = elsewhere.iter().map(|outcome| (outcome.replica, outcome.lost.as_deref())).collect();
    assert!(elsewhere.is_empty(), "requests were lost that were not on the killed replica: {why:?}");
    assert!(there.len() <= shape.clients, "{} requests, more than can be in flight", there.len());
    assert!(outcomes.len() >= 1000);
    let after = outcomes.iter().filter(|outcome| outcome.lost.is_none() && outcome.replica == Some(KILLED)).count();
    assert!(after > 0);
    say(&format!(
        "SIGKILL of one of 3 replicas under load: {} requests, 0 lost but {} in flight on it; it served again after {} ms",
        outcomes.len(),
        there.len(),
        back.as_millis()
    ));
}

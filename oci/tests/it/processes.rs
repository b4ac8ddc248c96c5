//! Pulling in processes that are interrupted, killed, or run out of disk.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::child;
use crate::support::proxy::{Fault, Proxy, rule};
use crate::support::registry::RealRegistry;
use crate::support::*;

fn case(layers: &[usize]) -> (TempDir, Artefact, RealRegistry, Proxy) {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact_of(dir.path(), layers);
    let registry = RealRegistry::start();
    push(&artefact, &registry.host);
    let proxy = Proxy::start(&registry.host, vec![]);
    (dir, artefact, registry, proxy)
}

/// Waits until a pull has brought so many bytes.
fn wait_for(running: &mut testkit::child::Running, bytes: u64) {
    while let Some(line) = running.wait_for("progress:") {
        let done: u64 = line.split(' ').next().unwrap().parse().unwrap();
        if done >= bytes {
            return;
        }
    }
    panic!("the pull ended early");
}

#[test]
fn killed_at_any_moment_a_pull_is_continued() {
    let (dir, artefact, _registry, proxy) = case(&[2_000_000, 1_300_000, 700_001]);
    proxy.add(rule("/blobs/", 1000, Fault::Slow));
    let cache = cache(dir.path());
    let steps = 8;
    for step in 0..steps {
        let mut running = child::start(dir.path(), &format!("pull {}", proxy.host));
        wait_for(&mut running, artefact.bytes() * step / steps);
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        assert_honest(&cache);
    }
    let running = child::start(dir.path(), &format!("pull {}", proxy.host));
    assert_eq!(running.result().as_deref(), Some("ok"));
    assert_complete(&cache, &artefact);
    // Each kill costs what was on its way: what lies in the buffers of sockets, for each of the blobs.
    let served = proxy.served("/blobs/") as u64;
    assert!(served < artefact.bytes() * 2, "{served} of {}", artefact.bytes());
}

#[test]
fn interrupted_a_pull_ends_and_keeps_what_it_has() {
    let (dir, artefact, _registry, proxy) = case(&[3_000_000]);
    proxy.add(rule(format!("/blobs/{}", artefact.layers[0].digest), 1, Fault::Stall(1_000_000)));
    let mut running = child::start(dir.path(), &format!("pull {}", proxy.host));
    wait_for(&mut running, 1_000_000);
    let pid = Pid::from_raw(i32::try_from(running.child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(running.result().as_deref(), Some("interrupted interrupted"));
    let cache = cache(dir.path());
    assert!(files(&cache).iter().any(|name| name.ends_with(".part")));
    pull(&source(&proxy.host), &cache).unwrap();
    assert_complete(&cache, &artefact);
    assert!(proxy.seen("/blobs/").last().unwrap().header("range").is_some());
}

#[test]
fn interrupted_while_the_registry_is_silent_a_pull_ends() {
    let (dir, artefact, _registry, proxy) = case(&[3_000_000]);
    proxy.add(rule(format!("/blobs/{}", artefact.layers[0].digest), 1, Fault::Silence));
    let mut running = child::start(dir.path(), &format!("pull {}", proxy.host));
    // The configuration is small and comes at once.
    wait_for(&mut running, 10);
    let pid = Pid::from_raw(i32::try_from(running.child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(running.result().as_deref(), Some("interrupted interrupted"));
}

#[test]
fn on_a_full_disk_a_pull_fails_and_goes_on_when_there_is_room() {
    let (dir, artefact, _registry, proxy) = case(&[2_000_000, 300_000]);
    let full = child::start(dir.path(), &format!("pull-on-full-disk {}", proxy.host)).result().unwrap();
    // A limit of file sizes stands in for the disk; the system names it so.
    assert!(full.starts_with("io::failed cannot write"), "{full}");
    let cache = cache(dir.path());
    assert_honest(&cache);
    pull(&source(&proxy.host), &cache).unwrap();
    assert_complete(&cache, &artefact);
    let layer = proxy.seen(&format!("/blobs/{}", artefact.layers[0].digest));
    assert_eq!(layer.last().unwrap().header("range"), Some("bytes=500000-"));
}

#[test]
fn processes_that_pull_at_once_share_the_work() {
    let (dir, artefact, _registry, proxy) = case(&[2_000_000, 1_000_000]);
    proxy.add(rule(format!("/blobs/{}", artefact.layers[0].digest), 1, Fault::Stall(1_500_000)));
    let action = format!("pull {}", proxy.host);
    let mut killed = child::start(dir.path(), &action);
    wait_for(&mut killed, 1_000_000);
    let others: Vec<_> = (0..2).map(|_| child::start(dir.path(), &action)).collect();
    thread::sleep(Duration::from_millis(200));
    // Those who wait take over.
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    for other in others {
        assert_eq!(other.result().as_deref(), Some("ok"));
    }
    assert_complete(&cache(dir.path()), &artefact);
}

#[test]
fn a_large_blob_is_not_held_in_memory() {
    let (dir, artefact, registry, _proxy) = case(&[96 << 20]);
    let mut command = child::command(dir.path(), &format!("pull {}", registry.host));
    let done = process::run(command.stdin(Stdio::null()), Duration::from_secs(300)).unwrap();
    assert!(done.stdout.contains("result: ok"), "{}", done.stdout);
    assert_complete(&cache(dir.path()), &artefact);
    println!("peak memory: {} MB", done.peak_rss_bytes / 1_000_000);
    assert!(done.peak_rss_bytes < 64 << 20, "{}", done.peak_rss_bytes);
}

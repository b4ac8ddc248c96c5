//! Installations that are ended from outside: killed, interrupted, out of disk.

use std::fs;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use diagnostic::codes;
use rustix::process::{Pid, Signal, kill_process};
use testkit::proxy::{Fault, Proxy, rule};

use crate::artefacts::MARKER;
use crate::home::{Done, Published, reference, spawn};

/// As long as anything may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(300);

/// Waits until something is so.
#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {} s", PATIENCE.as_secs());
        thread::sleep(Duration::from_millis(5));
    }
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

#[test]
fn killed_at_any_moment_the_build_before_still_runs_and_the_next_run_finishes() {
    let published = Published::installed();
    let (home, v1) = (&published.home, &published.v1);
    let v2 = published.publish_v2();
    let update = published.install(&["--update"]);
    let start = Instant::now();
    home.run(&update).succeeds();
    let whole = start.elapsed();
    let mut both = [v1.id.to_string(), v2.id.to_string()];
    both.sort();
    let mut random = fastrand::Rng::with_seed(20);
    for round in 0..20 {
        home.run(&["use", &v1.id.to_string()]).succeeds();
        home.run(&["uninstall", &v2.id.to_string()]).succeeds();
        let mut child = home.start(&update);
        thread::sleep(whole.mul_f64((f64::from(round) + random.f64()) / 20.0));
        child.kill().unwrap();
        child.wait().unwrap();

        let active = home.store.active().unwrap().unwrap();
        home.assert_active(if active == v2.id { &v2 } else { v1 });
        let listed = home.store.list().unwrap();
        assert!(listed.iter().all(|build| build.info.is_ok()), "round {round}");
        for build in &listed {
            assert_eq!(home.store.verify(&build.id).unwrap().to_string(), "intact", "round {round}");
        }
        // The next run finishes the job, with what is there.
        home.run(&update).succeeds();
        home.assert_active(&v2);
        assert_eq!(home.builds(), both, "round {round}");
        assert_eq!(home.cached(), [""; 0], "round {round}");
        assert_eq!(home.origin(&v2.id)["digest"], v2.index().digest.to_string());
    }
}

#[test]
fn an_interrupted_download_leaves_a_clean_store_and_is_continued() {
    let published = Published::installed();
    let (home, v1) = (&published.home, &published.v1);
    let v2 = published.publish_v2();
    let blob = format!("/blobs/{}", v2.layer().digest);
    // The first answer breaks off, the second never comes.
    let faults = vec![rule(&blob, 1, Fault::Cut(2_000_000)), rule(&blob, 1, Fault::Silence)];
    let proxy = Proxy::start(&published.registry.host, faults);
    let reference = reference(&proxy.host);
    let child = home.start(&published.install_from(&reference, &[]));
    wait_until("the second request", || proxy.seen(&blob).len() == 2);
    interrupt(&child);
    Done::wait(child).fails(codes::INTERRUPTED, "interrupted");
    home.assert_active(v1);
    assert_eq!(home.builds(), [v1.id.to_string()]);

    home.run(&published.install_from(&reference, &[])).succeeds();
    home.assert_active(&v2);
    assert_eq!(proxy.seen(&blob).last().unwrap().header("range"), Some("bytes=2000000-"));
}

#[test]
fn interrupted_while_a_tool_is_tried_it_leaves_a_clean_store() {
    let published = Published::installed();
    let (home, v1) = (&published.home, &published.v1);
    let v2 = published.publish_v2();
    let marker = home.path().join("marker");
    let mut command = home.command(&published.install(&["--update"]));
    let child = spawn(command.env(MARKER, &marker));
    wait_until("a tool that runs", || marker.exists());
    interrupt(&child);
    Done::wait(child).fails(codes::INTERRUPTED, "interrupted");
    home.assert_active(v1);
    assert_eq!(home.builds(), [v1.id.to_string()]);
    home.run(&published.install(&["--update"])).succeeds();
    home.assert_active(&v2);
}

#[test]
fn killed_while_a_tool_is_tried_the_rest_is_swept() {
    let published = Published::installed();
    let (home, v1) = (&published.home, &published.v1);
    let v2 = published.publish_v2();
    let marker = home.path().join("marker");
    let mut command = home.command(&published.install(&["--update"]));
    let mut child = spawn(command.env(MARKER, &marker));
    wait_until("a tool that runs", || marker.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let tool = fs::read_to_string(&marker).unwrap().parse().unwrap();
    kill_process(Pid::from_raw(tool).unwrap(), Signal::KILL).unwrap();
    home.assert_active(v1);
    assert!(home.builds().iter().any(|name| name.starts_with(".staging-")), "{:?}", home.builds());
    home.run(&published.install(&["--update"])).succeeds();
    home.assert_active(&v2);
    assert_eq!(home.builds().len(), 2);
}

#[test]
fn on_a_full_disk_the_active_build_stays() {
    let published = Published::installed();
    let (home, v1) = (&published.home, &published.v1);
    let v2 = published.publish_v2();
    // Files cannot grow beyond this: too little for the download, then for what is in it.
    for bytes in [1_000_000, 8_000_000] {
        let limited = format!("trap '' XFSZ; exec prlimit --fsize={bytes} \"$@\"");
        let program = ["sh", "-c", &limited, "sh", env!("CARGO_BIN_EXE_xtask")];
        let mut command = home.command_through(&program, &published.install(&["--update"]));
        Done::of(&mut command).fails(codes::IO, "file too large");
        home.assert_active(v1);
        assert_eq!(home.builds(), [v1.id.to_string()]);
    }
    home.run(&published.install(&["--update"])).succeeds();
    home.assert_active(&v2);
}

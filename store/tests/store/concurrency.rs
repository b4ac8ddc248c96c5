//! Writers take turns, readers never wait.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use store::Store;

use crate::child;
use crate::support::*;

#[test]
fn installs_at_once_take_turns() {
    let home = home();
    let names: Vec<String> = (0..8).map(|n| format!("tree{n}")).collect();
    thread::scope(|scope| {
        for name in &names {
            let store = home.store.clone();
            scope.spawn(move || try_install(&store.lock(|_| {}).unwrap(), name).unwrap());
        }
    });
    let builds = home.store.list().unwrap();
    assert_eq!(builds.len(), names.len());
    for build in &builds {
        assert!(home.store.verify(&build.id).unwrap().is_intact());
    }
    assert_eq!(builds.iter().filter(|build| build.active).count(), 1);
    // Each was active once: going back meets them all.
    let mut seen = BTreeSet::from([active_says(&home.store)]);
    let writer = writer(&home.store);
    while writer.rollback().is_ok() {
        seen.insert(active_says(&home.store));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), names);
}

#[test]
fn another_process_waits_for_the_lock_and_says_for_whom() {
    let home = home();
    let held = writer(&home.store);
    let mut other = child::start(&home.store, "install oak");
    assert_eq!(other.wait_for("waiting:"), Some(std::process::id().to_string()));
    assert_eq!(home.store.active().unwrap(), None);
    drop(held);
    assert_eq!(other.result().as_deref(), Some("ok"));
    assert_eq!(active_says(&home.store), "oak");
}

#[test]
fn waiting_for_the_lock_can_be_interrupted() {
    let home = home();
    let oak = install(&home.store, "oak");
    let held = writer(&home.store);
    let mut other = child::start(&home.store, "install elm");
    other.wait_for("waiting:").unwrap();
    kill_process(Pid::from_child(&other.child), Signal::INT).unwrap();
    assert_eq!(other.result().as_deref(), Some("interrupted"));
    drop(held);
    assert_only_works(&home.store, &oak, "oak");
}

#[test]
fn the_lock_of_a_killed_writer_is_free() {
    let home = home();
    let held = writer(&home.store);
    let mut other = child::start(&home.store, "hold");
    other.wait_for("waiting:").unwrap();
    drop(held);
    other.wait_for("holding:").unwrap();
    let mut waited_for = None;
    drop(home.store.lock(|holder| {
        waited_for = holder;
        other.child.kill().unwrap();
    }));
    assert_eq!(waited_for, Some(other.child.id()));
    assert_eq!(other.result(), None);
}

#[test]
fn readers_see_the_old_build_or_the_new_one() {
    let home = home();
    let ids = ["oak", "elm"].map(|name| install(&home.store, name).to_string());
    let done = AtomicBool::new(false);
    let read = |store: &Store| {
        let mut reads = 0;
        while !done.load(Ordering::Relaxed) || reads == 0 {
            let said = active_says(store);
            assert!(["oak", "elm"].contains(&said.as_str()), "{said}");
            let active = store.active().unwrap().unwrap();
            assert!(ids.contains(&active.to_string()), "{active}");
            reads += 1;
        }
    };
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(|| read(&home.store))).collect();
        for turn in 0..100 {
            writer(&home.store).use_build(&ids[turn % 2]).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

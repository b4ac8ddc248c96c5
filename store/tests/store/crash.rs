//! A writer may be killed between any two system calls. Every state that this leaves is built here by hand, and once more
//! by really killing writers.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::Duration;

use build_info::BuildId;
use store::{Outcome, Store};

use crate::child;
use crate::support::*;

/// The store has the active build `oak`. Then a writer that was installing `elm` dies and leaves what `leave` makes.
fn survives(leave: impl FnOnce(&Store, &BuildId)) -> Outcome {
    let home = home();
    let store = &home.store;
    let oak = install(store, "oak");
    leave(store, &oak);
    assert_eq!(store.active().unwrap(), Some(oak.clone()));
    assert_eq!(active_says(store), "oak");
    assert!(store.list().unwrap().iter().all(|build| build.info.is_ok()));

    let receipt = try_install(&writer(store), "elm").unwrap();
    assert_eq!(receipt.activation.from, Some(oak.clone()));
    assert_eq!(active_says(store), "elm");
    assert_eq!(names(store.root()), [".lock", "bin", "builds", "current", "history", "lib"]);
    assert_eq!(store.ids().unwrap().len(), names(&store.builds()).len());
    assert_eq!(writer(store).rollback().unwrap().activation.to, oak);
    assert_eq!(active_says(store), "oak");
    receipt.outcome
}

/// Puts `elm` into the store as if the writer had died right before it changed `current`.
fn place_elm(store: &Store, oak: &BuildId) -> BuildId {
    let elm = install(store, "elm");
    fs::remove_file(store.current()).unwrap();
    symlink(format!("builds/{oak}"), store.current()).unwrap();
    elm
}

#[test]
fn killed_while_staging() {
    let outcome = survives(|store, _| {
        let half = store.builds().join(".staging-half");
        fs::create_dir_all(half.join("bin")).unwrap();
        fs::write(half.join("bin").join(TOOL), "half a to").unwrap();
    });
    assert_eq!(outcome, Outcome::Added);
}

#[test]
fn killed_before_the_build_is_renamed() {
    let outcome = survives(|store, oak| {
        let elm = place_elm(store, oak);
        fs::remove_file(store.root().join("history")).unwrap();
        fs::rename(store.build(&elm), store.builds().join(".staging-whole")).unwrap();
    });
    assert_eq!(outcome, Outcome::Added);
}

#[test]
fn killed_after_the_build_is_renamed() {
    let outcome = survives(|store, oak| {
        place_elm(store, oak);
        fs::remove_file(store.root().join("history")).unwrap();
    });
    assert_eq!(outcome, Outcome::AlreadyInstalled);
}

#[test]
fn killed_after_the_history_is_written() {
    let outcome = survives(|store, oak| {
        place_elm(store, oak);
        assert_eq!(fs::read_to_string(store.root().join("history")).unwrap(), format!("{oak}\n"));
    });
    assert_eq!(outcome, Outcome::AlreadyInstalled);
}

#[test]
fn killed_with_temporary_files_in_the_root() {
    survives(|store, oak| {
        fs::write(store.root().join(".history.abc"), "nat").unwrap();
        symlink(format!("builds/{oak}"), store.root().join(".link-abc")).unwrap();
    });
}

#[test]
fn killed_while_a_build_is_removed() {
    survives(|store, _| {
        let trash = store.builds().join(".trash-native-0.5.0-0c1e5709-8f14e45f");
        fs::create_dir_all(trash.join("lib")).unwrap();
        fs::write(trash.join("lib/libname.so.1"), "old\n").unwrap();
    });
}

#[test]
fn killed_after_a_damaged_build_was_exchanged() {
    survives(|store, _| fs::write(store.builds().join(".staging-damaged"), "was a build once").unwrap());
}

#[test]
fn killed_during_a_rollback() {
    let home = home();
    let store = &home.store;
    let [oak, elm, _fir] = ["oak", "elm", "fir"].map(|name| install(store, name));
    // Flipped to `elm`, the history not yet shortened.
    fs::remove_file(store.current()).unwrap();
    symlink(format!("builds/{elm}"), store.current()).unwrap();
    assert_eq!(writer(store).rollback().unwrap().activation.to, oak);
}

#[test]
fn killed_while_a_tool_runs() {
    let home = home();
    let oak = install(&home.store, "oak");
    // The tool kills the process that installs it.
    assert_eq!(child::start(&home.store, "try kill -9 $PPID; sleep 1").result(), None);
    assert_eq!(active_says(&home.store), "oak");
    assert!(names(&home.store.builds()).iter().any(|name| name.starts_with(".staging-")));
    drop(writer(&home.store));
    assert_only_works(&home.store, &oak, "oak");
}

#[test]
fn interrupted_while_a_tool_runs() {
    let home = home();
    let oak = install(&home.store, "oak");
    assert_eq!(child::start(&home.store, "try kill -INT $PPID; sleep 60").result().as_deref(), Some("interrupted"));
    assert_only_works(&home.store, &oak, "oak");
}

#[test]
fn killed_at_any_moment() {
    let home = home();
    let store = &home.store;
    let oak = install(store, "oak");
    for round in 0..40 {
        let mut churn = child::start(store, "churn");
        churn.wait_for("ready:").unwrap();
        thread::sleep(Duration::from_millis(round * 5));
        churn.child.kill().unwrap();
        assert_eq!(churn.result(), None);

        let active = store.active().unwrap().unwrap();
        let said = active_says(store);
        assert!(["oak", "elm", "fir"].contains(&said.as_str()), "round {round}: {said}");
        // The test itself takes the licence away, to see the build replaced; nothing else may differ.
        let mut found = store.verify(&active).unwrap();
        found.missing.retain(|path| path != "share/LICENSE");
        assert!(found.is_intact(), "round {round}: {found}");
        let next = writer(store);
        assert_eq!(names(&store.builds()).len(), store.ids().unwrap().len(), "round {round}: swept");
        next.use_build(&oak.to_string()).unwrap();
    }
}

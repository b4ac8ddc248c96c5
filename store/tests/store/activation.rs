//! Activating, rolling back, and damaged links.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use diagnostic::codes;

use crate::support::*;

#[test]
fn use_switches_and_rollback_goes_back_step_by_step() {
    let home = home();
    let store = &home.store;
    let [oak, elm, fir] = ["oak", "elm", "fir"].map(|name| install(store, name));
    let writer = writer(store);
    let back = writer.rollback().unwrap().activation;
    assert_eq!((back.from, back.to), (Some(fir.clone()), elm.clone()));
    assert_eq!(active_says(store), "elm");
    assert_eq!(writer.rollback().unwrap().activation.to, oak);
    assert_eq!(writer.rollback().unwrap_err().code(), codes::NO_ROLLBACK);
    assert_eq!(active_says(store), "oak");

    let forth = writer.use_build(&fir.to_string()).unwrap();
    assert_eq!((forth.from, forth.to), (Some(oak.clone()), fir));
    assert_eq!(writer.rollback().unwrap().activation.to, oak);
}

#[test]
fn using_the_active_build_changes_nothing() {
    let home = home();
    let [oak, elm] = ["oak", "elm"].map(|name| install(&home.store, name));
    let writer = writer(&home.store);
    writer.use_build(&elm.to_string()).unwrap();
    writer.use_build(&elm.to_string()).unwrap();
    assert_eq!(writer.rollback().unwrap().activation.to, oak);
}

#[test]
fn rollback_passes_over_builds_that_are_gone_or_damaged() {
    let home = home();
    let store = &home.store;
    let [oak, elm, fir, _ash] = ["oak", "elm", "fir", "ash"].map(|name| install(store, name));
    let writer = writer(store);
    writer.uninstall(&fir.to_string()).unwrap();
    fs::remove_file(store.build(&elm).join("lib/libname.so.1")).unwrap();
    let back = writer.rollback().unwrap();
    assert_eq!(back.activation.to, oak);
    let skipped: Vec<String> = back.skipped.iter().map(|(_, why)| why.to_string()).collect();
    insta::assert_snapshot!(skipped.join("\n"), @"build `native-0.5.0-0c1e5709-48525d8a` is damaged: wrong: lib/libname.so; missing: lib/libname.so.1");
    assert_eq!(active_says(store), "oak");
}

#[test]
fn no_rollback_says_why() {
    let home = home();
    let [oak, elm] = ["oak", "elm"].map(|name| install(&home.store, name));
    writer(&home.store).use_build(&oak.to_string()).unwrap();
    writer(&home.store).use_build(&elm.to_string()).unwrap();
    // Twice in the history, named once.
    fs::write(home.store.build(&oak).join("share/NEW"), "").unwrap();
    let error = writer(&home.store).rollback().unwrap_err();
    assert_eq!(error.code(), codes::NO_ROLLBACK);
    insta::assert_snapshot!(format!("{error}\nhint: {}", error.hints().join("\nhint: ")), @"
        there is no earlier build to go back to
        hint: passed over: build `native-0.5.0-0c1e5709-b360a86e` is damaged: extra: share/NEW
        hint: `cargo xtask list` shows what is installed, `cargo xtask use ID` activates it
    ");
    assert_eq!(active_says(&home.store), "elm");
}

#[test]
fn a_damaged_build_cannot_be_used() {
    let home = home();
    let [oak, elm] = ["oak", "elm"].map(|name| install(&home.store, name));
    fs::write(home.store.build(&oak).join("lib/libname.so.1"), "oak!\n").unwrap();
    let error = writer(&home.store).use_build(&oak.to_string()).unwrap_err();
    assert_eq!(error.code(), codes::BUILD_CORRUPT);
    assert_eq!(home.store.active().unwrap(), Some(elm));
}

#[test]
fn a_garbled_history_only_forgets() {
    let home = home();
    let [oak, elm] = ["oak", "elm"].map(|name| install(&home.store, name));
    let history = home.store.root().join("history");
    fs::write(&history, format!("../../etc\n\u{fffd}\n{elm}\n{oak}\n")).unwrap();
    assert_eq!(writer(&home.store).rollback().unwrap().activation.to, oak);
    fs::remove_file(&history).unwrap();
    assert_eq!(writer(&home.store).rollback().unwrap_err().code(), codes::NO_ROLLBACK);
}

#[test]
fn a_link_to_nothing_is_named_and_repaired_by_use_or_rollback() {
    let home = home();
    let store = &home.store;
    let [oak, elm] = ["oak", "elm"].map(|name| install(store, name));
    fs::remove_dir_all(store.build(&elm)).unwrap();
    let error = store.active().unwrap_err();
    assert_eq!(error.code(), codes::BUILD_CORRUPT);
    assert!(error.to_string().contains(&elm.to_string()), "{error}");
    assert!(store.list().unwrap().iter().all(|build| !build.active));
    assert_eq!(writer(store).rollback().unwrap().activation.to, oak);
    assert_eq!(active_says(store), "oak");

    fs::remove_file(store.current()).unwrap();
    symlink(Path::new("builds").join(elm.to_string()), store.current()).unwrap();
    assert_eq!(writer(store).use_build(&oak.to_string()).unwrap().from, Some(elm));
    assert_eq!(active_says(store), "oak");
}

#[test]
fn a_strange_current_is_named_and_left_alone() {
    let home = home();
    let store = &home.store;
    let oak = install(store, "oak");
    for target in ["/etc", "builds/../../etc", "builds", ""] {
        fs::remove_file(store.current()).unwrap();
        if target.is_empty() {
            fs::write(store.current(), "not a link").unwrap();
        } else {
            symlink(target, store.current()).unwrap();
        }
        let error = store.active().unwrap_err();
        assert_eq!(error.code(), codes::BUILD_CORRUPT, "{target}");
        assert_eq!(store.list().unwrap().len(), 1, "{target}");
        assert_eq!(writer(store).use_build(&oak.to_string()).unwrap_err().code(), codes::BUILD_CORRUPT, "{target}");
    }
}

#[test]
fn a_foreign_bin_is_not_touched() {
    let home = home();
    fs::create_dir_all(home.store.bin()).unwrap();
    fs::write(home.store.bin().join("mine"), "").unwrap();
    let error = writer(&home.store).stage().unwrap_err();
    assert!(error.to_string().contains("is in the way"), "{error}");
    assert!(error.hints()[0].contains("CARAVAN_HOME"), "{error:?}");
    assert_eq!(names(&home.store.bin()), ["mine"]);
}

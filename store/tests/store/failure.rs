//! A disk that is full, a store that cannot be written.

use std::fs;

use diagnostic::codes;
use store::Store;

use crate::child;
use crate::support::*;

#[test]
fn on_a_full_disk_an_install_fails_and_the_active_build_works() {
    let home = home();
    let oak = install(&home.store, "oak");
    assert_eq!(child::start(&home.store, "install-on-full-disk elm").result().as_deref(), Some("io::failed"));
    assert_only_works(&home.store, &oak, "oak");
}

#[test]
fn on_a_full_disk_one_can_go_back_and_make_room() {
    let home = home();
    let store = &home.store;
    let [oak, elm] = ["oak", "elm"].map(|name| install(store, name));
    let run = |action: &str| child::start(store, action).result().unwrap();
    assert_eq!(run(&format!("use-on-full-disk {oak}")), "io::failed");
    assert_eq!(active_says(store), "elm");
    assert_eq!(run("rollback-on-full-disk"), "ok");
    assert_eq!(active_says(store), "oak");
    assert_eq!(run(&format!("uninstall-on-full-disk {elm}")), "ok");
    assert_only_works(store, &oak, "oak");
}

#[test]
fn a_store_that_cannot_be_created_is_one_error() {
    let home = home();
    let file = home.directory.path().join("file");
    fs::write(&file, "").unwrap();
    let store = Store::at(file.join(".local"));
    let error = store.lock(|_| {}).unwrap_err();
    assert!(error.to_string().starts_with("cannot create `"), "{error}");
    assert!(error.hints()[0].contains("CARAVAN_HOME"), "{error:?}");
    assert!(store.active().is_err());
}

#[test]
fn a_file_in_place_of_the_builds_is_one_error() {
    let home = home();
    fs::create_dir(home.store.root()).unwrap();
    fs::write(home.store.builds(), "").unwrap();
    assert!(home.store.lock(|_| {}).is_err());
    assert!(home.store.list().is_err());
    assert_eq!(fs::read(home.store.builds()).unwrap(), b"");
}

#[test]
fn a_lock_or_history_that_cannot_be_written_changes_nothing() {
    let home = home();
    let [oak, elm] = ["oak", "elm"].map(|name| install(&home.store, name));
    let history = home.store.root().join("history");
    fs::remove_file(&history).unwrap();
    fs::create_dir(&history).unwrap();
    assert_eq!(writer(&home.store).use_build(&oak.to_string()).unwrap_err().code(), codes::IO);
    assert_eq!(home.store.active().unwrap(), Some(elm.clone()));

    let lock = home.store.root().join(".lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    assert_eq!(home.store.lock(|_| {}).unwrap_err().code(), codes::IO);
    assert_eq!(active_says(&home.store), "elm");
}

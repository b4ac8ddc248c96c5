//! Where builds came from is remembered beside them.

use std::fs;

use build_info::{BuildId, Origin, Timestamp};

use crate::support::*;

fn origin(reference: &str, date: &str) -> Origin {
    Origin {
        schema_version: Origin::SCHEMA_VERSION,
        reference: reference.to_owned(),
        digest: format!("sha256:{}", "a".repeat(64)),
        manifest: format!("sha256:{}", "b".repeat(64)),
        signed_by: None,
        date: date.parse::<Timestamp>().unwrap(),
        extra: Default::default(),
    }
}

#[test]
fn the_last_build_of_a_name_is_found_until_it_is_uninstalled() {
    let home = home();
    let [oak, elm] = ["oak", "elm"].map(|name| install(&home.store, name));
    let name = "registry.example/llama:1";
    let writer = writer(&home.store);
    assert_eq!(home.store.origin(&oak).unwrap(), None);
    assert_eq!(home.store.installed_from(name).unwrap(), None);
    let first = origin(name, "2026-10-02T09:00:00Z");
    let second = origin(name, "2026-10-03T09:00:00Z");
    writer.record_origin(&elm, &second).unwrap();
    writer.record_origin(&oak, &first).unwrap();
    assert_eq!(home.store.installed_from(name).unwrap(), Some((elm.clone(), second)));
    assert_eq!(home.store.installed_from("registry.example/llama:2").unwrap(), None);

    writer.use_build(&oak.to_string()).unwrap();
    writer.uninstall(&elm.to_string()).unwrap();
    assert!(!home.store.origin_path(&elm).exists());
    assert_eq!(home.store.installed_from(name).unwrap().map(|(id, _)| id), Some(oak));
}

#[test]
fn a_damaged_origin_is_named_and_does_not_hide_the_others() {
    let home = home();
    let [oak, elm]: [BuildId; 2] = ["oak", "elm"].map(|name| install(&home.store, name));
    let writer = writer(&home.store);
    writer.record_origin(&oak, &origin("a", "2026-10-02T09:00:00Z")).unwrap();
    writer.record_origin(&elm, &origin("a", "2026-10-03T09:00:00Z")).unwrap();
    fs::write(home.store.origin_path(&elm), "{").unwrap();
    let error = home.store.origin(&elm).unwrap_err();
    assert!(error.to_string().contains("is damaged"), "{error}");
    assert_eq!(home.store.installed_from("a").unwrap().map(|(id, _)| id), Some(oak));
}

//! Where builds came from is remembered beside them.

use std::fs;

use build_info::{Arrival, BuildId, Timestamp};

use crate::support::*;

fn arrival(reference: &str, date: &str) -> Arrival {
    Arrival {
        reference: reference.to_owned(),
        digest: format!("sha256:{}", "a".repeat(64)),
        manifest: format!("sha256:{}", "b".repeat(64)),
        signed_by: None,
        built_here: false,
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
    let first = arrival(name, "2026-10-02T09:00:00Z");
    let second = arrival(name, "2026-10-03T09:00:00Z");
    writer.record_arrival(&elm, second.clone()).unwrap();
    writer.record_arrival(&oak, first).unwrap();
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
    writer.record_arrival(&oak, arrival("a", "2026-10-02T09:00:00Z")).unwrap();
    writer.record_arrival(&elm, arrival("a", "2026-10-03T09:00:00Z")).unwrap();
    fs::write(home.store.origin_path(&elm), "{").unwrap();
    let error = home.store.origin(&elm).unwrap_err();
    assert!(error.to_string().contains("is damaged"), "{error}");
    assert_eq!(home.store.installed_from("a").unwrap().map(|(id, _)| id), Some(oak));
}

#[test]
fn a_build_remembers_every_name_that_it_was_installed_under() {
    let home = home();
    let oak = install(&home.store, "oak");
    let writer = writer(&home.store);
    let [registry, layout] = ["registry.example/llama:1", "oci:dist/oci"];
    for (name, date) in [(registry, "2026-10-02"), (layout, "2026-10-03"), (registry, "2026-10-04")] {
        writer.record_arrival(&oak, arrival(name, &format!("{date}T09:00:00Z"))).unwrap();
    }
    let arrivals = home.store.origin(&oak).unwrap().unwrap().arrivals;
    assert_eq!(arrivals.iter().map(|arrival| &arrival.reference).collect::<Vec<_>>(), [layout, registry]);
    for name in [registry, layout] {
        assert_eq!(home.store.installed_from(name).unwrap().map(|(id, _)| id).as_ref(), Some(&oak));
    }
    // The same files again change nothing in that.
    drop(writer);
    install(&home.store, "oak");
    assert_eq!(home.store.origin(&oak).unwrap().unwrap().arrivals, arrivals);
}

#[test]
fn the_same_arrival_again_is_not_written_again() {
    let home = home();
    let [oak, elm] = ["oak", "elm"].map(|name| install(&home.store, name));
    let writer = writer(&home.store);
    writer.record_arrival(&oak, arrival("a", "2026-10-02T09:00:00Z")).unwrap();
    let before = fs::read(home.store.origin_path(&oak)).unwrap();
    writer.record_arrival(&oak, arrival("a", "2026-10-03T09:00:00Z")).unwrap();
    assert_eq!(fs::read(home.store.origin_path(&oak)).unwrap(), before);
    // It says something else: it is written.
    let signed = Arrival { signed_by: Some("0123456789ABCDEF".to_owned()), ..arrival("a", "2026-10-04T09:00:00Z") };
    writer.record_arrival(&oak, signed.clone()).unwrap();
    assert_eq!(home.store.installed_from("a").unwrap(), Some((oak.clone(), signed.clone())));
    // The name has meant another build meanwhile: it is written, too.
    writer.record_arrival(&elm, arrival("a", "2026-10-05T09:00:00Z")).unwrap();
    let back = Arrival { date: "2026-10-06T09:00:00Z".parse().unwrap(), ..signed };
    writer.record_arrival(&oak, back).unwrap();
    assert_eq!(home.store.installed_from("a").unwrap().map(|(id, _)| id), Some(oak));
}

#[test]
fn who_vouched_for_other_files_vouches_no_more() {
    let home = home();
    let oak = install(&home.store, "oak");
    writer(&home.store).record_arrival(&oak, arrival("a", "2026-10-02T09:00:00Z")).unwrap();
    fs::write(home.store.build(&oak).join("lib/libname.so.1"), "rotten\n").unwrap();
    install(&home.store, "oak");
    assert_eq!(home.store.origin(&oak).unwrap(), None);
}

//! Tuning is kept per host, build and class.

use std::fs;
use std::num::NonZeroU32;

use build_info::{ClassTuning, Extra, Figure, HostFingerprint, ModelClass, PhaseTuning, Trial};
use diagnostic::codes;

use crate::support::*;

fn measured(threads: u32, tokens_per_second: f64) -> ClassTuning {
    let threads = NonZeroU32::new(threads).unwrap();
    let phase = |tokens| PhaseTuning {
        threads,
        tokens_per_second,
        tokens: NonZeroU32::new(tokens).unwrap(),
        baseline: Figure { threads, tokens_per_second, extra: Extra::new() },
        trials: vec![Trial { threads, samples: vec![tokens_per_second], extra: Extra::new() }],
        extra: Extra::new(),
    };
    ClassTuning {
        date: "2026-10-02T09:00:00Z".parse().unwrap(),
        unstable: false,
        generation: phase(128),
        prompt: phase(512),
        settings: Default::default(),
        environment: Default::default(),
        bytes_per_token: Some(600_000_000),
        search: None,
        extra: Extra::new(),
    }
}

#[test]
fn measurements_are_kept_by_host_build_and_class() {
    let home = home();
    let id = install(&home.store, "oak");
    let host: HostFingerprint = "emerald-2c-0a1b".parse().unwrap();
    let [small, large] = ["1b", "7b"].map(|size| ModelClass::new(size, "Q4_K_M").unwrap());
    assert_eq!(home.store.tuning(&host, &id).unwrap(), None);
    let writer = writer(&home.store);
    writer.record_tuning(&host, &id, small.clone(), measured(2, 20.0)).unwrap();
    writer.record_tuning(&host, &id, large.clone(), measured(2, 3.0)).unwrap();
    let written = writer.record_tuning(&host, &id, small.clone(), measured(4, 21.0)).unwrap();
    let read = home.store.tuning(&host, &id).unwrap().unwrap();
    assert_eq!(read, written);
    assert_eq!(read.classes[&small], measured(4, 21.0));
    assert_eq!(read.classes[&large], measured(2, 3.0));
    let other = "other".parse().unwrap();
    assert_eq!(home.store.tuning(&other, &id).unwrap(), None);
    assert_eq!((home.store.tuned_elsewhere(&host, &id), home.store.tuned_elsewhere(&other, &id)), (0, 1));
}

#[test]
fn measurements_of_another_host_or_damaged_ones_are_refused_and_not_overwritten() {
    let home = home();
    let id = install(&home.store, "oak");
    let [here, there]: [HostFingerprint; 2] = ["here".parse().unwrap(), "there".parse().unwrap()];
    let class = ModelClass::new("1b", "q8_0").unwrap();
    let writer = writer(&home.store);
    writer.record_tuning(&here, &id, class.clone(), measured(2, 14.0)).unwrap();
    let path = home.store.tuning_path(&there, &id);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::copy(home.store.tuning_path(&here, &id), &path).unwrap();
    assert_eq!(home.store.tuning(&there, &id).unwrap_err().code(), codes::BUILD_CORRUPT);
    fs::write(&path, "{").unwrap();
    let error = writer.record_tuning(&there, &id, class, measured(2, 14.0)).unwrap_err();
    assert_eq!(error.code(), codes::BUILD_CORRUPT);
    assert_eq!(fs::read_to_string(&path).unwrap(), "{");
}

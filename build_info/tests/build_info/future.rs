//! A file of a later version with the same `schema_version`: it has keys that this code has never heard of.

use build_info::{BuildInfo, BuildKind};
use diagnostic::codes;
use serde_json::{Value, json};

const FUTURE: &str = include_str!("future.json");

pub(crate) fn example() -> BuildInfo {
    BuildInfo::from_json(FUTURE.as_bytes(), "future.json".as_ref()).unwrap()
}

#[test]
fn what_a_later_version_added_is_kept_at_every_level() {
    let info = example();
    assert_eq!(info.build_type, BuildKind::Native);
    assert_eq!(info.extra["gpu_backends"], json!(["vulkan"]));
    let before: Value = serde_json::from_str(FUTURE).unwrap();
    let after: Value = serde_json::from_str(&info.to_json().unwrap()).unwrap();
    assert_eq!(before, after);
}

#[test]
fn a_change_here_keeps_what_a_later_version_added() {
    let mut info = example();
    info.lto = true;
    let after: Value = serde_json::from_str(&info.to_json().unwrap()).unwrap();
    assert_eq!(after["lto"], json!(true));
    assert_eq!(after["attestation"]["builder"]["levels"], json!([1, 2, 3]));
    assert_eq!(after["patches"][0]["upstream_issue"], json!(12345));
}

#[test]
fn a_newer_schema_is_refused_whatever_else_it_holds() {
    let newer = br#"{ "build_type": ["changed", "beyond", "recognition"], "schema_version": 3 }"#;
    let error = BuildInfo::from_json(newer, "lib/build_info.json".as_ref()).unwrap_err();
    assert_eq!(error.code(), codes::SCHEMA_NEWER);
    insta::assert_snapshot!(format!("{error}\nhint: {}", error.hints().join("\nhint: ")), @"
        `lib/build_info.json` has schema version 3, this program reads up to 1
        hint: update Caravan: a newer version wrote this file
    ");
}

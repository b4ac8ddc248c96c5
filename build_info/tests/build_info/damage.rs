//! Damaged and newer files are refused, and the message says what is wrong.

use std::fs::{self, File};

use build_info::{BuildInfo, Tuning};
use diagnostic::codes;
use serde_json::{Value, json};

/// The message for the example with one value replaced, or with the key removed.
fn with(pointer: &str, value: Option<Value>) -> String {
    let mut document: Value = serde_json::from_str(include_str!("future.json")).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap();
    match value {
        Some(value) => parent[key] = value,
        None => drop(parent.as_object_mut().unwrap().remove(key).unwrap()),
    }
    message(serde_json::to_string_pretty(&document).unwrap().as_bytes())
}

fn message(json: &[u8]) -> String {
    let error = BuildInfo::from_json(json, "b/build_info.json".as_ref()).unwrap_err();
    assert_eq!(error.code(), codes::BUILD_CORRUPT);
    assert!(!error.hints().is_empty());
    error.to_string()
}

#[test]
fn a_wrong_key_is_named_with_what_was_expected() {
    insta::assert_snapshot!(with("/blas/enabled", Some(json!("yes"))), @r#"`b/build_info.json` is damaged: key `blas.enabled`: invalid type: string "yes", expected a boolean at line 36 column 20"#);
    insta::assert_snapshot!(with("/build_type", Some(json!("native"))), @"`b/build_info.json` is damaged: key `build_type`: unknown variant `native`, expected `portable` or `native_optimized` at line 3 column 24");
    insta::assert_snapshot!(with("/date", Some(json!("yesterday"))), @"`b/build_info.json` is damaged: key `date`: failed to parse four digit integer as year: invalid digit, expected 0-9 but got y at line 4 column 21");
    insta::assert_snapshot!(with("/optimal_threads", Some(json!(0))), @"`b/build_info.json` is damaged: key `optimal_threads`: invalid value: integer `0`, expected a nonzero u32 at line 32 column 22");
    insta::assert_snapshot!(with("/digests/lib", Some(json!("abc"))), @"`b/build_info.json` is damaged: key `digests.lib`: `abc` is not a sha256 of 64 lower-case hexadecimal digits at line 60 column 3");
    insta::assert_snapshot!(with("/patches", Some(json!({}))), @"`b/build_info.json` is damaged: key `patches`: invalid type: map, expected a sequence at line 19 column 13");
    insta::assert_snapshot!(with("/schema_version", Some(json!("1"))), @r#"`b/build_info.json` is damaged: key `schema_version`: invalid type: string "1", expected u64 at line 2 column 23"#);
    insta::assert_snapshot!(with("/schema_version", Some(json!(0))), @"`b/build_info.json` is damaged: key `schema_version`: invalid value: 0, expected at least 1");
}

#[test]
fn a_missing_key_is_named() {
    insta::assert_snapshot!(with("/llama_commit", None), @"`b/build_info.json` is damaged: missing key `llama_commit` at line 73 column 1");
    insta::assert_snapshot!(with("/blas/reason", None), @"`b/build_info.json` is damaged: key `blas`: missing key `reason` at line 53 column 3");
    insta::assert_snapshot!(with("/schema_version", None), @"`b/build_info.json` is damaged: missing key `schema_version` at line 73 column 1");
}

#[test]
fn what_is_no_document_is_said_so() {
    insta::assert_snapshot!(message(b""), @"`b/build_info.json` is damaged: it is truncated (EOF while parsing a value at line 1 column 0)");
    insta::assert_snapshot!(message(b"[1]"), @"`b/build_info.json` is damaged: invalid type: sequence, expected an object at line 1 column 0");
    insta::assert_snapshot!(message(b"\x7fELF\x02\x01"), @"`b/build_info.json` is damaged: expected value at line 1 column 1");
    insta::assert_snapshot!(message(b"{\"schema_version\": 1, \"build_type\": \"portab"), @"`b/build_info.json` is damaged: it is truncated (EOF while parsing a string at line 1 column 43)");
    let twice = [include_bytes!("future.json").as_slice(), b"{}"].concat();
    insta::assert_snapshot!(message(&twice), @"`b/build_info.json` is damaged: trailing characters at line 43 column 1");
    // Nested deeper than any parser should follow.
    let deep = format!("{{\"schema_version\": 1, \"x\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(message(deep.as_bytes()).contains("recursion limit exceeded"));
}

#[test]
fn a_damaged_tuning_says_how_to_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tuning.json");
    fs::write(&path, r#"{ "schema_version": 1, "host": "../..", "build": "x", "classes": {} }"#).unwrap();
    let error = Tuning::read(&path).unwrap_err();
    assert_eq!(error.code(), codes::BUILD_CORRUPT);
    let shown = error.to_string().replace(&directory.path().display().to_string(), "DIR");
    insta::assert_snapshot!(format!("{shown}\nhint: {}", error.hints().join("\nhint: ")), @"
        `DIR/tuning.json` is damaged: key `host`: `../..` is not a host fingerprint of up to 64 of `a-z`, `0-9`, `-`, `_`, `.` at line 1 column 38
        hint: remove it and measure again with `cargo xtask bench`
    ");
}

#[test]
fn reading_is_bounded_and_only_reads_files() {
    let directory = tempfile::tempdir().unwrap();
    let huge = directory.path().join("huge.json");
    // Sparse: 1 TiB that nobody wants to wait for.
    File::create(&huge).unwrap().set_len(1 << 40).unwrap();
    let error = BuildInfo::read(&huge).unwrap_err();
    assert!(error.to_string().ends_with("it is larger than 4 MiB"), "{error}");
    let error = BuildInfo::read(directory.path()).unwrap_err();
    assert!(error.to_string().ends_with("it is not a file"), "{error}");
    let error = BuildInfo::read(&directory.path().join("gone")).unwrap_err();
    assert_eq!(error.code(), codes::IO);
}

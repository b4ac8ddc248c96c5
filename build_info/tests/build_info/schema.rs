//! The JSON Schemas say what the types say.

use build_info::schema;
use serde_json::Value;

fn parsed(text: &str) -> Value {
    assert!(text.ends_with("}\n"));
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_keys_that_people_rely_on_are_always_there() {
    let schema = parsed(&schema::build_info());
    let required: Vec<&str> = schema["required"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
    for key in [
        "schema_version",
        "build_type",
        "date",
        "hostname",
        "cpu_model",
        "cpu_flags",
        "cmake_flags",
        "llama_version",
        "llama_commit",
        "llama_tree",
        "patches",
        "compiler",
        "reproducible",
        "optimal_threads",
        "variants",
        "glibc_floor",
        "blas",
        "lto",
        "digests",
    ] {
        assert!(required.contains(&key), "{key}");
    }
    let kinds = schema["$defs"]["BuildKind"].to_string();
    assert!(kinds.contains("\"portable\"") && kinds.contains("\"native_optimized\""), "{kinds}");
}

/// A schema that forbids other keys would refuse the files of later versions.
#[test]
fn unknown_keys_are_allowed_and_every_key_is_described() {
    for schema in [schema::build_info(), schema::origin(), schema::tuning()].map(|text| parsed(&text)) {
        let definitions = schema["$defs"].as_object().into_iter().flat_map(|inner| inner.values()).chain([&schema]);
        for definition in definitions.filter(|definition| definition["type"] == "object") {
            assert_eq!(definition["additionalProperties"], Value::Bool(true), "{}", definition["description"]);
            for (key, value) in definition["properties"].as_object().unwrap() {
                assert!(value["description"].is_string(), "{key} says nothing");
            }
        }
    }
}

#[test]
fn the_text_is_always_the_same() {
    assert_eq!(schema::build_info(), schema::build_info());
    assert_eq!(schema::tuning(), schema::tuning());
}

//! Generated models and our reader, compared with the reference: the Python `gguf` package of llama.cpp's authors.

use std::env;
use std::path::Path;
use std::process::Command;

use gguf::model::{Quant, Shape, plan, write_file};
use gguf::{Array, Header, TensorType, Value};
use serde_json::{Map, Value as Json, json};

/// Names a Python interpreter with the packages of `requirements.txt`.
const PYTHON: &str = "CARAVAN_TEST_PYTHON";

/// What the reference reads from a model.
fn reference(model: &Path) -> Json {
    let Some(python) = env::var_os(PYTHON) else {
        panic!("`{PYTHON}` is not set: run the tests with `cargo xtask test`, which installs the Python packages");
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference.py");
    let output = Command::new(&python).arg(script).arg(model).output().unwrap_or_else(|error| {
        panic!("`{}`, named by `{PYTHON}`, does not run: {error}", python.display());
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the script prints JSON")
}

/// A value with its types, as the script prints it.
fn described(value: &Value) -> Json {
    macro_rules! scalar_or_array {
        ($($ident:ident $name:literal),*) => {
            match value {
                $(
                    Value::$ident(value) => json!({ "types": [$name], "value": value }),
                    Value::Array(Array::$ident(items)) => json!({ "types": ["ARRAY", $name], "value": items }),
                )*
            }
        };
    }
    scalar_or_array!(
        U8 "UINT8", I8 "INT8", U16 "UINT16", I16 "INT16", U32 "UINT32", I32 "INT32", F32 "FLOAT32", Bool "BOOL",
        String "STRING", U64 "UINT64", I64 "INT64", F64 "FLOAT64"
    )
}

fn both(quant: Quant) -> (Header, Json) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("model.gguf");
    write_file(&plan(Shape::Tiny, quant, 9), &path, |_| Ok(())).expect("a tiny model fits");
    (Header::open(&path).expect("it was just written"), reference(&path))
}

fn agree(quant: Quant) {
    let (ours, theirs) = both(quant);
    let metadata: Map<String, Json> =
        ours.metadata.0.iter().map(|(key, value)| (key.clone(), described(value))).collect();
    assert_eq!(Json::Object(metadata), theirs["metadata"], "{quant}");

    let tensors = theirs["tensors"].as_array().expect("a list");
    assert_eq!(tensors.len(), ours.tensors.len());
    for (ours_of_it, theirs_of_it) in ours.tensors.iter().zip(tensors) {
        let name = &ours_of_it.name;
        assert_eq!(theirs_of_it["name"], json!(name));
        assert_eq!(theirs_of_it["dims"], json!(ours_of_it.dims), "{name}");
        assert_eq!(theirs_of_it["type"], json!(ours_of_it.tensor_type.name().to_uppercase()), "{name}");
        assert_eq!(theirs_of_it["bytes"], json!(ours_of_it.bytes), "{name}");
        assert_eq!(theirs_of_it["file_offset"], json!(ours.data_offset + ours_of_it.offset), "{name}");
        assert_eq!(theirs_of_it["finite"], json!(true), "{name}");

        // The output has rows of 256 weights for 96 of 288 tokens, and zeros for the others.
        let n_in = ours_of_it.dims[0] as f64;
        let (mean, std, zero_rows) = match name.as_str() {
            "token_embd.weight" => (0.0, 1.0, 0),
            "output.weight" => (0.0, (96.0 / 288.0 / n_in).sqrt(), 288 - 96),
            "output_norm.weight" => (6.0, 0.0, 0),
            _ if ours_of_it.dims.len() == 1 => (1.0, 0.0, 0),
            _ => (0.0, 1.0 / n_in.sqrt(), 0),
        };
        let [their_mean, their_std] = ["mean", "std"].map(|key| theirs_of_it[key].as_f64().expect("a number"));
        assert!((their_mean - mean).abs() <= 0.03 * std, "{quant} {name}: mean {their_mean}, expected {mean}");
        assert!((their_std - std).abs() <= 0.02 * std, "{quant} {name}: std {their_std}, expected {std}");
        assert_eq!(theirs_of_it["zero_rows"], json!(zero_rows), "{name}");
    }
}

#[test]
fn q4_k_m_agrees() {
    agree(Quant::Q4KM);
}

#[test]
fn q4_0_agrees() {
    agree(Quant::Q4_0);
}

#[test]
fn q8_0_agrees() {
    agree(Quant::Q8_0);
}

#[test]
fn q6_k_agrees() {
    agree(Quant::Q6K);
}

#[test]
fn f16_agrees() {
    agree(Quant::F16);
}

/// Our table of types, against theirs.
#[test]
fn types_have_the_same_ids_and_block_sizes() {
    let (_, theirs) = both(Quant::F16);
    let theirs = theirs["types"].as_object().unwrap();
    let mut compared = 0;
    for tensor_type in TensorType::ALL {
        let Some(sizes) = theirs.get(&tensor_type.name().to_uppercase()) else {
            // The package follows llama.cpp with some delay.
            assert_eq!(*tensor_type, TensorType::Q2_0, "the package lacks `{tensor_type}`");
            continue;
        };
        let mut expected = json!([tensor_type.id(), tensor_type.block_elements(), tensor_type.block_bytes()]);
        if *tensor_type == TensorType::Q8_1 {
            // The package still has the two scales as f32; in ggml-common.h they have been f16 for long.
            expected[2] = json!(40);
        }
        assert_eq!(*sizes, expected, "{tensor_type}");
        compared += 1;
    }
    assert_eq!(compared, theirs.len(), "we lack a type that the package has");
}

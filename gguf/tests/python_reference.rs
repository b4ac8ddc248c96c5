//! Generated models and our reader, compared with the reference: the Python `gguf` package of llama.cpp's authors.

#[path = "common/file.rs"]
mod file;

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use file::{File, every_tensor, every_value, parts};
use gguf::model::{Quant, Shape, plan, write_file};
use gguf::{Array, Arrays, ByteOrder, Header, ModelFile, ModelFiles, TensorInfo, TensorType, Value};
use serde_json::{Map, Value as Json, json};

/// Names a Python interpreter with the packages of `requirements.txt`.
const PYTHON: &str = "CARAVAN_TEST_PYTHON";

/// What the reference reads from a model: `header`, or `all`, which includes what the weights are like.
fn reference(model: &Path, what: &str) -> Json {
    let Some(python) = env::var_os(PYTHON) else {
        panic!("`{PYTHON}` is not set: run the tests with `cargo xtask test`, which installs the Python packages");
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference.py");
    let output = Command::new(&python).arg(script).arg(model).arg(what).output().unwrap_or_else(|error| {
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
                Value::Array(Array::Skipped(_)) => panic!("all arrays are kept"),
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
    (Header::open(&path).expect("it was just written"), reference(&path, "all"))
}

fn same_metadata(ours: &[(String, Value)], theirs: &Json) {
    let ours: Map<String, Json> = ours.iter().map(|(key, value)| (key.clone(), described(value))).collect();
    assert_eq!(Json::Object(ours), theirs["metadata"]);
}

fn same_tensor(ours: &TensorInfo, data_offset: u64, theirs: &Json) {
    let name = &ours.name;
    assert_eq!(theirs["name"], json!(name));
    assert_eq!(theirs["dims"], json!(ours.dims), "{name}");
    assert_eq!(theirs["type"], json!(ours.tensor_type.name().to_uppercase()), "{name}");
    assert_eq!(theirs["bytes"], json!(ours.bytes), "{name}");
    assert_eq!(theirs["file_offset"], json!(data_offset + ours.offset), "{name}");
}

fn agree(quant: Quant) {
    let (ours, theirs) = both(quant);
    same_metadata(&ours.metadata.0, &theirs);

    let tensors = theirs["tensors"].as_array().expect("a list");
    assert_eq!(tensors.len(), ours.tensors.len());
    for (ours_of_it, theirs_of_it) in ours.tensors.iter().zip(tensors) {
        let name = &ours_of_it.name;
        same_tensor(ours_of_it, ours.data_offset, theirs_of_it);
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

/// Compares the header of one file of a model.
fn same_file(model: &ModelFiles, file: &ModelFile, theirs: &Json) {
    let tensors = theirs["tensors"].as_array().expect("a list");
    assert_eq!(tensors.len(), file.tensors.len());
    for (ours, theirs) in model.header.tensors[file.tensors.clone()].iter().zip(tensors) {
        same_tensor(ours, file.data_offset, theirs);
    }
    let order = if model.byte_order == ByteOrder::Big { "BIG" } else { "LITTLE" };
    assert_eq!(theirs["byte_order"], json!(order));
}

#[test]
fn every_type_agrees_in_both_versions_and_byte_orders() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("model.gguf");
    for order in [ByteOrder::Little, ByteOrder::Big] {
        for version in [2, 3] {
            let mut file = every_tensor(every_value(File::new(version, order)));
            // Of these two the package has no size, and another one: see below.
            file.tensors.retain(|(_, _, tensor_type)| ![TensorType::Q2_0, TensorType::Q8_1].contains(tensor_type));
            // It has no empty arrays.
            file.keys.retain(|(_, value)| !matches!(value, Value::Array(items) if items.is_empty()));
            fs::write(&path, file.bytes()).expect("it can be written");
            let ours = ModelFiles::open(&path, Arrays::ALL).expect("it was just written");
            let theirs = reference(&path, "header");
            assert_eq!(theirs["version"], json!(version));
            assert_eq!(ours.header.version, version);
            same_metadata(&ours.header.metadata.0, &theirs);
            same_file(&ours, &ours.files[0], &theirs);
        }
    }
}

#[test]
fn every_part_of_a_model_agrees() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for order in [ByteOrder::Little, ByteOrder::Big] {
        let mut files = parts(order);
        for (name, file) in &mut files {
            file.keys.retain(|(_, value)| !matches!(value, Value::Array(items) if items.is_empty()));
            fs::write(directory.path().join(name), file.bytes()).expect("it can be written");
        }
        let ours = ModelFiles::open(&directory.path().join(&files[1].0), Arrays::ALL).expect("all parts are there");
        assert_eq!(ours.files.len(), 3);
        for file in &ours.files {
            same_file(&ours, file, &reference(&directory.path().join(&file.name), "header"));
        }
        let theirs = reference(&directory.path().join(&files[0].0), "header");
        // What is not joined: ours without what makes it a part.
        let split = &files[0].1.keys[files[0].1.keys.len() - 3..];
        same_metadata(&[ours.header.metadata.0.as_slice(), split].concat(), &theirs);
    }
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

//! Models: good, bad, half-read.

use std::fs;
use std::ops::ControlFlow;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use diagnostic::codes;
use gguf::{Arrays, ByteOrder, Header, ModelFiles, TensorInfo, Value};
use llama::{Error, LoadMode, Message, Model, ModelOptions};

use crate::file::File;
use crate::{context, generate, load, model_file};

#[test]
fn every_way_of_loading_gives_the_same_model() {
    let expected = generate(&mut context(&load()), "hello", 8);
    for options in [
        ModelOptions { load: LoadMode::Read, ..ModelOptions::default() },
        ModelOptions { check_tensors: true, ..ModelOptions::default() },
    ] {
        let model = Model::load(model_file(0), &options).unwrap();
        assert_eq!(generate(&mut context(&model), "hello", 8), expected, "{options:?}");
    }
    let plain = Model::load(model_file(0), &ModelOptions { repack: false, ..ModelOptions::default() }).unwrap();
    assert_eq!(generate(&mut context(&plain), "hello", 1).len(), 1, "rounding may differ");
}

#[test]
fn a_model_tells_what_it_is() {
    let model = load();
    assert_eq!(model.n_vocab(), 288);
    assert_eq!(model.n_ctx_train(), 4096);
    assert!(model.n_params() > 1_000_000 && model.size_bytes() > 1_000_000);
    assert!(model.description().starts_with("llama"), "{}", model.description());
    let end = model.end_of_text().unwrap();
    assert!(model.is_end(end) && !model.is_end(model.begin_of_text().unwrap()));
    assert_eq!(model.bytes(end).unwrap(), b"", "special tokens stand for nothing");
    let text = "any text: grüße, 日本語\n";
    assert_eq!(model.text(&model.tokenize(text).unwrap()).unwrap(), text);
    assert_eq!(model.tokenize("").unwrap().len(), 1, "only what begins a text");
    assert_eq!(model.tokenize_template("", false).unwrap(), []);
}

#[test]
fn bad_files_are_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let whole = fs::read(model_file(0)).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let refused = |path| diagnostic::Error::from(Model::load(path, &ModelOptions::default()).unwrap_err());
    assert_eq!(refused(dir.path().join("none.gguf")).code(), codes::MODEL_UNREADABLE);
    assert_eq!(refused(write("text.gguf", b"not a model")).code(), codes::MODEL_INVALID);
    let cut = refused(write("cut.gguf", &whole[..whole.len() / 2]));
    assert_eq!(cut.code(), codes::MODEL_INVALID);
    assert!(cut.to_string().contains("truncated"), "{cut}");

    // Same lengths, so that everything else stays in place.
    let swap = |from: &[u8], to: &[u8]| {
        let mut bytes = whole.clone();
        let mut at = 0;
        while let Some(found) = bytes[at..].windows(from.len()).position(|window| window == from) {
            at += found;
            bytes[at..at + to.len()].copy_from_slice(to);
            at += to.len();
        }
        bytes
    };
    let unknown = refused(write("unknown.gguf", &swap(b"llama", b"lamas")));
    assert_eq!(unknown.code(), codes::MODEL_INVALID);
    assert!(unknown.to_string().contains("lamas"), "llama.cpp names the architecture: {unknown}");
}

#[test]
fn loading_tells_how_far_it_is_and_can_be_stopped() {
    let mut seen = Vec::new();
    let model = Model::load_with(model_file(0), &ModelOptions::default(), |done| {
        seen.push(done);
        ControlFlow::Continue(())
    });
    drop(model.unwrap());
    assert_eq!(seen.last(), Some(&1.0));
    assert!(seen.is_sorted(), "{seen:?}");

    let stopped = Model::load_with(model_file(0), &ModelOptions::default(), |_| ControlFlow::Break(()));
    assert_eq!(stopped.unwrap_err(), Error::Cancelled);

    let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
        Model::load_with(model_file(0), &ModelOptions::default(), |_| panic!("in a callback"))
    }));
    let panic = panicked.unwrap_err();
    assert_eq!(*panic.downcast::<&str>().unwrap(), "in a callback");
    drop(load());
}

#[test]
fn a_model_without_a_chat_template_says_so() {
    let message = Message { role: "user", content: "hello" };
    assert_eq!(load().chat(&[message], true).unwrap_err(), Error::ChatTemplate);
}

/// Writes the model again as two parts, and gives their paths.
fn split(whole: &Path, dir: &Path) -> [PathBuf; 2] {
    let files = ModelFiles::open(whole, Arrays::ALL).unwrap();
    let bytes = fs::read(whole).unwrap();
    let Header { metadata, tensors, data_offset, .. } = files.header;
    let (first, second) = tensors.split_at(tensors.len() / 2);
    let part = |no: u16, keys: Vec<(String, Value)>, part: &[TensorInfo]| {
        let mut file = File::new(gguf::VERSION, ByteOrder::Little);
        file.keys = keys;
        for TensorInfo { name, dims, tensor_type, .. } in part {
            file = file.tensor(name, dims, *tensor_type);
        }
        let (mut out, size) = file.part(no, 2, tensors.len() as i32).header();
        for tensor in part {
            let start = (data_offset + tensor.offset) as usize;
            out.extend(&bytes[start..start + tensor.bytes as usize]);
            out.resize(out.len().next_multiple_of(32), 0);
        }
        assert_eq!(out.len() as u64, size);
        let path = dir.join(format!("m-{:05}-of-00002.gguf", no + 1));
        fs::write(&path, out).unwrap();
        path
    };
    [part(0, metadata.0, first), part(1, Vec::new(), second)]
}

#[test]
fn a_model_in_parts_is_the_same_whichever_part_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let whole = generate(&mut context(&load()), "hello", 8);
    for path in split(model_file(0), dir.path()) {
        let model = Model::load(&path, &ModelOptions::default()).unwrap();
        assert!(model.path().ends_with("m-00001-of-00002.gguf"));
        assert_eq!(generate(&mut context(&model), "hello", 8), whole);
    }
}

#[test]
fn a_model_without_one_of_its_parts_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = split(model_file(0), dir.path());
    fs::remove_file(second).unwrap();
    let error = Model::load(&first, &ModelOptions::default()).unwrap_err().to_string();
    assert!(error.ends_with("its part `m-00002-of-00002.gguf` is missing"), "{error}");
}

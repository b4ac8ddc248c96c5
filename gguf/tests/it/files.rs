//! Whole models: every type, both byte orders, one file and parts, long arrays left out.

#![expect(clippy::unwrap_used, reason = "helpers of tests, as the tests themselves, fail by panicking")]

use std::cell::RefCell;
use std::fs;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use diagnostic::{Error, Result, codes};
use gguf::{Array, Arrays, ByteOrder, ElementType, Header, ModelFiles, Skipped, TensorType, Value};

use crate::file::{File, every_tensor, every_value, parts};

const ORDERS: [ByteOrder; 2] = [ByteOrder::Little, ByteOrder::Big];

fn read(bytes: &[u8], arrays: Arrays) -> ModelFiles {
    ModelFiles::read("a.gguf", arrays, |_| Ok(Cursor::new(bytes))).unwrap()
}

#[test]
fn every_value_and_every_tensor_comes_back_in_both_versions_and_byte_orders() {
    for order in ORDERS {
        for version in [2, 3] {
            let written = every_tensor(every_value(File::new(version, order)));
            let model = read(&written.bytes(), Arrays::ALL);
            assert_eq!((model.header.version, model.byte_order), (version, order));
            assert_eq!(model.header.metadata.0, written.keys);
            let tensors: Vec<_> =
                model.header.tensors.iter().map(|t| (t.name.clone(), t.dims.clone(), t.tensor_type)).collect();
            assert_eq!(tensors, written.tensors);
            assert_eq!(model.bytes(), Some(written.bytes().len() as u64));
            assert_eq!(model.files[0].tensors, 0..TensorType::ALL.len());
        }
    }
}

#[test]
fn a_model_of_the_other_byte_order_is_read_and_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.gguf");
    fs::write(&path, File::new(3, ByteOrder::Big).key("general.architecture", "llama").bytes()).unwrap();
    let model = ModelFiles::open(&path, Arrays::SHORT).unwrap();
    assert_eq!(model.header.metadata.architecture(), Some("llama"));
    let error = Header::open(&path).unwrap_err();
    assert_eq!(error.code(), codes::MODEL_INVALID);
    let text = error.to_string().replace(dir.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(text, @"model `DIR/big.gguf`: written for big-endian machines, and this one is little-endian");
    insta::assert_snapshot!(error.hints().join("\n"), @"llama.cpp's `gguf_convert_endian.py` turns it round");
}

/// A vocabulary of many tokens between keys that are kept.
fn with_vocabulary(order: ByteOrder, tokens: usize) -> File {
    File::new(3, order)
        .key("general.architecture", "llama")
        .key("tokenizer.ggml.tokens", (0..tokens).map(|n| format!("token {n}")).collect::<Vec<String>>())
        .key("tokenizer.ggml.scores", vec![0.5_f32; tokens])
        .key("llama.attention.head_count_kv", vec![8_i32; 80])
        .tensor("output.weight", &[32, 2], TensorType::Q8_0)
}

#[test]
fn of_a_long_array_type_length_and_place_are_known() {
    for order in ORDERS {
        let bytes = with_vocabulary(order, 150_000).bytes();
        let model = read(&bytes, Arrays::SHORT);
        let skipped = |key: &str| match model.header.metadata.get(key) {
            Some(Value::Array(Array::Skipped(skipped))) => skipped.clone(),
            other => panic!("{other:?}"),
        };
        let tokens = skipped("tokenizer.ggml.tokens");
        assert_eq!((tokens.element, tokens.len), (ElementType::String, 150_000));
        let Skipped { element, len, place } = skipped("tokenizer.ggml.scores");
        assert_eq!((element.name(), len, place.end - place.start), ("f32", 150_000, 600_000));
        let score = bytes[place.start as usize..][..4].try_into().unwrap();
        assert_eq!(if order == ByteOrder::Big { f32::from_be_bytes(score) } else { f32::from_le_bytes(score) }, 0.5);
        let Some(Value::Array(heads)) = model.header.metadata.get("llama.attention.head_count_kv") else { panic!() };
        assert_eq!(heads.to_u64s(), Some(vec![8; 80]));
        assert_eq!(read(&bytes, Arrays::ALL).header.tensors, model.header.tensors);
        assert_eq!(Header::from_reader(bytes.as_slice()).unwrap(), model.header);
    }
}

/// Counts what is read, and how often.
struct Counted<'a> {
    inner: Cursor<&'a [u8]>,
    reads: &'a RefCell<Vec<usize>>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.reads.borrow_mut().push(count);
        Ok(count)
    }
}

impl Seek for Counted<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[test]
fn only_what_a_header_takes_is_read_in_chunks_that_grow() {
    let mut bytes = with_vocabulary(ByteOrder::Little, 150_000).bytes();
    let header = bytes.len();
    bytes.resize(header + (64 << 20), 0);
    let reads = RefCell::new(Vec::new());
    let counted = || Counted { inner: Cursor::new(&bytes), reads: &reads };
    ModelFiles::read("a.gguf", Arrays::SHORT, |_| Ok(counted())).unwrap();
    let reads = reads.into_inner();
    let total: usize = reads.iter().sum();
    assert!(reads.len() <= 8, "{reads:?}");
    assert!(total < 2 * header, "{total} bytes of a header of {header}");

    // Numbers are jumped over.
    let numbers = File::new(3, ByteOrder::Little).key("scores", vec![0.5_f32; 8 << 20]).key("last", 1_u32).bytes();
    let reads = RefCell::new(Vec::new());
    let counted = || Counted { inner: Cursor::new(&numbers), reads: &reads };
    ModelFiles::read("a.gguf", Arrays::SHORT, |_| Ok(counted())).unwrap();
    assert!(reads.into_inner().iter().sum::<usize>() < 1 << 20);
}

#[test]
fn an_array_that_ends_behind_the_end_of_the_file_is_truncated() {
    for rest in [0, 1, 100_000, 399_999] {
        let file = File::new(3, ByteOrder::Little).key("scores", vec![0.5_f32; 100_000]).bytes();
        let cut = &file[..file.len() - 400_000 + rest];
        for error in [
            Header::from_reader(cut).unwrap_err(),
            ModelFiles::read("a.gguf", Arrays::SHORT, |_| Ok(Cursor::new(cut))).unwrap_err(),
        ] {
            assert_eq!(error.code(), codes::MODEL_INVALID);
            let end = format!("truncated: the file ends inside its header, after byte {}", cut.len());
            assert!(error.to_string().ends_with(&end), "{error}");
        }
    }
}

fn write_parts(dir: &Path, files: &[(String, File)]) -> Vec<PathBuf> {
    let write = |(name, file): &(String, File)| {
        let path = dir.join(name);
        fs::write(&path, file.bytes()).unwrap();
        path
    };
    files.iter().map(write).collect()
}

#[test]
fn any_part_opens_the_whole_model() {
    for order in ORDERS {
        let dir = tempfile::tempdir().unwrap();
        let paths = write_parts(dir.path(), &parts(order));
        let first = ModelFiles::open(&paths[0], Arrays::SHORT).unwrap();
        for path in &paths {
            let model = ModelFiles::open(path, Arrays::SHORT).unwrap();
            assert_eq!(model, first);
            assert_eq!(model.paths(path), paths);
        }
        let names: Vec<&str> = first.header.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["token_embd.weight", "blk.0.attn_q.weight", "blk.1.attn_q.weight", "output.weight"]);
        let held: Vec<_> = first.files.iter().map(|file| file.tensors.clone()).collect();
        assert_eq!(held, [0..0, 0..2, 2..4]);
        assert_eq!(first.bytes(), Some(paths.iter().map(|path| path.metadata().unwrap().len()).sum()));
        // The metadata are those of the first part, and it is a part no more.
        assert_eq!(first.header.metadata.0, parts(order)[0].1.keys[..first.header.metadata.0.len()]);
        assert!(first.header.metadata.get("split.count").is_none());
        first.header.bytes_per_token().unwrap();
    }
}

/// What is wrong with parts after some change.
fn refused(change: impl FnOnce(&mut Vec<(String, File)>)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut files = parts(ByteOrder::Little);
    change(&mut files);
    let paths = write_parts(dir.path(), &files);
    let error = ModelFiles::open(&paths[0], Arrays::SHORT).unwrap_err();
    let text = error.to_string().replace(dir.path().to_str().unwrap(), "DIR");
    [vec![text], error.hints().to_vec()].concat().join("\n")
}

fn set(file: &mut File, key: &str, value: Value) {
    let place = file.keys.iter_mut().find(|(name, _)| name == key).expect("parts have it");
    place.1 = value;
}

#[test]
fn parts_that_do_not_belong_together_are_named() {
    insta::assert_snapshot!(refused(|files| { files.pop(); }), @"
    model `DIR/m-00001-of-00003.gguf`: its part `m-00003-of-00003.gguf` is missing
    copy or download all parts into one directory
    ");
    insta::assert_snapshot!(refused(|files| files[2].1 = File::new(3, ByteOrder::Little)), @"model `DIR/m-00001-of-00003.gguf`: part `m-00003-of-00003.gguf`: it says to be a whole model, and part 3 of 3 is due");
    insta::assert_snapshot!(refused(|files| files[2].1.order = ByteOrder::Big), @"model `DIR/m-00001-of-00003.gguf`: part `m-00003-of-00003.gguf`: its byte order is not that of the other parts");
    insta::assert_snapshot!(refused(|files| set(&mut files[1].1, "split.no", Value::U16(2))), @"model `DIR/m-00001-of-00003.gguf`: part `m-00002-of-00003.gguf`: it says to be part 3 of 3 with 4 tensors in all, and part 2 of 3 with 4 is due");
    insta::assert_snapshot!(refused(|files| set(&mut files[2].1, "split.tensors.count", Value::I32(5))), @"model `DIR/m-00001-of-00003.gguf`: part `m-00003-of-00003.gguf`: it says to be part 3 of 3 with 5 tensors in all, and part 3 of 3 with 4 is due");
    insta::assert_snapshot!(refused(|files| { files[2].1.tensors.pop(); }), @"model `DIR/m-00001-of-00003.gguf`: its 3 parts have 3 tensors, and 4 are due");
    insta::assert_snapshot!(refused(|files| files[2].1.tensors[0].0 = "token_embd.weight".to_owned()), @"model `DIR/m-00001-of-00003.gguf`: tensor `token_embd.weight` appears in two parts");
    insta::assert_snapshot!(refused(|files| files[0].0 = "renamed.gguf".to_owned()), @"
    model `DIR/renamed.gguf`: part 1 of 3 of a split model, but its name does not end so
    give it back its name, which ends in `-00001-of-00003.gguf`
    ");
    insta::assert_snapshot!(refused(|files| files[0].1.keys.retain(|(key, _)| key != "split.no")), @"model `DIR/m-00001-of-00003.gguf`: a part of a split model without `split.no`");
    insta::assert_snapshot!(refused(|files| set(&mut files[0].1, "split.no", Value::U16(3))), @"model `DIR/m-00001-of-00003.gguf`: part 4 of 3");
    insta::assert_snapshot!(refused(|files| set(&mut files[0].1, "split.no", Value::U64(u64::MAX))), @"model `DIR/m-00001-of-00003.gguf`: part 18446744073709551616 of 3");
    insta::assert_snapshot!(refused(|files| set(&mut files[0].1, "split.count", Value::U16(u16::MAX))), @"model `DIR/m-00001-of-00003.gguf`: one of 65535 parts, and at most 1024 are possible");
    insta::assert_snapshot!(refused(|files| set(&mut files[0].1, "split.count", "three".into())), @"model `DIR/m-00001-of-00003.gguf`: metadata `split.count` is not a non-negative integer");
}

#[test]
fn a_truncated_part_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let paths = write_parts(dir.path(), &parts(ByteOrder::Little));
    let whole = fs::read(&paths[1]).unwrap();
    fs::write(&paths[1], &whole[..whole.len() - 40]).unwrap();
    let error = ModelFiles::open(&paths[0], Arrays::SHORT).unwrap_err();
    insta::assert_snapshot!(error.to_string().replace(dir.path().to_str().unwrap(), "DIR"), @"model `DIR/m-00002-of-00003.gguf` is truncated: its tensors need 388 bytes, the file has 376");
    fs::write(&paths[1], &whole[..40]).unwrap();
    let error = ModelFiles::open(&paths[0], Arrays::SHORT).unwrap_err();
    insta::assert_snapshot!(error.to_string().replace(dir.path().to_str().unwrap(), "DIR"), @"model `DIR/m-00001-of-00003.gguf`: part `m-00002-of-00003.gguf`: truncated: the file ends inside its header, after byte 40");
}

#[test]
fn a_model_of_one_part_needs_no_name() {
    let bytes = File::new(3, ByteOrder::Little).key("split.count", Value::U16(1)).bytes();
    assert_eq!(read(&bytes, Arrays::SHORT).files.len(), 1);
}

/// All parts together have one budget of memory, so that many of them cannot take many times as much.
#[test]
fn parts_share_one_budget() {
    let long = "x".repeat(60 << 20);
    let part = |no: u16| {
        let file = File::new(3, ByteOrder::Little).part(no, 3, 0);
        file.key("long", long.as_str()).bytes()
    };
    let files: Vec<Vec<u8>> = (0..3).map(part).collect();
    let open = |name: &str| Ok(Cursor::new(&files[usize::from(name.as_bytes()[6] - b'1')]));
    let error = ModelFiles::read("m-00001-of-00003.gguf", Arrays::SHORT, open).unwrap_err();
    insta::assert_snapshot!(error, @"model `m-00003-of-00003.gguf`: its header takes more than 128 MiB, no real model does");
}

#[test]
fn an_error_of_a_reader_comes_out_as_it_is() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other(Error::new(codes::UNREACHABLE, "no way").hint("a hint")))
        }
    }
    impl Seek for Failing {
        fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
            Ok(0)
        }
    }
    let error = ModelFiles::read("a.gguf", Arrays::SHORT, |_| -> Result<Failing> { Ok(Failing) }).unwrap_err();
    assert_eq!((error.code(), error.hints().len()), (codes::UNREACHABLE, 1));
    insta::assert_snapshot!(error, @"model `a.gguf`: no way");
}

#[test]
fn a_stream_gives_a_whole_model_and_no_part() {
    let bytes = every_tensor(File::new(3, ByteOrder::Little)).bytes();
    let (read_on, whole) = (ModelFiles::from_stream("a.gguf", &bytes[..]).unwrap(), read(&bytes, Arrays::SHORT));
    assert_eq!((&read_on.header, read_on.files[0].end), (&whole.header, whole.files[0].end));
    assert_eq!((read_on.bytes(), whole.bytes()), (None, Some(bytes.len() as u64)));
    let error = ModelFiles::from_stream("a stream", &parts(ByteOrder::Little)[1].1.bytes()[..]).unwrap_err();
    insta::assert_snapshot!(error, @"model `a stream`: it is part 2 of 3, and the others are needed too");
    let error = ModelFiles::from_stream("a stream", &bytes[..40]).unwrap_err();
    assert_eq!(error.code(), codes::MODEL_INVALID, "{error}");
}

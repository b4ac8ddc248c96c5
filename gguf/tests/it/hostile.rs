//! Files that are not what they say: each gets one clear error, in bounded time and memory.

use std::fs;
use std::io::{self, Read};

use diagnostic::codes;
use gguf::Header;
use gguf::model::{Quant, Shape, plan};
use proptest::prelude::*;

use crate::check;
use crate::support::model;

/// A header, written by hand.
struct Bytes(Vec<u8>);

impl Bytes {
    /// Magic, version 3, and these counts.
    fn header(tensors: u64, keys: u64) -> Bytes {
        Bytes(b"GGUF".to_vec()).u32(3).u64(tensors).u64(keys)
    }

    fn u32(mut self, n: u32) -> Bytes {
        self.0.extend(n.to_le_bytes());
        self
    }

    fn u64(mut self, n: u64) -> Bytes {
        self.0.extend(n.to_le_bytes());
        self
    }

    fn text(self, text: impl AsRef<[u8]>) -> Bytes {
        let mut bytes = self.u64(text.as_ref().len() as u64);
        bytes.0.extend(text.as_ref());
        bytes
    }

    fn tensor(self, name: &str, dims: &[u64], tensor_type: u32, offset: u64) -> Bytes {
        let named = self.text(name).u32(dims.len() as u32);
        dims.iter().fold(named, |bytes, &n| bytes.u64(n)).u32(tensor_type).u64(offset)
    }
}

/// The answer to a file of these bytes.
fn refused(bytes: &[u8]) -> String {
    let error = Header::from_reader(bytes).expect_err("it is not a valid header");
    assert_eq!(error.code(), codes::MODEL_INVALID);
    error.to_string()
}

#[test]
fn what_is_no_gguf_is_told_by_its_first_bytes() {
    insta::assert_snapshot!(refused(b""), @"not a GGUF file, it is empty");
    insta::assert_snapshot!(refused(b"PK\x03\x04more"), @r"not a GGUF file, it starts with `PK\x03\x04`");
    insta::assert_snapshot!(refused(b"{\n"), @r"not a GGUF file, it starts with `{\n`");
    insta::assert_snapshot!(refused(b"GGUF"), @"truncated: the file ends inside its header, after byte 4");
    insta::assert_snapshot!(refused(&Bytes(b"GGUF".to_vec()).u32(1).0), @"GGUF version 1, which llama.cpp no longer reads");
    insta::assert_snapshot!(refused(&Bytes(b"GGUF".to_vec()).u32(4).0), @"GGUF version 4, and versions 2 and 3 are known");
    insta::assert_snapshot!(refused(&Bytes(b"GGUF".to_vec()).u32(1_u32.swap_bytes()).0), @"GGUF version 1, which llama.cpp no longer reads");
    insta::assert_snapshot!(refused(&Bytes(b"GGUF".to_vec()).u32(4_u32.swap_bytes()).0), @"GGUF version 4, and versions 2 and 3 are known");
    insta::assert_snapshot!(refused(&Bytes(b"GGUF".to_vec()).u32(0).0), @"GGUF version 0, and versions 2 and 3 are known");
}

#[test]
fn broken_metadata_is_named() {
    let one_key = |key: &[u8], value_type: u32| Bytes::header(0, 1).text(key).u32(value_type);
    insta::assert_snapshot!(refused(&Bytes::header(0, 1).0), @"truncated: the file ends inside its header, after byte 24");
    insta::assert_snapshot!(refused(&one_key(b"", 4).u32(1).0), @"metadata key 0 is empty");
    insta::assert_snapshot!(refused(&one_key(b"\xff", 4).u32(1).0), @"metadata key 0 is not UTF-8");
    insta::assert_snapshot!(refused(&one_key(b"a\nkey", 13).0), @r"metadata `a\nkey` has the unknown value type 13");
    insta::assert_snapshot!(refused(&one_key(b"key", 9).u32(99).u64(0).0), @"metadata `key` has the unknown value type 99");
    insta::assert_snapshot!(refused(&one_key(b"key", 9).u32(9).u64(1).u32(9).0), @"metadata `key` is an array of arrays");
    insta::assert_snapshot!(refused(&Bytes::header(0, 2).text("key").u32(4).u32(1).text("key").u32(4).u32(2).0), @"metadata key `key` appears twice");
    insta::assert_snapshot!(refused(&one_key(b"general.alignment", 4).u32(24).0), @"metadata `general.alignment` is not a power of two of type `u32`");
    insta::assert_snapshot!(refused(&one_key(b"general.alignment", 4).u32(0).0), @"metadata `general.alignment` is not a power of two of type `u32`");
    insta::assert_snapshot!(refused(&one_key(b"general.alignment", 10).u64(32).0), @"metadata `general.alignment` is not a power of two of type `u32`");
}

#[test]
fn broken_tensors_are_named() {
    let one =
        |name: &str, dims: &[u64], tensor_type| refused(&Bytes::header(1, 0).tensor(name, dims, tensor_type, 0).0);
    insta::assert_snapshot!(one("weight", &[32], 4), @"tensor `weight` has type 4, which the llama.cpp that Caravan builds does not have");
    insta::assert_snapshot!(one("weight", &[32], u32::MAX), @"tensor `weight` has type 4294967295, which the llama.cpp that Caravan builds does not have");
    insta::assert_snapshot!(one("weight", &[33], 2), @"tensor `weight` of type `q4_0` has the impossible shape [33]");
    insta::assert_snapshot!(one("weight", &[1, 1, 1, 1, 1], 0), @"tensor `weight` has 5 dimensions, at most 4 are possible");
    insta::assert_snapshot!(one("weight", &[1 << 32, 1 << 32], 0), @"tensor `weight` of type `f32` has the impossible shape [4294967296, 4294967296]");
    insta::assert_snapshot!(one("weight", &[1 << 62], 0), @"tensor `weight` of type `f32` has the impossible shape [4611686018427387904]");
    insta::assert_snapshot!(one(&"n".repeat(64), &[1], 0), @"the name of tensor 0 has 64 bytes");
    insta::assert_snapshot!(one("clear\x1b[2J", &[1], 0), @"the name of tensor 0 is not printable text");
    let neighbour = Bytes::header(2, 0).tensor("new", &[64, 2], 43, 0).tensor("old", &[1], 0, 96);
    insta::assert_snapshot!(refused(&neighbour.0), @"tensor `new` (shape [64, 2], at most 96 bytes) has type 43, which the llama.cpp that Caravan builds does not have");
    let gap = Bytes::header(2, 0).tensor("a", &[1], 0, 0).tensor("b", &[1], 0, 64);
    insta::assert_snapshot!(refused(&gap.0), @"tensor `b` is at offset 64 where 32 is due");
    let twice = Bytes::header(2, 0).tensor("a", &[1], 0, 0).tensor("a", &[1], 0, 32);
    insta::assert_snapshot!(refused(&twice.0), @"tensor `a` appears twice");
    let exabyte = 1 << 60;
    let huge =
        (0..4).fold(Bytes::header(4, 0), |bytes, i| bytes.tensor(&format!("{i}"), &[exabyte], 0, i * 4 * exabyte));
    insta::assert_snapshot!(refused(&huge.0), @"its tensors take more bytes than can be counted");
}

/// A file that goes on for ever, and how much of it was read.
struct Endless<'a> {
    start: &'a [u8],
    read: u64,
}

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = if self.start.is_empty() {
            buffer.fill(0);
            buffer.len()
        } else {
            self.start.read(buffer)?
        };
        self.read += count as u64;
        Ok(count)
    }
}

#[test]
fn what_is_announced_is_not_believed() {
    let keyed = |element_type: u32, len: u64| Bytes::header(0, 1).text("key").u32(9).u32(element_type).u64(len);
    let claims = [
        ("length of a key", Bytes::header(0, 1).u64(u64::MAX), 1 << 20),
        ("length of a string", Bytes::header(0, 1).text("key").u32(8).u64(1 << 40), 1 << 20),
        ("numbers in an array", keyed(12, u64::MAX), 1 << 20),
        ("numbers in an array that are just too many", keyed(0, 200 << 20), 1 << 20),
        // Zeros go on for ever: each of these is refused once what was read is too much to keep.
        ("strings in an array", keyed(8, u64::MAX), 128 << 20),
        ("keys", Bytes::header(0, u64::MAX).text("first").u32(8).text(""), 1 << 20),
        ("tensors", Bytes::header(u64::MAX, 0), 1 << 20),
    ];
    for (what, claim, most) in claims {
        let mut file = Endless { start: &claim.0, read: 0 };
        let error = Header::from_reader(&mut file).expect_err(what);
        assert_eq!(error.code(), codes::MODEL_INVALID, "{what}");
        assert!(file.read <= most, "{what}: {} bytes were read: {error}", file.read);
        let cut = refused(&claim.0);
        assert!(cut.contains("truncated") || cut.contains("128 MiB"), "{what}: {cut}");
    }
}

#[test]
fn too_many_small_things_are_too_much() {
    let mut file = Endless { start: &Bytes::header(0, 1).text("key").u32(9).u32(8).u64(u64::MAX).0, read: 0 };
    insta::assert_snapshot!(Header::from_reader(&mut file).unwrap_err(), @"its header takes more than 128 MiB, no real model does");
}

#[test]
fn strings_that_are_not_utf8_are_kept_as_far_as_possible() {
    let file = Bytes::header(0, 1).text("key").u32(8).text(b"a\xffb").0;
    let header = Header::from_reader(file.as_slice()).unwrap();
    assert_eq!(header.metadata.get("key").and_then(gguf::Value::as_str), Some("a\u{fffd}b"));
}

#[test]
fn a_vocabulary_without_tensors_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vocab.gguf");
    fs::write(&path, Bytes::header(0, 1).text("key").u32(0).0.into_iter().chain([7]).collect::<Vec<u8>>()).unwrap();
    assert_eq!(Header::open(&path).unwrap().tensors, []);
}

#[test]
fn version_2_and_other_alignments_are_read() {
    let mut file = Bytes::header(1, 1).text("general.alignment").u32(4).u32(128).tensor("a", &[2], 0, 0).0;
    file[4] = 2;
    let header = Header::from_reader(file.as_slice()).unwrap();
    assert_eq!((header.version, header.data_offset, header.end()), (2, 128, 136));
}

#[test]
fn paths_that_are_no_models_get_one_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |path: &std::path::Path| {
        let error = Header::open(path).expect_err("it is no model");
        let text = error.to_string().replace(directory.path().to_str().expect("UTF-8"), "DIR");
        format!("{}\n{text}\n{}", error.code().name, error.hints().join("\n"))
    };
    let file = directory.path().join("file.gguf");
    insta::assert_snapshot!(refused(&file), @"
    model::unreadable
    model `DIR/file.gguf` does not exist
    write a test model with `cargo xtask model --shape tiny`
    ");
    insta::assert_snapshot!(refused(directory.path()), @"
    model::unreadable
    model `DIR` is a directory
    name the `.gguf` file itself
    ");
    insta::assert_snapshot!(refused(std::path::Path::new("/dev/null")), @"
    model::unreadable
    model `/dev/null` is not a regular file
    ");
    fs::write(&file, "<!DOCTYPE html>").unwrap();
    insta::assert_snapshot!(refused(&file.join("below")), @"
    model::unreadable
    cannot read model `DIR/file.gguf/below`: not a directory
    ");
    insta::assert_snapshot!(refused(&file), @"
    model::invalid
    model `DIR/file.gguf`: not a GGUF file, it starts with `<!DO`
    ");
    let whole = model(Shape::Tiny, Quant::Q4KM, 1);
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    insta::assert_snapshot!(refused(&file), @"
    model::invalid
    model `DIR/file.gguf` is truncated: its tensors need 1060672 bytes, the file has 1060671
    copy or download it again
    ");
    fs::write(&file, &whole[..5000]).unwrap();
    insta::assert_snapshot!(refused(&file), @"
    model::invalid
    model `DIR/file.gguf`: truncated: the file ends inside its header, after byte 5000
    copy or download it again
    ");
    fs::write(&file, &whole).unwrap();
    Header::open(&file).unwrap();
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Header::from_reader(bytes.as_slice()).is_err());
    }

    #[test]
    fn arbitrary_bytes_after_a_good_start_never_panic(
        tensors in 0..3_u64,
        keys in 0..3_u64,
        rest in proptest::collection::vec(prop_oneof![Just(0), 0..16_u8, any::<u8>()], 0..300),
    ) {
        let mut bytes = Bytes::header(tensors, keys).0;
        bytes.extend(rest);
        if let Ok(header) = Header::from_reader(bytes.as_slice()) {
            check::promises(&header);
        }
    }

    #[test]
    fn damaged_headers_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        keep in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        // Small enough that changes often hit what matters: no vocabulary, all else.
        let mut bytes = Bytes::header(2, 4)
            .text("general.architecture").u32(8).text("llama")
            .text("llama.block_count").u32(4).u32(2)
            .text("llama.attention.head_count_kv").u32(9).u32(4).u64(2).u32(1).u32(1)
            .text("general.alignment").u32(4).u32(32)
            .tensor("blk.0.attn_q.weight", &[256, 4], 12, 0)
            .tensor("output.weight", &[32, 4], 8, 576)
            .0;
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if cut {
            bytes.truncate(keep.index(bytes.len()));
        }
        if let Ok(header) = Header::from_reader(bytes.as_slice()) {
            check::promises(&header);
        }
    }

    #[test]
    fn every_cut_of_a_header_is_refused(keep in any::<prop::sample::Index>()) {
        let plan = plan(Shape::Tiny, Quant::Q4_0, 1);
        let file = model(Shape::Tiny, Quant::Q4_0, 1);
        // The last bytes before the data section are padding.
        let keep = keep.index(plan.data_offset as usize - 31);
        let error = Header::from_reader(&file[..keep]).unwrap_err();
        prop_assert_eq!(error.code(), codes::MODEL_INVALID);
    }
}

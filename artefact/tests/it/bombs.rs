//! Layers that are small to download and large to unpack: they cost what the bounds allow, and no more.

use std::io::Write;

use artefact::Bounds;
use diagnostic::codes;
use insta::assert_snapshot;
use oci::Digest;
use tar::EntryType;

use crate::support::*;
use crate::unpack::{BOUNDS, Made, made};

const GIB: u64 = 1 << 30;

/// The beginning of a layer, and then so many zeros.
fn bomb(begin: &[u8], zeros: u64) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(begin).unwrap();
    let block = vec![0; 1 << 20];
    for _ in 0..zeros >> 20 {
        encoder.write_all(&block).unwrap();
    }
    encoder.finish().unwrap()
}

/// Why it is refused, and how many bytes it left on disk until then.
fn refused(layer: Vec<u8>, bounds: Bounds) -> (String, u64) {
    let name = Digest::of(&layer).to_string();
    let dir = tempfile::tempdir().unwrap();
    let error = Made { bounds, ..made(&[layer], &[b""]) }.unpack(dir.path()).unwrap_err();
    assert_eq!(error.code(), codes::ARCHIVE_INVALID, "{error}");
    let written = listing(dir.path()).into_iter().filter_map(|(_, _, content)| content).map(|c| c.len() as u64).sum();
    (error.to_string().replace(&name, "BOMB"), written)
}

#[test]
fn a_file_of_zeros_is_stopped_by_the_bounds() {
    let header = entry("opt/caravan/a", EntryType::Regular, 0o644, GIB, b"");
    let layer = bomb(&header, GIB);
    assert!(layer.len() < 1 << 20, "{}", layer.len());
    let (why, written) = refused(layer.clone(), BOUNDS);
    assert_snapshot!(why, @"layer `BOMB` is refused: it unpacks to more than the 100000 bytes that are allowed");
    assert_eq!(written, 0);
    let (why, written) = refused(layer, Bounds { file: 2 * GIB, total: 5 << 20, ..BOUNDS });
    assert_snapshot!(why, @"layer `BOMB` is refused: it unpacks to more than the 5242880 bytes that are allowed");
    assert!(written <= 5 << 20, "{written}");
}

#[test]
fn zeros_after_the_end_are_stopped_too() {
    let (why, _) = refused(bomb(&file("opt/caravan/a", b""), GIB), Bounds { total: 4 << 20, ..BOUNDS });
    assert_snapshot!(why, @"layer `BOMB` is refused: it unpacks to more than the 4194304 bytes that are allowed");
}

#[test]
fn what_other_readers_keep_in_memory_is_not_read() {
    // A reader of extended headers would hold all of it before it could judge.
    for kind in [EntryType::XHeader, EntryType::GNULongName, EntryType::XGlobalHeader] {
        let layer = bomb(&entry("opt/caravan/x", kind, 0o644, GIB, b""), GIB);
        let before = peak_memory();
        let (why, written) = refused(layer, Bounds { total: 2 * GIB, file: 2 * GIB, ..BOUNDS });
        assert!(why.contains("which our artefacts do not have"), "{why}");
        assert_eq!(written, 0);
        // Other tests run meanwhile, and take some.
        assert!(peak_memory() < before + GIB / 2, "{} more bytes of memory", peak_memory() - before);
    }
}

#[test]
fn a_window_that_takes_much_memory_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(28).unwrap();
    encoder.write_all(&file("opt/caravan/a", b"")).unwrap();
    assert_snapshot!(refused(encoder.finish().unwrap(), BOUNDS).0, @"layer `BOMB` is refused: its compressed data is damaged: frame requires too much memory for decoding");
}

#[test]
fn many_small_frames_are_bounded_as_one_is() {
    let frame = zstd(&[0; 1 << 16]);
    let layer = [zstd(&file("opt/caravan/a", b"")), frame.repeat(100)].concat();
    assert_snapshot!(refused(layer, BOUNDS).0, @"layer `BOMB` is refused: it unpacks to more than the 100000 bytes that are allowed");
}

/// The largest resident set so far, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

//! Damaged and hostile files: an error or an answer, never a panic, and never much more output than input.

use std::sync::OnceLock;

use crate::support::compile;
use elf::{Code, Facts, debug_file, first_difference, leaks, stamp, strip};
use proptest::prelude::*;

/// An honest library to be damaged.
fn library() -> &'static [u8] {
    static LIBRARY: OnceLock<Vec<u8>> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let temp = tempfile::tempdir().unwrap();
        let source = "#include <stdio.h>\n#include <stdlib.h>\nstatic void bye(void) { puts(\"bye\"); }
            __attribute__((constructor)) static void hello(void) { atexit(bye); }
            int ggml_backend_score(void) { return printf(\"%s\", getenv(\"x\")); }";
        let flags = ["-g", "-O1", "-shared", "-fPIC", "-Wl,-rpath,$ORIGIN", "-Wl,--build-id=sha1"];
        elf::read(&compile(temp.path(), "gcc", source, "x.so", &flags)).unwrap()
    })
}

fn try_all(bytes: &[u8]) {
    let _ = Facts::of(bytes);
    if let Ok(code) = Code::of(bytes) {
        code.reach(&["ggml_backend_score"]);
        code.isas();
    }
    for made in [strip(bytes), debug_file(bytes)].into_iter().flatten() {
        assert!(made.len() <= 2 * bytes.len() + 4096 * 64, "{} of {}", made.len(), bytes.len());
    }
    let _ = stamp(&mut bytes.to_vec());
    leaks(bytes, &[b"puts", b"\0"]);
    if let Some(difference) = first_difference(bytes, library()) {
        assert!(!difference.to_string().is_empty());
    }
    first_difference(library(), bytes);
}

#[test]
fn the_honest_library_is_read() {
    assert!(Facts::of(library()).unwrap().exports.contains("ggml_backend_score"));
    assert!(Code::of(library()).unwrap().reach(&["ggml_backend_score"]).functions.len() >= 3);
    try_all(library());
}

#[test]
fn files_that_end_early_are_refused() {
    let whole = library();
    for size in (0..whole.len()).step_by(61).chain([4, 16, 63, 64, whole.len() - 1]) {
        try_all(&whole[..size]);
        assert!(strip(&whole[..size]).is_err(), "the section headers at the end are cut off: {size}");
    }
}

#[test]
fn offsets_at_the_end_of_all_numbers_are_refused() {
    let whole = library();
    // File offsets and sizes: of both header tables, of the first segments.
    for field in [32, 40, 54, 56, 58, 60, 62, 64 + 8, 64 + 32, 64 + 40, 120 + 8, 120 + 32, 120 + 40] {
        for size in [2, 4, 8] {
            for fill in [0, 0x7f, 0xff] {
                let mut bytes = whole.to_vec();
                bytes[field..field + size].fill(fill);
                try_all(&bytes);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..2000), machine in 0..3u8) {
        try_all(&bytes);
        if bytes.len() > 64 {
            // A believable start.
            bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
            bytes[18..20].copy_from_slice(&[[62, 0], [183, 0], [0, 0]][machine as usize]);
            try_all(&bytes);
            bytes[54..60].copy_from_slice(&[56, 0, 3, 0, 64, 0]);
            try_all(&bytes);
        }
    }

    #[test]
    fn changed_bytes_are_survived(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..12),
    ) {
        let mut bytes = library().to_vec();
        let size = bytes.len();
        // Headers, dynamic section and symbols are the small part where damage matters.
        let tables = u64::from_le_bytes(bytes[40..48].try_into().unwrap()) as usize;
        for (index, value, where_to) in changes {
            let at = match where_to {
                0 => index.index(64 + 56 * 10),
                1 => tables + index.index(size - tables),
                2 => index.index(0x1000.min(size)),
                _ => index.index(size),
            };
            bytes[at] = value;
        }
        try_all(&bytes);
    }
}

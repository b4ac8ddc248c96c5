//! Arbitrary bytes as one file, or as several that may belong together.

#![no_main]

#[path = "../../tests/common/check.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::anything(bytes));

//! What tests of several crates share: a real registry, a proxy before it that misbehaves, and processes to be killed.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "helpers of tests fail by panicking")]

pub mod child;
pub mod proxy;
pub mod registry;

/// Bytes that do not compress and are the same every time.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

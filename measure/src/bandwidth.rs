//! Read bandwidth of this machine: the ceiling of token generation.
//!
//! Generating a token reads every weight once, so `tokens/s x bytes per token` can at best reach what memory delivers.
//! Like llama.cpp, each thread reads its own stretch from start to end; like its weights, the stretch is far above the
//! last level cache, and its pages were first touched by the thread that reads them (so on a NUMA machine they are near
//! it). Best of several passes: a neighbour can only make memory slower.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use diagnostic::{Error, Result, codes};
use serde::{Deserialize, Serialize};

use crate::text;

/// Passes over the buffer: enough that a busy neighbour does not spoil all of them.
const PASSES: usize = 20;
/// The buffer is this many times the last level cache, so that at most a quarter of it can be served from there.
const CACHE_FACTOR: u64 = 4;
/// The smallest buffer: well above any cache that a machine hides from us.
const MIN_BUFFER: u64 = 256 << 20;
/// Words summed side by side: 256 bytes, four cache lines, enough independent sums to keep loads in flight.
const LANES: usize = 32;

/// What will be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Reading threads; the CPU budget.
    pub threads: usize,
    /// Size of all stretches together, in bytes.
    pub buffer_bytes: u64,
}

impl Plan {
    /// A buffer of four times the last level cache (`l3_bytes`, all of them together; zero if unknown), at least 256 MiB,
    /// and at most half of `memory_bytes`, the memory that this process may still take.
    pub fn new(threads: usize, l3_bytes: u64, memory_bytes: u64) -> Plan {
        let wanted = l3_bytes.saturating_mul(CACHE_FACTOR).max(MIN_BUFFER);
        Plan { threads, buffer_bytes: wanted.min(memory_bytes / 2) }
    }
}

/// What was read, and how fast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// The best pass, in GB/s of 1e9 bytes.
    pub gb_s: f64,
    /// Every pass, in order.
    pub passes_gb_s: Vec<f64>,
    /// Reading threads.
    pub threads: usize,
    /// Bytes read per pass.
    pub buffer_bytes: u64,
}

/// Reads as planned: half a second of full load on common machines.
///
/// # Errors
/// No thread, a buffer too small to read, or no memory for it ([`codes::BENCH_FAILED`]).
pub fn measure(plan: &Plan) -> Result<Bandwidth> {
    let words = usize::try_from(plan.buffer_bytes).unwrap_or(usize::MAX) / size_of::<u64>();
    let words_per_thread = words.checked_div(plan.threads).unwrap_or(0) / LANES * LANES;
    if words_per_thread == 0 {
        return Err(failed(plan, "there is nothing to read"));
    }
    // Reserved here, where it can fail as one error; the pages appear when the reading thread fills them.
    let mut stretches = Vec::with_capacity(plan.threads);
    for _ in 0..plan.threads {
        let mut stretch: Vec<u64> = Vec::new();
        stretch.try_reserve_exact(words_per_thread).map_err(|error| failed(plan, &error.to_string()).source(error))?;
        stretches.push(stretch);
    }
    let start_together = Barrier::new(plan.threads);
    let by_thread: Vec<Vec<(Instant, Instant)>> = thread::scope(|scope| {
        let readers: Vec<_> = stretches
            .into_iter()
            .map(|stretch| scope.spawn(|| read_passes(stretch, words_per_thread, &start_together)))
            .collect();
        readers.into_iter().map(|reader| reader.join().expect("reading memory does not panic")).collect()
    });

    let bytes = (words_per_thread * plan.threads * size_of::<u64>()) as u64;
    let passes_gb_s: Vec<f64> = (0..PASSES)
        .filter_map(|pass| {
            let start = by_thread.iter().map(|passes| passes[pass].0).min()?;
            let end = by_thread.iter().map(|passes| passes[pass].1).max()?;
            // At least a nanosecond, so that even a buffer of one line gives a finite figure.
            let seconds = (end - start).as_secs_f64().max(1e-9);
            Some(text::round(bytes as f64 / seconds / 1e9, 3))
        })
        .collect();
    let gb_s = passes_gb_s.iter().copied().fold(0.0, f64::max);
    Ok(Bandwidth { gb_s, passes_gb_s, threads: plan.threads, buffer_bytes: bytes })
}

/// Which part of the read bandwidth a generation speed uses: `tokens_per_second x bytes_per_token / bandwidth`.
///
/// `bytes_per_token` = all weights of the layers and the output (the input embedding only when tied) and the KV cache at
/// that depth. None when the bandwidth is not positive.
pub fn bandwidth_share(tokens_per_second: f64, bytes_per_token: u64, gb_s: f64) -> Option<f64> {
    (gb_s > 0.0).then(|| text::round(tokens_per_second * bytes_per_token as f64 / (gb_s * 1e9), 6))
}

fn read_passes(mut stretch: Vec<u64>, words: usize, start_together: &Barrier) -> Vec<(Instant, Instant)> {
    // Never all zero: the kernel may map untouched and zeroed memory to one shared page.
    stretch.extend((0..words as u64).map(|i| i | 1));
    (0..PASSES)
        .map(|_| {
            start_together.wait();
            let start = Instant::now();
            // Both ends opaque: neither the input can be assumed unchanged nor the sum unused.
            black_box(sum(black_box(&stretch)));
            (start, Instant::now())
        })
        .collect()
}

/// The wrapping sum of all words, in [`LANES`] independent sums that the compiler turns into vector loads and adds. The
/// length must be a multiple of [`LANES`].
fn sum(words: &[u64]) -> u64 {
    let mut lanes = [0_u64; LANES];
    for chunk in words.as_chunks::<LANES>().0 {
        for (lane, word) in lanes.iter_mut().zip(chunk) {
            *lane = lane.wrapping_add(*word);
        }
    }
    lanes.iter().fold(0, |total, lane| total.wrapping_add(*lane))
}

fn failed(plan: &Plan, why: &str) -> Error {
    let what = format!("{} by {}", text::mebibytes(plan.buffer_bytes), text::threads(plan.threads));
    Error::new(codes::BENCH_FAILED, format!("cannot measure read bandwidth ({what}): {why}"))
        .hint("free some memory, or go without the bandwidth figure")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_buffer_is_far_above_the_cache_and_within_memory() {
        let size = |l3: u64, memory: u64| Plan::new(2, l3 << 20, memory << 20).buffer_bytes >> 20;
        assert_eq!(size(0, 16 << 10), 256);
        assert_eq!(size(32, 16 << 10), 256);
        assert_eq!(size(1152, 1 << 20), 4608);
        assert_eq!(size(1152, 4 << 10), 2048);
        assert_eq!(size(32, 100), 50);
    }

    #[test]
    fn every_thread_reads_its_part() {
        let got = measure(&Plan { threads: 3, buffer_bytes: 1 << 20 }).unwrap();
        // 1 MiB in three stretches of whole 256 byte steps.
        assert_eq!(got.buffer_bytes, 3 * 1365 * 256);
        assert_eq!(got.passes_gb_s.len(), PASSES);
        assert!(got.passes_gb_s.iter().all(|gb_s| gb_s.is_finite() && *gb_s > 0.0), "{got:?}");
        assert_eq!(got.gb_s, got.passes_gb_s.iter().copied().fold(0.0, f64::max));
    }

    #[test]
    fn nothing_to_read_is_an_error() {
        for (threads, buffer_bytes) in [(0, 1 << 20), (2, 0), (4, 1000)] {
            let error = measure(&Plan { threads, buffer_bytes }).unwrap_err();
            assert_eq!(error.code(), codes::BENCH_FAILED);
        }
    }

    #[test]
    fn memory_that_does_not_exist_is_one_error() {
        let error = measure(&Plan { threads: 1, buffer_bytes: u64::MAX }).unwrap_err();
        assert_eq!(error.code(), codes::BENCH_FAILED);
    }

    #[test]
    fn the_share_is_tokens_times_bytes_over_bandwidth() {
        // Design section 7: 1.1 B Q4_K_M, 20.7 t/s of about 47 that 30 GB/s allow.
        assert_eq!(bandwidth_share(20.0, 600_000_000, 30.0), Some(0.4));
        assert_eq!(bandwidth_share(20.0, 600_000_000, 0.0), None);
    }

    proptest! {
        #[test]
        fn the_sum_reads_every_word(chunks in prop::collection::vec(any::<[u64; LANES]>(), 0..20)) {
            let words = chunks.concat();
            prop_assert_eq!(sum(&words), words.iter().fold(0_u64, |t, w| t.wrapping_add(*w)));
        }
    }
}

//! The figures of docs/fit.md.

use std::path::Path;

use gguf::Header;
use planner::memory::{FlashAttention, KvType, Machine, Part, Repacks, Setting, breakdown};

use crate::models;

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/fit.md");
    std::fs::read_to_string(path).expect("the page is there")
}

fn bytes(header: &Header, setting: &Setting, part: Part) -> u64 {
    breakdown(header, setting, &Machine::cpu_only(None, Repacks::Avx2))
        .expect("the models of this page are sound")
        .bytes(part)
}

fn gib(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / (1_u64 << 30) as f64)
}

fn mib(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / (1_u64 << 20) as f64)
}

/// The page says so, in one of its lines.
fn says(page: &str, line: &str) {
    assert!(page.contains(line), "docs/fit.md does not say:\n{line}");
}

#[test]
fn the_worked_example_is_what_the_planner_says() {
    let page = page();
    let header = models::qwen2_5_7b().header();
    let setting = Setting::single(32_768);
    let taken = breakdown(&header, &setting, &Machine::cpu_only(None, Repacks::Avx2)).unwrap();
    let weights = taken.bytes(Part::Weights) + taken.bytes(Part::Repacked);
    assert_eq!(taken.bytes(Part::KvCache), 32_768 * 28 * 2 * 4 * 128 * 2);
    for (name, bytes) in [
        ("weights", weights),
        ("KV cache", taken.bytes(Part::KvCache)),
        ("compute buffer", taken.bytes(Part::Compute)),
        ("logits", taken.bytes(Part::Outputs)),
        ("overhead", taken.bytes(Part::Overhead)),
        ("total", taken.total()),
    ] {
        says(&page, &format!("| {name} | {bytes} | {} |", gib(bytes)));
    }
}

#[test]
fn the_rules_of_thumb_are_corrected_with_our_figures() {
    let page = page();
    let qwen = models::qwen2_5_7b().header();
    let cache = |kind| gib(bytes(&qwen, &Setting::single(32_768).with_kv(kind), Part::KvCache));
    let (f16, q8, q4) = (cache(KvType::F16), cache(KvType::Q8_0), cache(KvType::Q4_0));
    says(&page, &format!("{f16} in `f16`, {q8} in `q8_0`, {q4} in `q4_0`"));
    let gemma = models::gemma3_12b().header();
    let window = bytes(&gemma, &Setting::single(32_768), Part::KvCache);
    let whole = bytes(&gemma, &Setting { swa_full: true, ..Setting::single(32_768) }, Part::KvCache);
    says(&page, &format!("{} and not {}", gib(window), gib(whole)));
    let off = Setting { flash_attention: FlashAttention::Off, ..Setting::single(32_768) };
    let with = bytes(&qwen, &Setting::single(32_768), Part::Compute);
    let without = bytes(&qwen, &off, Part::Compute);
    says(&page, &format!("{} with flash attention and {} without", mib(with), mib(without)));
}

//! What it costs to read the header of a model of 40 GB: time, and the most memory that the process ever took.
//!
//! ```text
//! cargo run --release --package gguf --example header_cost -- write /tmp/70b.gguf
//! cargo run --release --package gguf --example header_cost -- read /tmp/70b.gguf
//! ```
//!
//! The model has the shape of a Llama 70B with a vocabulary of 150,000 tokens, twice as many merges, and no weights: the file
//! is sparse. Reading is a process of its own, so that writing does not count.

#[expect(dead_code, reason = "other users write other files")]
#[path = "../tests/common/file.rs"]
mod file;

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Instant;
use std::{env, fs};

use file::File;
use gguf::{Arrays, ByteOrder, ModelFiles, TensorType};

const TOKENS: usize = 150_000;
const LAYERS: u64 = 80;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["write", path] => write(Path::new(path)),
        ["read", path] => read(Path::new(path)),
        _ => Err("header_cost write|read FILE".into()),
    }
}

fn write(path: &Path) -> Result<(), Box<dyn Error>> {
    let (header, size) = model().header();
    let mut file = fs::File::create(path)?;
    file.write_all(&header)?;
    file.set_len(size)?;
    println!("{}: {size} bytes, {} of them header", path.display(), header.len());
    Ok(())
}

fn read(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut milliseconds = Vec::new();
    for _ in 0..21 {
        let start = Instant::now();
        let model = ModelFiles::open(path, Arrays::SHORT)?;
        milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
        let tokens = model.header.metadata.get("tokenizer.ggml.tokens").ok_or("it has a vocabulary")?;
        assert!(matches!(tokens, gguf::Value::Array(tokens) if tokens.len() == TOKENS));
    }
    let first = milliseconds[0];
    milliseconds.sort_by(f64::total_cmp);
    println!(
        "first {first:.1} ms, median {:.1} ms, slowest {:.1} ms of {}",
        milliseconds[milliseconds.len() / 2],
        milliseconds[milliseconds.len() - 1],
        milliseconds.len()
    );
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).ok_or("the kernel tells the peak")?;
    println!("{}", peak.split_whitespace().collect::<Vec<_>>().join(" "));
    Ok(())
}

fn model() -> File {
    let (embd, ff, kv) = (8192, 28672, 1024);
    let token = |n: usize| format!("▁t{n:x}");
    let merges: Vec<String> = (0..2 * TOKENS).map(|n| format!("{} {}", token(n / 2), token(n % 977))).collect();
    let file = File::new(3, ByteOrder::Little)
        .key("general.architecture", "llama")
        .key("llama.block_count", LAYERS as u32)
        .key("llama.context_length", 131_072_u32)
        .key("llama.embedding_length", embd as u32)
        .key("llama.attention.head_count", 64_u32)
        .key("llama.attention.head_count_kv", 8_u32)
        .key("tokenizer.ggml.model", "gpt2")
        .key("tokenizer.ggml.tokens", (0..TOKENS).map(token).collect::<Vec<_>>())
        .key("tokenizer.ggml.scores", vec![0_f32; TOKENS])
        .key("tokenizer.ggml.token_type", vec![1_i32; TOKENS])
        .key("tokenizer.ggml.merges", merges)
        .tensor("token_embd.weight", &[embd, TOKENS as u64], TensorType::Q4K)
        .tensor("output_norm.weight", &[embd], TensorType::F32)
        .tensor("output.weight", &[embd, TOKENS as u64], TensorType::Q6K);
    (0..LAYERS).fold(file, |file, layer| {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        file.tensor(&name("attn_norm"), &[embd], TensorType::F32)
            .tensor(&name("attn_q"), &[embd, embd], TensorType::Q4K)
            .tensor(&name("attn_k"), &[embd, kv], TensorType::Q4K)
            .tensor(&name("attn_v"), &[embd, kv], TensorType::Q6K)
            .tensor(&name("attn_output"), &[embd, embd], TensorType::Q4K)
            .tensor(&name("ffn_norm"), &[embd], TensorType::F32)
            .tensor(&name("ffn_gate"), &[embd, ff], TensorType::Q4K)
            .tensor(&name("ffn_up"), &[embd, ff], TensorType::Q4K)
            .tensor(&name("ffn_down"), &[ff, embd], TensorType::Q5K)
    })
}

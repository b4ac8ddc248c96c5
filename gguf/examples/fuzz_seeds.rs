//! Writes what the engine starts from: valid files of every kind, small enough to be changed everywhere.
//!
//! ```text
//! cargo run --package gguf --example fuzz_seeds -- DIRECTORY
//! ```

#[path = "../tests/common/file.rs"]
mod file;

use std::path::Path;
use std::{env, fs, io};

use file::{File, every_tensor, every_value, parts};
use gguf::{ByteOrder, TensorType};

/// Inputs are no longer than this: a change in a longer one seldom hits anything.
const MOST: usize = 4096;

fn main() -> io::Result<()> {
    let Some(directory) = env::args_os().nth(1) else {
        return Err(io::Error::other("name a directory"));
    };
    fs::create_dir_all(&directory)?;
    for (name, bytes) in headers().into_iter().chain(models()) {
        fs::write(Path::new(&directory).join(name), bytes)?;
    }
    Ok(())
}

fn headers() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (order_name, order) in [("little", ByteOrder::Little), ("big", ByteOrder::Big)] {
        for version in [2, 3] {
            let empty = File::new(version, order);
            let model = empty
                .clone()
                .key("general.architecture", "llama")
                .key("general.alignment", 32_u32)
                .key("llama.block_count", 2_u32)
                .key("llama.attention.head_count", 4_u32)
                .key("llama.attention.head_count_kv", vec![2_i32, 1])
                .key("llama.embedding_length", 256_u32)
                .key("llama.expert_count", 2_u32)
                .key("llama.expert_used_count", 1_u32)
                .key("llama.context_length", 4096_u32)
                .key("tokenizer.ggml.tokens", vec!["<s>".to_owned(), "▁the".to_owned(), "a".repeat(20)])
                .tensor("token_embd.weight", &[256, 3], TensorType::Q4K)
                .tensor("blk.0.ffn_up_exps.weight", &[32, 2, 2], TensorType::Q8_0)
                .tensor("output_norm.weight", &[1], TensorType::F32);
            let part = model.clone().part(0, 2, 4);
            seeds.extend(
                [
                    ("empty", empty.clone()),
                    ("values", every_value(empty.clone())),
                    ("tensors", every_tensor(empty)),
                    ("model", model),
                    ("part", part),
                ]
                // Without most of the weights, of which nothing is read.
                .map(|(name, file)| (format!("{name}-{version}-{order_name}"), file.bytes()))
                .map(|(name, bytes)| (name, bytes[..bytes.len().min(MOST)].to_vec())),
            );
        }
    }
    seeds
}

fn models() -> Vec<(String, Vec<u8>)> {
    [("little", ByteOrder::Little), ("big", ByteOrder::Big)]
        .into_iter()
        .map(|(name, order)| {
            let files = parts(order).into_iter().map(|(_, file)| file.bytes());
            let joined = files.flat_map(|bytes| [&(bytes.len() as u16).to_le_bytes(), bytes.as_slice()].concat());
            (format!("parts-{name}"), joined.collect())
        })
        .collect()
}

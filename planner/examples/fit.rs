//! How long one fit of Llama 3.1 70B takes: `cargo run --release -p planner --example fit`.

use std::time::{Duration, Instant};

use gguf::TensorType;
use gguf::model::Sketch;
use planner::memory::{Gpu, Machine, Repacks, Setting, breakdown, most_gpu_layers};

fn llama_70b() -> Sketch {
    let mut sketch = Sketch::new("llama", TensorType::Q4K);
    sketch
        .set("block_count", 80_u32)
        .set("context_length", 131_072_u32)
        .set("embedding_length", 8192_u32)
        .set("feed_forward_length", 28672_u32)
        .set("attention.head_count", 64_u32)
        .set("attention.head_count_kv", 8_u32)
        .matrix("token_embd.weight", &[8192, 128_256])
        .matrix("output.weight", &[8192, 128_256])
        .vector("output_norm.weight", 8192);
    for layer in 0..80 {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        sketch.vector(name("attn_norm"), 8192).vector(name("ffn_norm"), 8192);
        for (part, n_in, n_out) in [
            ("attn_q", 8192, 8192),
            ("attn_k", 8192, 1024),
            ("attn_v", 8192, 1024),
            ("attn_output", 8192, 8192),
            ("ffn_gate", 8192, 28672),
            ("ffn_up", 8192, 28672),
            ("ffn_down", 28672, 8192),
        ] {
            sketch.matrix(name(part), &[n_in, n_out]);
        }
    }
    sketch
}

/// The median of a hundred runs.
fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..100)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

fn main() -> diagnostic::Result<()> {
    let header = llama_70b().header();
    let setting = Setting::server(32_768);
    let gib = 1 << 30;
    let gpus = vec![Gpu::cuda("a", 24 * gib), Gpu::cuda("b", 16 * gib)];
    let machine = Machine { ram: Some(64 * gib), gpus, unified: false, repacks: Repacks::Avx2 };
    let taken = breakdown(&header, &setting, &machine)?;
    println!("{} layers, {} of them on 2 GPUs, {} bytes", taken.layers, taken.gpu_layers, taken.total());
    let one = median(|| drop(std::hint::black_box(breakdown(&header, &setting, &machine))));
    let search = median(|| drop(std::hint::black_box(most_gpu_layers(&header, &setting, &machine))));
    println!(
        "one fit {:.2} ms, the most layers that fit {:.2} ms",
        one.as_secs_f64() * 1e3,
        search.as_secs_f64() * 1e3
    );
    Ok(())
}

//! Models with a recurrent state, alone or beside attention.

use gguf::TensorType;
use gguf::model::Sketch;

use crate::models::{attention, base, experts, feed_forward, head_size, heads, output};

fn state_space(sketch: &mut Sketch, inner: u32, state: u32, dt_rank: u32) {
    sketch
        .set("ssm.conv_kernel", 4_u32)
        .set("ssm.inner_size", inner)
        .set("ssm.state_size", state)
        .set("ssm.time_step_rank", dt_rank);
}

/// A Mamba 2 layer without its norm.
fn mamba2(sketch: &mut Sketch, layer: u32, n_embd: u64, inner: u64, state: u64, n_head: u64, has_norm: bool) {
    let name = |part: &str| format!("blk.{layer}.{part}");
    let conv = inner + 2 * state;
    sketch
        .matrix(name("ssm_in.weight"), &[n_embd, inner + conv + n_head])
        .tensor(name("ssm_conv1d.weight"), &[4, conv], TensorType::F32)
        .vector(name("ssm_conv1d.bias"), conv)
        .vector(name("ssm_dt.bias"), n_head)
        .tensor(name("ssm_a"), &[1, n_head], TensorType::F32)
        .tensor(name("ssm_d"), &[1, n_head], TensorType::F32)
        .matrix(name("ssm_out.weight"), &[inner, n_embd]);
    if has_norm {
        sketch.tensor(name("ssm_norm.weight"), &[inner, 1], TensorType::F32);
    }
}

pub(crate) fn falcon_h1_1_5b() -> Sketch {
    let mut sketch = base("falcon-h1", 24, 2048, 65_536, 131_072);
    heads(&mut sketch, 8, 2);
    head_size(&mut sketch, 128);
    state_space(&mut sketch, 3072, 256, 48);
    sketch.set("ssm.group_count", 1_u32).set("feed_forward_length", 4096_u32);
    for layer in 0..24 {
        attention(&mut sketch, layer, 2048, 1024, 256, 256);
        mamba2(&mut sketch, layer, 2048, 3072, 256, 48, false);
        let name = |part: &str| format!("blk.{layer}.{part}");
        sketch
            .vector(name("ffn_norm"), 2048)
            .matrix(name("ffn_gate.weight"), &[2048, 4096])
            .matrix(name("ffn_up.weight"), &[2048, 4096])
            .matrix(name("ffn_down.weight"), &[4096, 2048]);
    }
    output(&mut sketch, 2048, 65_536);
    sketch
}

/// A Mamba layer without its norm.
fn mamba(sketch: &mut Sketch, layer: u32, n_embd: u64, inner: u64, dt_rank: u64) {
    let name = |part: &str| format!("blk.{layer}.{part}");
    sketch
        .matrix(name("ssm_in.weight"), &[n_embd, 2 * inner])
        .tensor(name("ssm_conv1d.weight"), &[4, inner], TensorType::F32)
        .vector(name("ssm_conv1d.bias"), inner)
        .matrix(name("ssm_x.weight"), &[inner, dt_rank + 32])
        .matrix(name("ssm_dt.weight"), &[dt_rank, inner])
        .vector(name("ssm_dt.bias"), inner)
        .tensor(name("ssm_a"), &[16, inner], TensorType::F32)
        .vector(name("ssm_d"), inner)
        .matrix(name("ssm_out.weight"), &[inner, n_embd]);
}

pub(crate) fn mamba_2_8b() -> Sketch {
    let mut sketch = base("mamba", 64, 2560, 50_280, 1_048_576);
    state_space(&mut sketch, 5120, 16, 160);
    sketch.set("attention.head_count", 0_u32).set("feed_forward_length", 0_u32);
    for layer in 0..64 {
        sketch.vector(format!("blk.{layer}.attn_norm.weight"), 2560);
        mamba(&mut sketch, layer, 2560, 5120, 160);
    }
    sketch
}

pub(crate) fn mamba2_2_7b() -> Sketch {
    let mut sketch = base("mamba2", 64, 2560, 50_288, 1_048_576);
    state_space(&mut sketch, 5120, 128, 80);
    sketch.set("ssm.group_count", 1_u32).set("attention.head_count", 0_u32).set("feed_forward_length", 0_u32);
    for layer in 0..64 {
        sketch.vector(format!("blk.{layer}.attn_norm.weight"), 2560);
        mamba2(&mut sketch, layer, 2560, 5120, 128, 80, true);
    }
    sketch
}

pub(crate) fn jamba_v0_1() -> Sketch {
    let mut sketch = base("jamba", 32, 4096, 65_536, 262_144);
    state_space(&mut sketch, 8192, 16, 256);
    let kv: Vec<u32> = (0..32).map(|layer| if layer % 8 == 4 { 8 } else { 0 }).collect();
    sketch
        .set("attention.head_count", 32_u32)
        .set("attention.head_count_kv", kv)
        .set("feed_forward_length", 14336_u32)
        .set("expert_count", 16_u32)
        .set("expert_used_count", 2_u32);
    for layer in 0..32 {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        if layer % 8 == 4 {
            attention(&mut sketch, layer, 4096, 4096, 1024, 1024);
        } else {
            sketch.vector(name("attn_norm"), 4096);
            mamba(&mut sketch, layer, 4096, 8192, 256);
            sketch.vector(name("ssm_dt_norm"), 256).vector(name("ssm_b_norm"), 16).vector(name("ssm_c_norm"), 16);
        }
        if layer % 2 == 1 {
            sketch.vector(name("ffn_norm"), 4096);
            experts(&mut sketch, layer, 4096, 14336, 16, TensorType::Q4K);
        } else {
            feed_forward(&mut sketch, layer, 4096, 14336);
        }
    }
    output(&mut sketch, 4096, 65_536);
    sketch
}

pub(crate) fn granite_4_h_tiny() -> Sketch {
    let mut sketch = base("granitehybrid", 40, 1536, 100_352, 131_072);
    state_space(&mut sketch, 3072, 128, 48);
    let attends = |layer: u32| layer % 10 == 5;
    let kv: Vec<u32> = (0..40).map(|layer| if attends(layer) { 4 } else { 0 }).collect();
    sketch
        .set("attention.head_count", 12_u32)
        .set("attention.head_count_kv", kv)
        .set("ssm.group_count", 1_u32)
        .set("feed_forward_length", 512_u32)
        .set("expert_shared_feed_forward_length", 1024_u32)
        .set("expert_count", 64_u32)
        .set("expert_used_count", 6_u32)
        .set("embedding_scale", 12_f32)
        .set("residual_scale", 0.22_f32)
        .set("attention.scale", 0.007_812_5_f32)
        .set("logit_scale", 6_f32)
        .set("rope.scaling.finetuned", false);
    for layer in 0..40 {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        if attends(layer) {
            attention(&mut sketch, layer, 1536, 1536, 512, 512);
        } else {
            sketch.vector(name("attn_norm"), 1536);
            mamba2(&mut sketch, layer, 1536, 3072, 128, 48, true);
        }
        sketch.vector(name("ffn_norm"), 1536);
        experts(&mut sketch, layer, 1536, 512, 64, TensorType::Q4K);
        sketch
            .matrix(name("ffn_gate_shexp"), &[1536, 1024])
            .matrix(name("ffn_down_shexp"), &[1024, 1536])
            .matrix(name("ffn_up_shexp"), &[1536, 1024]);
    }
    sketch
}

//! Headers of models that people run: the numbers of their published configurations, and the tensors that llama.cpp's
//! converter makes of them (src/models/ at the pin says which it demands).

use gguf::TensorType;
use gguf::model::Sketch;

/// A model, by what the table calls it.
pub(crate) struct Model {
    pub(crate) name: &'static str,
    pub(crate) sketch: Sketch,
}

/// Every model, one or two of each architecture.
pub(crate) fn all() -> Vec<Model> {
    vec![
        Model { name: "Llama 3.1 8B", sketch: llama(32, 4096, 14336, 32, 128_256, None) },
        Model { name: "Llama 3.1 70B", sketch: llama(80, 8192, 28672, 64, 128_256, None) },
        Model { name: "Mixtral 8x7B", sketch: llama(32, 4096, 14336, 32, 32_000, Some((8, 2))) },
        Model { name: "Qwen2.5 7B", sketch: qwen2_5_7b() },
        Model { name: "Qwen3 8B", sketch: qwen3(36, 4096, 12288, 32, true) },
        Model { name: "Qwen3 0.6B", sketch: qwen3(28, 1024, 3072, 16, false) },
        Model { name: "Qwen3 30B-A3B", sketch: qwen3_30b_a3b() },
        Model { name: "Gemma 2 9B", sketch: gemma2_9b() },
        Model { name: "Gemma 3 12B", sketch: gemma3_12b() },
        Model { name: "Phi 3 mini", sketch: phi3_mini() },
        Model { name: "DeepSeek V2 Lite", sketch: deepseek_v2_lite() },
        Model { name: "DeepSeek V3", sketch: deepseek_v3() },
        Model { name: "gpt-oss 20B", sketch: gpt_oss_20b() },
        Model { name: "Falcon H1 1.5B", sketch: falcon_h1_1_5b() },
        Model { name: "Mamba 2.8B", sketch: mamba_2_8b() },
        Model { name: "Jamba v0.1", sketch: jamba_v0_1() },
        Model { name: "Granite 4 H tiny", sketch: granite_4_h_tiny() },
    ]
}

/// What nearly every model has.
fn base(architecture: &str, layers: u32, n_embd: u64, n_vocab: u64, ctx: u32) -> Sketch {
    let mut sketch = Sketch::new(architecture, TensorType::Q4K);
    sketch
        .set("block_count", layers)
        .set("embedding_length", n_embd as u32)
        .set("context_length", ctx)
        .set("vocab_size", n_vocab as u32)
        .set("attention.layer_norm_rms_epsilon", 1e-5_f32)
        .matrix("token_embd.weight", &[n_embd, n_vocab])
        .vector("output_norm.weight", n_embd);
    sketch
}

/// An output of its own, in the type that llama-quantize gives it.
fn output(sketch: &mut Sketch, n_embd: u64, n_vocab: u64) {
    let kind = if n_embd.is_multiple_of(256) { TensorType::Q6K } else { TensorType::Q8_0 };
    sketch.tensor("output.weight", &[n_embd, n_vocab], kind);
}

fn heads(sketch: &mut Sketch, heads: u32, kv: u32) {
    sketch.set("attention.head_count", heads).set("attention.head_count_kv", kv);
}

/// Queries, keys, values and what comes after them.
fn attention(sketch: &mut Sketch, layer: u32, n_embd: u64, q: u64, k: u64, v: u64) {
    let name = |part: &str| format!("blk.{layer}.{part}.weight");
    sketch
        .vector(name("attn_norm"), n_embd)
        .matrix(name("attn_q"), &[n_embd, q])
        .matrix(name("attn_k"), &[n_embd, k])
        .matrix(name("attn_v"), &[n_embd, v])
        .matrix(name("attn_output"), &[q, n_embd]);
}

fn feed_forward(sketch: &mut Sketch, layer: u32, n_embd: u64, n_ff: u64) {
    let name = |part: &str| format!("blk.{layer}.{part}.weight");
    sketch
        .vector(name("ffn_norm"), n_embd)
        .matrix(name("ffn_gate"), &[n_embd, n_ff])
        .matrix(name("ffn_up"), &[n_embd, n_ff])
        .matrix(name("ffn_down"), &[n_ff, n_embd]);
}

fn experts(sketch: &mut Sketch, layer: u32, n_embd: u64, n_ff: u64, count: u64, kind: TensorType) {
    let name = |part: &str| format!("blk.{layer}.{part}.weight");
    sketch
        .tensor(name("ffn_gate_inp"), &[n_embd, count], TensorType::F32)
        .tensor(name("ffn_gate_exps"), &[n_embd, n_ff, count], kind)
        .tensor(name("ffn_down_exps"), &[n_ff, n_embd, count], if n_ff.is_multiple_of(256) { kind } else { TensorType::Q8_0 })
        .tensor(name("ffn_up_exps"), &[n_embd, n_ff, count], kind);
}

pub(crate) fn llama(layers: u32, n_embd: u64, n_ff: u64, n_head: u32, n_vocab: u64, moe: Option<(u64, u32)>) -> Sketch {
    let mut sketch = base("llama", layers, n_embd, n_vocab, 131_072);
    heads(&mut sketch, n_head, 8);
    let head = n_embd / u64::from(n_head);
    sketch.set("feed_forward_length", n_ff as u32).set("rope.dimension_count", head as u32);
    if let Some((count, used)) = moe {
        sketch.set("expert_count", count as u32).set("expert_used_count", used);
    } else {
        sketch.vector("rope_freqs.weight", head / 2);
    }
    for layer in 0..layers {
        attention(&mut sketch, layer, n_embd, n_embd, head * 8, head * 8);
        match moe {
            None => feed_forward(&mut sketch, layer, n_embd, n_ff),
            Some((count, _)) => {
                sketch.vector(format!("blk.{layer}.ffn_norm.weight"), n_embd);
                experts(&mut sketch, layer, n_embd, n_ff, count, TensorType::Q4K);
            }
        }
    }
    output(&mut sketch, n_embd, n_vocab);
    sketch
}

pub(crate) fn qwen2_5_7b() -> Sketch {
    let mut sketch = base("qwen2", 28, 3584, 152_064, 32_768);
    heads(&mut sketch, 28, 4);
    sketch.set("feed_forward_length", 18944_u32);
    for layer in 0..28 {
        attention(&mut sketch, layer, 3584, 3584, 512, 512);
        for (part, n) in [("attn_q", 3584), ("attn_k", 512), ("attn_v", 512)] {
            sketch.vector(format!("blk.{layer}.{part}.bias"), n);
        }
        feed_forward(&mut sketch, layer, 3584, 18944);
    }
    output(&mut sketch, 3584, 152_064);
    sketch
}

/// Norms of queries and keys, which the heads share.
fn head_norms(sketch: &mut Sketch, layer: u32, head: u64) {
    sketch.vector(format!("blk.{layer}.attn_q_norm.weight"), head).vector(format!("blk.{layer}.attn_k_norm.weight"), head);
}

fn head_size(sketch: &mut Sketch, head: u32) {
    sketch.set("attention.key_length", head).set("attention.value_length", head);
}

fn qwen3(layers: u32, n_embd: u64, n_ff: u64, n_head: u32, own_output: bool) -> Sketch {
    let mut sketch = base("qwen3", layers, n_embd, 151_936, 40_960);
    heads(&mut sketch, n_head, 8);
    head_size(&mut sketch, 128);
    sketch.set("feed_forward_length", n_ff as u32);
    for layer in 0..layers {
        attention(&mut sketch, layer, n_embd, u64::from(n_head) * 128, 1024, 1024);
        head_norms(&mut sketch, layer, 128);
        feed_forward(&mut sketch, layer, n_embd, n_ff);
    }
    if own_output {
        output(&mut sketch, n_embd, 151_936);
    }
    sketch
}

fn qwen3_30b_a3b() -> Sketch {
    let mut sketch = base("qwen3moe", 48, 2048, 151_936, 40_960);
    heads(&mut sketch, 32, 4);
    head_size(&mut sketch, 128);
    sketch
        .set("feed_forward_length", 6144_u32)
        .set("expert_feed_forward_length", 768_u32)
        .set("expert_count", 128_u32)
        .set("expert_used_count", 8_u32);
    for layer in 0..48 {
        attention(&mut sketch, layer, 2048, 4096, 512, 512);
        head_norms(&mut sketch, layer, 128);
        sketch.vector(format!("blk.{layer}.ffn_norm.weight"), 2048);
        experts(&mut sketch, layer, 2048, 768, 128, TensorType::Q4K);
    }
    output(&mut sketch, 2048, 151_936);
    sketch
}

fn gemma2_9b() -> Sketch {
    let mut sketch = base("gemma2", 42, 3584, 256_000, 8192);
    heads(&mut sketch, 16, 8);
    head_size(&mut sketch, 256);
    sketch
        .set("feed_forward_length", 14336_u32)
        .set("attention.sliding_window", 4096_u32)
        .set("attn_logit_softcapping", 50_f32)
        .set("final_logit_softcapping", 30_f32);
    for layer in 0..42 {
        attention(&mut sketch, layer, 3584, 4096, 2048, 2048);
        feed_forward(&mut sketch, layer, 3584, 14336);
        sketch.vector(format!("blk.{layer}.post_attention_norm.weight"), 3584);
        sketch.vector(format!("blk.{layer}.post_ffw_norm.weight"), 3584);
    }
    sketch
}

fn gemma3_12b() -> Sketch {
    let mut sketch = base("gemma3", 48, 3840, 262_208, 131_072);
    heads(&mut sketch, 16, 8);
    head_size(&mut sketch, 256);
    sketch.set("feed_forward_length", 15360_u32).set("attention.sliding_window", 1024_u32);
    for layer in 0..48 {
        attention(&mut sketch, layer, 3840, 4096, 2048, 2048);
        head_norms(&mut sketch, layer, 256);
        feed_forward(&mut sketch, layer, 3840, 15360);
        sketch.vector(format!("blk.{layer}.post_attention_norm.weight"), 3840);
        sketch.vector(format!("blk.{layer}.post_ffw_norm.weight"), 3840);
    }
    sketch
}

fn phi3_mini() -> Sketch {
    let mut sketch = base("phi3", 32, 3072, 32_064, 131_072);
    heads(&mut sketch, 32, 32);
    sketch.set("feed_forward_length", 8192_u32).set("rope.dimension_count", 96_u32);
    sketch.set("rope.scaling.original_context_length", 4096_u32);
    sketch.vector("rope_factors_long.weight", 48).vector("rope_factors_short.weight", 48);
    for layer in 0..32 {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        sketch
            .vector(name("attn_norm"), 3072)
            .matrix(name("attn_qkv"), &[3072, 3 * 3072])
            .matrix(name("attn_output"), &[3072, 3072])
            .vector(name("ffn_norm"), 3072)
            .matrix(name("ffn_up"), &[3072, 2 * 8192])
            .matrix(name("ffn_down"), &[8192, 3072]);
    }
    output(&mut sketch, 3072, 32_064);
    sketch
}

/// The numbers of a DeepSeek model.
struct DeepSeek {
    layers: u32,
    n_embd: u64,
    n_ff: u64,
    n_head: u64,
    n_vocab: u64,
    q_lora: Option<u64>,
    dense: u32,
    experts: u64,
    used: u32,
    shared: u64,
    n_ff_exp: u64,
}

fn deepseek_v2_lite() -> Sketch {
    deepseek(&DeepSeek {
        layers: 27,
        n_embd: 2048,
        n_ff: 10944,
        n_head: 16,
        n_vocab: 102_400,
        q_lora: None,
        dense: 1,
        experts: 64,
        used: 6,
        shared: 2,
        n_ff_exp: 1408,
    })
}

fn deepseek_v3() -> Sketch {
    let mut sketch = deepseek(&DeepSeek {
        layers: 61,
        n_embd: 7168,
        n_ff: 18432,
        n_head: 128,
        n_vocab: 129_280,
        q_lora: Some(1536),
        dense: 3,
        experts: 256,
        used: 8,
        shared: 1,
        n_ff_exp: 2048,
    });
    sketch
        .set("expert_group_count", 8_u32)
        .set("expert_group_used_count", 4_u32)
        .set("expert_weights_norm", true)
        .set("expert_weights_scale", 2.5_f32)
        .set("expert_gating_func", 2_u32);
    for layer in 3..61 {
        sketch.vector(format!("blk.{layer}.exp_probs_b.bias"), 256);
    }
    sketch
}

fn deepseek(of: &DeepSeek) -> Sketch {
    let DeepSeek { layers, n_embd, n_head, n_vocab, .. } = *of;
    let mut sketch = base("deepseek2", layers, n_embd, n_vocab, 163_840);
    heads(&mut sketch, n_head as u32, 1);
    sketch
        .set("feed_forward_length", of.n_ff as u32)
        .set("attention.key_length", 576_u32)
        .set("attention.value_length", 512_u32)
        .set("attention.key_length_mla", 192_u32)
        .set("attention.value_length_mla", 128_u32)
        .set("attention.kv_lora_rank", 512_u32)
        .set("rope.dimension_count", 64_u32)
        .set("leading_dense_block_count", of.dense)
        .set("expert_count", of.experts as u32)
        .set("expert_used_count", of.used)
        .set("expert_shared_count", of.shared as u32)
        .set("expert_feed_forward_length", of.n_ff_exp as u32);
    if let Some(q_lora) = of.q_lora {
        sketch.set("attention.q_lora_rank", q_lora as u32);
    }
    for layer in 0..layers {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        sketch.vector(name("attn_norm"), n_embd).vector(name("attn_kv_a_norm"), 512);
        match of.q_lora {
            None => sketch.matrix(name("attn_q"), &[n_embd, n_head * 192]),
            Some(q_lora) => sketch
                .vector(name("attn_q_a_norm"), q_lora)
                .matrix(name("attn_q_a"), &[n_embd, q_lora])
                .matrix(name("attn_q_b"), &[q_lora, n_head * 192]),
        };
        sketch
            .matrix(name("attn_kv_a_mqa"), &[n_embd, 576])
            .matrix(name("attn_k_b"), &[128, 512, n_head])
            .matrix(name("attn_v_b"), &[512, 128, n_head])
            .matrix(name("attn_output"), &[n_head * 128, n_embd]);
        if layer < of.dense {
            feed_forward(&mut sketch, layer, n_embd, of.n_ff);
            continue;
        }
        sketch.vector(name("ffn_norm"), n_embd);
        experts(&mut sketch, layer, n_embd, of.n_ff_exp, of.experts, TensorType::Q4K);
        let shared = of.n_ff_exp * of.shared;
        sketch
            .matrix(name("ffn_gate_shexp"), &[n_embd, shared])
            .matrix(name("ffn_down_shexp"), &[shared, n_embd])
            .matrix(name("ffn_up_shexp"), &[n_embd, shared]);
    }
    output(&mut sketch, n_embd, n_vocab);
    sketch
}

fn gpt_oss_20b() -> Sketch {
    let mut sketch = base("gpt-oss", 24, 2880, 201_088, 131_072);
    heads(&mut sketch, 64, 8);
    head_size(&mut sketch, 64);
    sketch
        .set("feed_forward_length", 2880_u32)
        .set("expert_feed_forward_length", 2880_u32)
        .set("attention.sliding_window", 128_u32)
        .set("expert_count", 32_u32)
        .set("expert_used_count", 4_u32);
    for layer in 0..24 {
        let name = |part: &str| format!("blk.{layer}.{part}");
        attention(&mut sketch, layer, 2880, 4096, 512, 512);
        for (part, n) in [("attn_q", 4096), ("attn_k", 512), ("attn_v", 512), ("attn_output", 2880), ("ffn_gate_inp", 32)] {
            sketch.vector(name(&format!("{part}.bias")), n);
        }
        sketch.vector(name("attn_sinks.weight"), 64).vector(name("post_attention_norm.weight"), 2880);
        sketch.tensor(name("ffn_gate_inp.weight"), &[2880, 32], TensorType::F32);
        for part in ["ffn_gate_exps", "ffn_down_exps", "ffn_up_exps"] {
            sketch.tensor(name(&format!("{part}.weight")), &[2880, 2880, 32], TensorType::Mxfp4);
            sketch.tensor(name(&format!("{part}.bias")), &[2880, 32], TensorType::F32);
        }
    }
    output(&mut sketch, 2880, 201_088);
    sketch
}

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

fn falcon_h1_1_5b() -> Sketch {
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

fn mamba_2_8b() -> Sketch {
    let mut sketch = base("mamba", 64, 2560, 50_280, 1_048_576);
    state_space(&mut sketch, 5120, 16, 160);
    sketch.set("attention.head_count", 0_u32).set("feed_forward_length", 0_u32);
    for layer in 0..64 {
        sketch.vector(format!("blk.{layer}.attn_norm.weight"), 2560);
        mamba(&mut sketch, layer, 2560, 5120, 160);
    }
    sketch
}

fn jamba_v0_1() -> Sketch {
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

fn granite_4_h_tiny() -> Sketch {
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

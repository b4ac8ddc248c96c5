//! What a generated token costs in memory traffic.

use gguf::model::{Quant, Shape, plan};
use gguf::{Array, Header, Metadata, TensorInfo, TensorType, Value};

/// A header with these keys, and one-dimensional tensors of as many bytes.
fn header(keys: &[(&str, Value)], tensors: &[(&str, u64)]) -> Header {
    let tensors = tensors.iter().map(|&(name, bytes)| TensorInfo {
        name: name.to_owned(),
        dims: vec![bytes],
        tensor_type: TensorType::I8,
        offset: 0,
        bytes,
    });
    let keys = keys.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
    Header { version: 3, metadata: Metadata(keys.collect()), tensors: tensors.collect(), data_offset: 0 }
}

fn llama(keys: &[(&str, Value)], tensors: &[(&str, u64)]) -> Header {
    let architecture = ("general.architecture", Value::from("llama"));
    header(&[&[architecture], keys].concat(), tensors)
}

fn of_plan(shape: Shape, quant: Quant) -> Header {
    let plan = plan(shape, quant, 1);
    Header { version: 3, metadata: plan.metadata, tensors: plan.tensors, data_offset: plan.data_offset }
}

#[test]
fn generated_models_read_all_but_the_input_embedding() {
    for (shape, embedding, kv) in [
        (Shape::Tiny, 288 * 256 * 2, 2 * 2 * 2 * 64 * 2),
        (Shape::OneB, 32000 * 2048 * 2, 22 * 2 * 4 * 64 * 2),
        (Shape::Solar10B7, 32000 * 4096 * 2, 48 * 2 * 8 * 128 * 2),
    ] {
        let header = of_plan(shape, Quant::F16);
        let all: u64 = header.tensors.iter().map(|tensor| tensor.bytes).sum();
        assert_eq!(header.bytes_per_token().unwrap(), all - embedding, "{shape}");
        assert_eq!(header.kv_bytes_per_token().unwrap(), kv, "{shape}");
    }
}

#[test]
fn a_tied_embedding_is_the_output_and_counts() {
    let layers = [("token_embd.weight", 1000), ("blk.0.attn_q.weight", 10), ("output_norm.weight", 1)];
    assert_eq!(llama(&[], &layers).bytes_per_token().unwrap(), 1011);
    let untied = [&layers[..], &[("output.weight", 100)]].concat();
    assert_eq!(llama(&[], &untied).bytes_per_token().unwrap(), 111);
}

#[test]
fn tables_that_are_looked_up_do_not_count() {
    let tensors = [("per_layer_token_embd.weight", 1000), ("rope_freqs.weight", 100), ("output.weight", 10)];
    assert_eq!(llama(&[], &tensors).bytes_per_token().unwrap(), 10);
}

#[test]
fn of_the_experts_those_in_use_count() {
    let tensors = [("blk.0.ffn_up_exps.weight", 800), ("blk.0.ffn_up_shexp.weight", 10), ("output.weight", 1)];
    let experts =
        |count: u32, used: u32| [("llama.expert_count", count.into()), ("llama.expert_used_count", used.into())];
    assert_eq!(llama(&experts(8, 2), &tensors).bytes_per_token().unwrap(), 211);
    let error = llama(&experts(8, 9), &tensors).bytes_per_token().unwrap_err();
    insta::assert_snapshot!(error, @"it uses 9 of 8 experts");
}

#[test]
fn one_part_of_a_split_model_has_no_figure() {
    let error = llama(&[("split.count", Value::U16(3))], &[]).bytes_per_token().unwrap_err();
    insta::assert_snapshot!(error, @"one of 3 parts of a split model");
}

#[test]
fn kv_heads_may_differ_by_layer_and_heads_may_have_their_own_size() {
    let keys = [
        ("llama.block_count", Value::U32(3)),
        ("llama.attention.head_count", Value::U32(4)),
        ("llama.attention.head_count_kv", Value::Array(Array::I32(vec![4, 0, 2]))),
        ("llama.attention.key_length", Value::U32(128)),
        ("llama.attention.value_length", Value::U32(64)),
    ];
    assert_eq!(llama(&keys, &[]).kv_bytes_per_token().unwrap(), (4 + 2) * (128 + 64) * 2);
}

#[test]
fn without_grouped_queries_every_head_has_keys_and_values() {
    let keys = [
        ("llama.block_count", Value::U32(2)),
        ("llama.attention.head_count", Value::U32(4)),
        ("llama.embedding_length", Value::U32(256)),
    ];
    assert_eq!(llama(&keys, &[]).kv_bytes_per_token().unwrap(), 2 * 4 * (64 + 64) * 2);
}

#[test]
fn what_is_missing_or_absurd_is_named() {
    let refused = |keys: &[(&str, Value)]| llama(keys, &[]).kv_bytes_per_token().unwrap_err();
    insta::assert_snapshot!(header(&[], &[]).kv_bytes_per_token().unwrap_err(), @"metadata `general.architecture` is missing");
    insta::assert_snapshot!(refused(&[]), @"metadata `llama.block_count` is missing");
    insta::assert_snapshot!(refused(&[("llama.block_count", Value::from("two"))]), @"metadata `llama.block_count` is not a non-negative integer");
    let sized = |layers: u64, heads: u64, embedding: u64| {
        refused(&[
            ("llama.block_count", Value::U64(layers)),
            ("llama.attention.head_count", Value::U64(heads)),
            ("llama.embedding_length", Value::U64(embedding)),
        ])
    };
    insta::assert_snapshot!(sized(2, 0, 256), @"it has no attention heads");
    insta::assert_snapshot!(sized(1 << 40, 1 << 40, 1 << 60), @"its KV cache takes more bytes than can be counted");
}

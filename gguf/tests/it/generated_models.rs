//! Generated models: the plan, the bytes that come of it, and that both are the same every time.

use std::io::{self, Write};

use diagnostic::{Error, codes};
use gguf::model::{Quant, Shape, plan, write};
use gguf::{Header, TensorType};
use sha2::{Digest, Sha256};

use crate::support::model;

#[test]
fn every_plan_is_laid_out_without_gaps() {
    for shape in Shape::ALL {
        for quant in Quant::ALL {
            let plan = plan(shape, quant, 1);
            let mut end = 0;
            for tensor in &plan.tensors {
                assert_eq!(tensor.offset, end, "{shape} {quant} {}", tensor.name);
                end = (tensor.offset + tensor.bytes).next_multiple_of(32);
            }
            assert_eq!(plan.file_bytes, plan.data_offset + end, "{shape} {quant}");
        }
    }
}

#[test]
fn plans_read_well() {
    insta::assert_snapshot!(plan(Shape::Tiny, Quant::Q8_0, 7), @"
    model tiny q8_0, seed 7
      2 layers x 256, ffn 768, 4 heads, 2 KV heads, 288 tokens
      1.7 M parameters in 21 tensors
      1.8 MB (1842688 bytes)
    ");
    insta::assert_snapshot!(plan(Shape::OneB, Quant::Q4KM, 7), @"
    model 1b q4_k_m, seed 7
      22 layers x 2048, ffn 5632, 32 heads, 4 KV heads, 32000 tokens
      1100.0 M parameters in 201 tensors
      668.1 MB (668071712 bytes)
    ");
    insta::assert_snapshot!(plan(Shape::Solar10B7, Quant::Q4KM, 7), @"
    model solar-10.7b q4_k_m, seed 7
      48 layers x 4096, ffn 14336, 32 heads, 8 KV heads, 32000 tokens
      10731.5 M parameters in 435 tensors
      6461.9 MB (6461930976 bytes)
    ");
    assert_eq!(plan(Shape::Solar10B7, Quant::Q4KM, 7).file_name(), "solar-10.7b-q4_k_m.gguf");
}

/// What `llama-quantize --dry-run MODEL-F16 Q4_K_M` of the pinned llama.cpp computes for the same shapes; the types it
/// names for each tensor were compared too, and are the same.
#[test]
fn q4_k_m_is_as_large_as_upstream_makes_it() {
    for (shape, mib) in [(Shape::OneB, "636.18"), (Shape::Solar10B7, "6161.62")] {
        let bytes: u64 = plan(shape, Quant::Q4KM, 1).tensors.iter().map(|tensor| tensor.bytes).sum();
        assert_eq!(format!("{:.2}", bytes as f64 / f64::from(1 << 20)), mib);
    }
}

#[test]
fn q4_k_m_mixes_types_by_layer() {
    let tensors = plan(Shape::Tiny, Quant::Q4KM, 1).tensors;
    let types: Vec<String> = tensors.iter().map(|tensor| format!("{} {}", tensor.name, tensor.tensor_type)).collect();
    insta::assert_snapshot!(types.join("\n"), @"
    token_embd.weight q4_K
    blk.0.attn_norm.weight f32
    blk.0.attn_q.weight q4_K
    blk.0.attn_k.weight q4_K
    blk.0.attn_v.weight q4_K
    blk.0.attn_output.weight q4_K
    blk.0.ffn_norm.weight f32
    blk.0.ffn_gate.weight q4_K
    blk.0.ffn_up.weight q4_K
    blk.0.ffn_down.weight q4_K
    blk.1.attn_norm.weight f32
    blk.1.attn_q.weight q4_K
    blk.1.attn_k.weight q4_K
    blk.1.attn_v.weight q6_K
    blk.1.attn_output.weight q4_K
    blk.1.ffn_norm.weight f32
    blk.1.ffn_gate.weight q4_K
    blk.1.ffn_up.weight q4_K
    blk.1.ffn_down.weight q6_K
    output_norm.weight f32
    output.weight q6_K
    ");
}

#[test]
fn the_reader_gets_back_what_was_planned() {
    for quant in Quant::ALL {
        let plan = plan(Shape::Tiny, quant, 3);
        let file = model(Shape::Tiny, quant, 3);
        assert_eq!(file.len() as u64, plan.file_bytes);
        let header = Header::from_reader(file.as_slice()).unwrap();
        assert_eq!(header.version, 3);
        assert_eq!(header.metadata, plan.metadata);
        assert_eq!(header.tensors, plan.tensors);
        assert_eq!(header.data_offset, plan.data_offset);
        assert_eq!(header.end(), plan.file_bytes);
    }
}

#[test]
fn the_vocabulary_has_a_text_and_a_type_per_token() {
    for (shape, n_vocab) in [(Shape::Tiny, 288), (Shape::OneB, 32000), (Shape::Solar10B7, 32000)] {
        let plan = plan(shape, Quant::F16, 1);
        for key in ["tokens", "scores", "token_type"] {
            let Some(gguf::Value::Array(items)) = plan.metadata.get(&format!("tokenizer.ggml.{key}")) else {
                panic!("`{key}` is an array");
            };
            assert_eq!(items.len(), n_vocab, "{shape} {key}");
        }
    }
}

/// The bytes are a promise: figures of different machines and versions are about the same model. Change them knowingly.
#[test]
fn the_same_seed_gives_the_same_bytes_everywhere() {
    let digests: Vec<String> = Quant::ALL
        .map(|quant| {
            let digest = Sha256::digest(model(Shape::Tiny, quant, 42));
            let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            format!("{quant} {hex}")
        })
        .into();
    insta::assert_snapshot!(digests.join("\n"), @"
    q4_k_m 81bba417675a189b
    q4_0 a15df7eaf33a54da
    q8_0 643341b5382d0fdc
    q6_k ffd6853703cb3c2a
    f16 7b4678bedf3d7b7c
    ");
}

#[test]
fn another_seed_gives_other_bytes_in_every_random_tensor() {
    let [one, other] = [1, 2].map(|seed| model(Shape::Tiny, Quant::Q4KM, seed));
    let header = Header::from_reader(one.as_slice()).unwrap();
    for tensor in header.tensors.iter().filter(|tensor| tensor.tensor_type != TensorType::F32) {
        let start = (header.data_offset + tensor.offset) as usize;
        let bytes = start..start + tensor.bytes as usize;
        assert_ne!(one[bytes.clone()], other[bytes], "{}", tensor.name);
    }
}

#[test]
fn tensors_of_the_same_shape_differ() {
    let file = model(Shape::Tiny, Quant::Q8_0, 1);
    let header = Header::from_reader(file.as_slice()).unwrap();
    let bytes = |name: &str| {
        let tensor = header.tensors.iter().find(|tensor| tensor.name == name).unwrap();
        &file[(header.data_offset + tensor.offset) as usize..][..tensor.bytes as usize]
    };
    assert_ne!(bytes("blk.0.attn_q.weight"), bytes("blk.1.attn_q.weight"));
    assert_ne!(bytes("blk.0.attn_q.weight"), bytes("blk.0.attn_output.weight"));
}

/// Takes one to seven bytes at a time, and now and then none for a good reason.
struct Reluctant {
    taken: Vec<u8>,
    calls: usize,
}

impl Write for Reluctant {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(100) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = bytes.len().min(1 + self.calls % 7);
        self.taken.extend(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_way_it_is_written_does_not_matter() {
    let plan = plan(Shape::Tiny, Quant::Q4KM, 5);
    let mut out = Reluctant { taken: Vec::new(), calls: 0 };
    write(&plan, &mut out, |_| Ok(())).unwrap();
    assert!(out.taken == model(Shape::Tiny, Quant::Q4KM, 5));
}

#[test]
fn progress_counts_up_to_the_whole_file() {
    let plan = plan(Shape::Tiny, Quant::F16, 5);
    let mut seen = Vec::new();
    write(&plan, &mut io::sink(), |bytes| {
        seen.push(bytes);
        Ok(())
    })
    .unwrap();
    assert!(seen.is_sorted());
    assert!(seen.len() >= plan.tensors.len());
    assert_eq!(seen.last(), Some(&plan.file_bytes));
}

#[test]
fn an_error_of_the_callback_stops_the_work() {
    let plan = plan(Shape::OneB, Quant::Q4KM, 5);
    let mut out = Vec::new();
    let error = write(&plan, &mut out, |bytes| {
        if bytes > 8 << 20 { Err(Error::new(codes::INTERRUPTED, "interrupted")) } else { Ok(()) }
    })
    .unwrap_err();
    assert_eq!(error.code(), codes::INTERRUPTED);
    assert!(out.len() < 12 << 20, "{} bytes were written after it was told to stop", out.len());
}

#[test]
fn a_full_disk_is_told_from_other_failures() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = write(&plan(Shape::Tiny, Quant::F16, 5), &mut Full, |_| Ok(())).unwrap_err();
    assert_eq!(error.code(), codes::DISK_FULL);
    insta::assert_snapshot!(error, @"cannot write model `tiny-f16.gguf`: no storage space");
}

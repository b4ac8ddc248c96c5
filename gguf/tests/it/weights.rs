//! The weights of generated models are valid blocks, and have the distribution that keeps activations alive.

use std::io::{self, Write};

use gguf::model::{ModelPlan, Quant, Shape, plan, write};
use gguf::{TensorInfo, TensorType};

use crate::support::{dequantize, model, moments};

fn values(plan: &ModelPlan, file: &[u8], tensor: &TensorInfo) -> Vec<f32> {
    let start = (plan.data_offset + tensor.offset) as usize;
    dequantize(tensor.tensor_type, &file[start..start + tensor.bytes as usize])
}

/// The tokens that may be generated: newline, visible ASCII and the space.
fn generated(token: usize) -> bool {
    matches!(token, 13 | 36..=129 | 259)
}

#[test]
fn weights_have_mean_zero_and_the_variance_that_their_inputs_call_for() {
    for quant in Quant::ALL {
        let plan = plan(Shape::Tiny, quant, 11);
        let file = model(Shape::Tiny, quant, 11);
        for tensor in plan.tensors.iter().filter(|tensor| tensor.dims.len() == 2) {
            let n_in = tensor.dims[0] as usize;
            let mut weights = values(&plan, &file, tensor);
            assert_eq!(weights.len() as u64, tensor.dims.iter().product::<u64>());
            let mut expected = 1.0 / (n_in as f64).sqrt();
            match tensor.name.as_str() {
                "token_embd.weight" => expected = 1.0,
                "output.weight" => {
                    let rows = weights.chunks_exact(n_in).enumerate().filter(|(token, _)| generated(*token));
                    weights = rows.flat_map(|(_, row)| row.to_vec()).collect();
                }
                _ => {}
            }
            let (mean, std) = moments(&weights);
            let what = format!("{quant} {} of type {}", tensor.name, tensor.tensor_type);
            assert!((std / expected - 1.0).abs() < 0.02, "{what}: std {std}, expected {expected}");
            // Five standard errors; the blocks of 32 that share a sign make the values of q4_0 and q8_0 a little dependent.
            let standard_error = std / (weights.len() as f64).sqrt();
            assert!(mean.abs() < 5.0 * standard_error, "{what}: mean {mean}, standard error {standard_error}");
        }
    }
}

#[test]
fn norms_are_one_and_the_last_one_scales_the_logits() {
    let plan = plan(Shape::Tiny, Quant::Q6K, 1);
    let file = model(Shape::Tiny, Quant::Q6K, 1);
    for tensor in plan.tensors.iter().filter(|tensor| tensor.dims.len() == 1) {
        let expected = if tensor.name == "output_norm.weight" { 6.0 } else { 1.0 };
        assert_eq!(values(&plan, &file, tensor), vec![expected; 256], "{}", tensor.name);
    }
}

/// Blocks that all had one scale would be weights of fewer levels than the format can hold.
#[test]
fn scales_of_sub_blocks_differ() {
    let plan = plan(Shape::Tiny, Quant::Q4KM, 1);
    let file = model(Shape::Tiny, Quant::Q4KM, 1);
    for (name, tensor_type, sub_block) in
        [("blk.0.attn_v.weight", TensorType::Q4K, 32), ("blk.1.attn_v.weight", TensorType::Q6K, 16)]
    {
        let tensor = plan.tensors.iter().find(|tensor| tensor.name == name).unwrap();
        assert_eq!(tensor.tensor_type, tensor_type);
        let weights = values(&plan, &file, tensor);
        let mut spans: Vec<f32> =
            weights.chunks_exact(sub_block).map(|sub| sub.iter().fold(0_f32, |max, x| max.max(x.abs()))).collect();
        spans.sort_unstable_by(f32::total_cmp);
        let (narrow, wide) = (spans[spans.len() / 20], spans[spans.len() * 19 / 20]);
        assert!(wide / narrow > 1.5, "{tensor_type}: 90 % of the sub-blocks span {narrow} to {wide}");
    }
}

/// Keeps only what is written from some byte on.
struct From {
    start: u64,
    position: u64,
    kept: Vec<u8>,
}

impl Write for From {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let skip = self.start.saturating_sub(self.position).min(bytes.len() as u64) as usize;
        self.kept.extend(&bytes[skip..]);
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A whole large model, streamed: the output matrix spans many chunks there.
#[test]
fn tokens_that_must_not_be_generated_have_a_zero_row_in_the_output() {
    let plan = plan(Shape::OneB, Quant::Q4KM, 1);
    let tensor = plan.tensors.last().unwrap();
    assert_eq!(tensor.name, "output.weight");
    let mut out = From { start: plan.data_offset + tensor.offset, position: 0, kept: Vec::new() };
    write(&plan, &mut out, |_| Ok(())).unwrap();
    assert_eq!(out.position, plan.file_bytes);
    let n_in = tensor.dims[0] as usize;
    let weights = dequantize(tensor.tensor_type, &out.kept);
    assert_eq!(weights.len(), 32000 * n_in);
    for (token, row) in weights.chunks_exact(n_in).enumerate() {
        let zero = row.iter().all(|&weight| weight == 0.0);
        assert_eq!(zero, !generated(token), "row of token {token}");
    }
}

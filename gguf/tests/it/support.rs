//! What several tests need: whole models in memory, and weights as numbers.

use gguf::TensorType;
use gguf::model::{Quant, Shape, plan, write};
use half::f16;

/// A whole generated model as bytes.
pub(crate) fn model(shape: Shape, quant: Quant, seed: u64) -> Vec<u8> {
    let mut file = Vec::new();
    write(&plan(shape, quant, seed), &mut file, |_| Ok(())).expect("a vector takes everything");
    file
}

/// The values of a tensor, written from the layouts in ggml-common.h and apart from the code that makes the blocks.
pub(crate) fn dequantize(tensor_type: TensorType, bytes: &[u8]) -> Vec<f32> {
    let block_bytes = tensor_type.block_bytes() as usize;
    assert_eq!(bytes.len() % block_bytes, 0);
    bytes
        .chunks_exact(block_bytes)
        .flat_map(|block| match tensor_type {
            TensorType::F32 => vec![f32::from_le_bytes(block.try_into().expect("four bytes"))],
            TensorType::F16 => vec![half_at(block, 0)],
            TensorType::Q4_0 => q4_0(block),
            TensorType::Q8_0 => block[2..].iter().map(|&q| half_at(block, 0) * f32::from(q as i8)).collect(),
            TensorType::Q4K => q4_k(block),
            TensorType::Q6K => q6_k(block),
            other => panic!("no generated model has `{other}`"),
        })
        .collect()
}

fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

fn q4_0(block: &[u8]) -> Vec<f32> {
    let value = |nibble: u8| half_at(block, 0) * (f32::from(nibble) - 8.0);
    let low = block[2..].iter().map(|byte| value(byte & 15));
    let high = block[2..].iter().map(|byte| value(byte >> 4));
    low.chain(high).collect()
}

fn q4_k(block: &[u8]) -> Vec<f32> {
    let (d, dmin, scales) = (half_at(block, 0), half_at(block, 2), &block[4..16]);
    let mut values = Vec::new();
    for sub in 0..8 {
        let (scale, min) = match sub {
            0..4 => (scales[sub] & 63, scales[sub + 4] & 63),
            _ => (scales[sub + 4] & 15 | scales[sub - 4] >> 6 << 4, scales[sub + 4] >> 4 | scales[sub] >> 6 << 4),
        };
        // Sub-blocks 0 and 1 share 32 bytes, as do 2 and 3, and so on: low halves first.
        let quants = &block[16 + sub / 2 * 32..][..32];
        values.extend(quants.iter().map(|byte| {
            let quant = if sub % 2 == 0 { byte & 15 } else { byte >> 4 };
            d * f32::from(scale) * f32::from(quant) - dmin * f32::from(min)
        }));
    }
    values
}

fn q6_k(block: &[u8]) -> Vec<f32> {
    let (low, high, scales, d) = (&block[..128], &block[128..192], &block[192..208], half_at(block, 208));
    (0..256)
        .map(|i| {
            // Two halves of 128 values; in each, four groups of 32 share 64 bytes of low and 32 bytes of high bits.
            let (half, group, lane) = (i / 128, i % 128 / 32, i % 32);
            let nibbles = low[half * 64 + group % 2 * 32 + lane];
            let nibble = if group < 2 { nibbles & 15 } else { nibbles >> 4 };
            let top = high[half * 32 + lane] >> (2 * group) & 3;
            d * f32::from(scales[i / 16] as i8) * (f32::from(nibble | top << 4) - 32.0)
        })
        .collect()
}

/// Mean and standard deviation.
pub(crate) fn moments(values: &[f32]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let variance = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

//! Random weights, made directly as quantised blocks.
//!
//! A block is scales and integers ("quants"). The integers are random bits, so their distribution is known exactly, and
//! with it the one scale that gives the weights the standard deviation we want. Every format below also makes its mean
//! zero: matrices with even a slightly shifted mean add the same number to all outputs, layer after layer, until a model
//! says the same token whatever it reads.
//!
//! Block `i` of a tensor depends on the tensor's key and `i` alone, so it does not matter in which pieces a tensor is
//! made.

use half::f16;

use crate::types::TensorType;

/// Values of an f16 tensor come from this many equally likely levels.
const F16_LEVELS: usize = 4096;
/// f16 has blocks of one value; they are made this many at a time.
const F16_UNIT: usize = 256;

/// How to make the random blocks of one tensor.
pub(super) enum Blocks {
    /// `±d * (q - 8)`. The random sign makes up for the range of `q`, -8 to 7.
    Q4_0 { d: f16 },
    /// `±d * q`, `q` from -127 to 127.
    Q8_0 { d: f16 },
    /// Eight sub-blocks of `d * scale * q - dmin * min`, where `min = scale` and `dmin = 7.5 * d` centre `q`, 0 to 15.
    Q4K { d: f16, dmin: f16 },
    /// Sixteen sub-blocks of `d * scale * (q - 32)`. The random sign of `scale` makes up for the range of `q`, -32 to 31.
    Q6K { d: f16 },
    /// A table of values.
    F16 { levels: Box<[f16; F16_LEVELS]> },
}

impl Blocks {
    /// Blocks of a type whose values have this standard deviation. `None` for types that no generated matrix has.
    pub(super) fn new(tensor_type: TensorType, std: f32) -> Option<Blocks> {
        Some(match tensor_type {
            TensorType::Q4_0 => Blocks::Q4_0 { d: f16::from_f32(std / rms((0..16).map(|q| q as f32 - 8.0))) },
            TensorType::Q8_0 => {
                // The byte 0x80 is turned into -127, so that one is twice as likely as the others.
                let quants = (-127..=127).chain([-127]).map(|q| q as f32);
                Blocks::Q8_0 { d: f16::from_f32(std / rms(quants)) }
            }
            TensorType::Q4K => {
                let quants = rms((0..16).map(|q| q as f32 - 7.5));
                let scales = rms((32..64).map(|scale| scale as f32));
                let d = std / (quants * scales);
                Blocks::Q4K { d: f16::from_f32(d), dmin: f16::from_f32(7.5 * d) }
            }
            TensorType::Q6K => {
                let quants = rms((-32..32).map(|q| q as f32));
                let scales = rms((-128..-64).chain(64..128).map(|scale| scale as f32));
                Blocks::Q6K { d: f16::from_f32(std / (quants * scales)) }
            }
            TensorType::F16 => {
                // Uniform with standard deviation `std`: from -sqrt(3) to sqrt(3) times it.
                let step = std * 12_f32.sqrt() / F16_LEVELS as f32;
                let middle = (F16_LEVELS as f32 - 1.0) / 2.0;
                let levels = std::array::from_fn(|level| f16::from_f32((level as f32 - middle) * step));
                Blocks::F16 { levels: Box::new(levels) }
            }
            _ => return None,
        })
    }

    /// Values and bytes of one unit, the smallest piece that [`Blocks::fill`] makes: a block, or several.
    pub(super) fn unit(&self) -> (usize, usize) {
        match self {
            Blocks::Q4_0 { .. } => (32, 18),
            Blocks::Q8_0 { .. } => (32, 34),
            Blocks::Q4K { .. } => (256, 144),
            Blocks::Q6K { .. } => (256, 210),
            Blocks::F16 { .. } => (F16_UNIT, 2 * F16_UNIT),
        }
    }

    /// Fills `out`, whole units of them, with the units from number `first` on.
    pub(super) fn fill(&self, key: u64, first: u64, out: &mut [u8]) {
        // One arm per format, so that the choice is made once and not once per block.
        match self {
            Blocks::Q4_0 { d } => each::<18, 2>(key, first, out, |block, words| q4_0(*d, block, words)),
            Blocks::Q8_0 { d } => each::<34, 4>(key, first, out, |block, words| q8_0(*d, block, words)),
            Blocks::Q4K { d, dmin } => each::<144, 17>(key, first, out, |block, words| q4_k(*d, *dmin, block, words)),
            Blocks::Q6K { d } => each::<210, 26>(key, first, out, |block, words| q6_k(*d, block, words)),
            Blocks::F16 { levels } => each::<512, 64>(key, first, out, |unit, words| f16_unit(levels, unit, words)),
        }
    }
}

/// The root of the mean square of equally likely numbers.
fn rms(numbers: impl Iterator<Item = f32>) -> f32 {
    let (count, squares) = numbers.fold((0.0, 0.0), |(count, sum), x| (count + 1.0, sum + x * x));
    (squares / count as f32).sqrt()
}

/// Calls `make` with each unit of `BYTES` bytes and the `WORDS` random words that belong to it.
fn each<const BYTES: usize, const WORDS: usize>(
    key: u64,
    first: u64,
    out: &mut [u8],
    make: impl Fn(&mut [u8; BYTES], &[u64; WORDS]),
) {
    let (units, rest) = out.as_chunks_mut();
    debug_assert!(rest.is_empty(), "only whole units are asked for");
    for (number, unit) in (first..).zip(units) {
        let word = number * WORDS as u64;
        make(unit, &std::array::from_fn(|i| random(key, word + i as u64)));
    }
}

/// The `n`-th word of a key's random sequence: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", 2014), which is a counter and a bijective hash and so can start anywhere.
fn random(key: u64, n: u64) -> u64 {
    let mut z = key.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The key of a tensor: unrelated for different seeds and for different tensors of one seed.
pub(super) fn key(seed: u64, tensor: u64) -> u64 {
    random(random(seed, 1), tensor)
}

/// `d` with a random sign that is independent of any single quant of the block, being the sum of two bits of them.
fn signed(d: f16, words: &[u64]) -> [u8; 2] {
    let sign = (words[0] ^ words[1]) >> 48 & 0x8000;
    (d.to_bits() | sign as u16).to_le_bytes()
}

fn copy(out: &mut [u8], words: &[u64]) {
    for (bytes, word) in out.as_chunks_mut().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
}

fn q4_0(d: f16, block: &mut [u8; 18], words: &[u64; 2]) {
    block[..2].copy_from_slice(&signed(d, words));
    copy(&mut block[2..], words);
}

fn q8_0(d: f16, block: &mut [u8; 34], words: &[u64; 4]) {
    block[..2].copy_from_slice(&signed(d, words));
    copy(&mut block[2..], words);
    for quant in &mut block[2..] {
        // The reference quantiser never makes -128, and kernels may rely on it.
        *quant = (*quant as i8).max(-127) as u8;
    }
}

fn q4_k(d: f16, dmin: f16, block: &mut [u8; 144], words: &[u64; 17]) {
    // Eight scales of 6 bits, 32 to 63, and eight equal minima, packed as `get_scale_min_k4` in ggml-quants.c unpacks
    // them: the low 6 bits of bytes 0 to 3 and 4 to 7 are the first four scales and minima; bytes 8 to 11 are the low 4
    // bits of the last four (scale, then minimum), whose high 2 bits are on top of bytes 0 to 7.
    let first = words[16] as u32 & 0x1f1f_1f1f | 0x2020_2020;
    let last = (words[16] >> 32) as u32 & 0x1f1f_1f1f | 0x2020_2020;
    let head = first | (last & 0x3030_3030) << 2;
    let tail = last & 0x0f0f_0f0f;
    block[0..2].copy_from_slice(&d.to_le_bytes());
    block[2..4].copy_from_slice(&dmin.to_le_bytes());
    block[4..8].copy_from_slice(&head.to_le_bytes());
    block[8..12].copy_from_slice(&head.to_le_bytes());
    block[12..16].copy_from_slice(&(tail | tail << 4).to_le_bytes());
    copy(&mut block[16..], &words[..16]);
}

fn q6_k(d: f16, block: &mut [u8; 210], words: &[u64; 26]) {
    copy(&mut block[..192], &words[..24]);
    // Sixteen signed scales: bit 6 is made the opposite of the sign bit, which leaves 64 to 127 and -128 to -65.
    let scales = [words[24], words[25]].map(|word| word & 0xbfbf_bfbf_bfbf_bfbf | !word >> 1 & 0x4040_4040_4040_4040);
    copy(&mut block[192..208], &scales);
    block[208..].copy_from_slice(&d.to_le_bytes());
}

fn f16_unit(levels: &[f16; F16_LEVELS], unit: &mut [u8; 512], words: &[u64; 64]) {
    for (values, word) in unit.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        for (i, value) in values.as_chunks_mut().0.iter_mut().enumerate() {
            *value = levels[(word >> (16 * i)) as usize % F16_LEVELS].to_le_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_in_which_a_tensor_is_made_do_not_matter() {
        for tensor_type in [TensorType::Q4_0, TensorType::Q8_0, TensorType::Q4K, TensorType::Q6K, TensorType::F16] {
            let blocks = Blocks::new(tensor_type, 0.02).unwrap();
            let (_, unit_bytes) = blocks.unit();
            let mut whole = vec![0; 7 * unit_bytes];
            blocks.fill(key(1, 2), 10, &mut whole);
            let mut pieces = vec![0; 7 * unit_bytes];
            blocks.fill(key(1, 2), 14, &mut pieces[4 * unit_bytes..]);
            blocks.fill(key(1, 2), 10, &mut pieces[..4 * unit_bytes]);
            assert_eq!(whole, pieces, "{tensor_type}");
            assert_ne!(whole[..unit_bytes], whole[unit_bytes..2 * unit_bytes], "{tensor_type}");
        }
    }

    #[test]
    fn units_are_whole_blocks_of_the_type() {
        for tensor_type in [TensorType::Q4_0, TensorType::Q8_0, TensorType::Q4K, TensorType::Q6K, TensorType::F16] {
            let (values, bytes) = Blocks::new(tensor_type, 0.02).unwrap().unit();
            let blocks = values as u64 / tensor_type.block_elements();
            assert_eq!(blocks * tensor_type.block_bytes(), bytes as u64, "{tensor_type}");
        }
    }
}

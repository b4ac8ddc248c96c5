//! Writes a planned model from its first byte to its last, in constant memory.

use std::io::Write;
use std::path::Path;

use diagnostic::{Error, Result};

use super::blocks::{self, Blocks};
use super::plan::{Fill, ModelPlan};
use super::vocab;
use crate::encode;
use crate::tensor::TensorInfo;

/// How much is made, written and reported at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// Writes the whole model. After every MiB or so `on_progress` is called with the bytes written so far; an error of its
/// ends the work and is returned, which is how a caller stops it.
///
/// # Errors
/// What `out` or `on_progress` fail with.
pub fn write(plan: &ModelPlan, out: &mut impl Write, on_progress: impl FnMut(u64) -> Result<()>) -> Result<()> {
    write_named(plan, Path::new(&plan.file_name()), out, on_progress)
}

/// As [`write()`]; errors name `path`.
pub(super) fn write_named(
    plan: &ModelPlan,
    path: &Path,
    out: &mut impl Write,
    mut on_progress: impl FnMut(u64) -> Result<()>,
) -> Result<()> {
    let mut written = 0;
    let mut put = |bytes: &[u8]| {
        out.write_all(bytes).map_err(|error| Error::io("cannot write model", path, error))?;
        written += bytes.len() as u64;
        on_progress(written)
    };
    let mut header = encode::header(&plan.metadata, &plan.tensors);
    header.resize(plan.data_offset as usize, 0);
    put(&header)?;
    let ends = plan.tensors.iter().skip(1).map(|next| next.offset).chain([plan.file_bytes - plan.data_offset]);
    for (index, ((tensor, &fill), end)) in plan.tensors.iter().zip(&plan.fills).zip(ends).enumerate() {
        let key = blocks::key(plan.seed, index as u64);
        write_tensor(tensor, fill, key, &mut put)?;
        let padding = end - tensor.offset - tensor.bytes;
        put(&vec![0; padding as usize])?;
    }
    out.flush().map_err(|error| Error::io("cannot write model", path, error))
}

fn write_tensor(tensor: &TensorInfo, fill: Fill, key: u64, put: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let std = match fill {
        Fill::Constant(value) => return put(&value.to_le_bytes().repeat(tensor.bytes as usize / size_of::<f32>())),
        Fill::Random { std } | Fill::RandomWhereGenerated { std } => std,
    };
    let blocks = Blocks::new(tensor.tensor_type, std).expect("plans give matrices only types that can be made");
    let (unit_values, unit_bytes) = blocks.unit();
    let units_per_row = tensor.dims[0] / unit_values as u64;
    let units = tensor.bytes / unit_bytes as u64;
    let units_per_chunk = (CHUNK_BYTES / unit_bytes) as u64;
    let mut chunk = vec![0; CHUNK_BYTES];
    for first in (0..units).step_by(units_per_chunk as usize) {
        let count = units_per_chunk.min(units - first);
        let chunk = &mut chunk[..count as usize * unit_bytes];
        blocks.fill(key, first, chunk);
        if matches!(fill, Fill::RandomWhereGenerated { .. }) {
            for (unit, bytes) in (first..).zip(chunk.chunks_exact_mut(unit_bytes)) {
                if !vocab::is_generated(unit / units_per_row) {
                    // In every format a block of zero bytes is a block of zeros, because its scale is.
                    bytes.fill(0);
                }
            }
        }
        put(chunk)?;
    }
    Ok(())
}

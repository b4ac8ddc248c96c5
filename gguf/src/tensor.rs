//! One tensor as a file describes it.

use crate::types::TensorType;

/// Name, shape, type and place of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Values per dimension, the fastest running one first (ggml's `ne`): a matrix is `[n_in, n_out]`. One to four of
    /// them in practice; none stands for a single value.
    pub dims: Vec<u64>,
    /// How the values are stored.
    pub tensor_type: TensorType,
    /// Where its bytes start, counted from the start of the data section.
    pub offset: u64,
    /// How many bytes it takes, without the padding after it.
    pub bytes: u64,
}

/// Bytes of a tensor, or `None` when its rows are not whole blocks or the number is beyond what ggml can count.
pub(crate) fn bytes(dims: &[u64], tensor_type: TensorType) -> Option<u64> {
    let row = dims.first().copied().unwrap_or(1);
    if row % tensor_type.block_elements() != 0 {
        return None;
    }
    let elements = dims.iter().try_fold(1_u64, |product, &n| product.checked_mul(n))?;
    let bytes = (elements / tensor_type.block_elements()).checked_mul(tensor_type.block_bytes())?;
    // ggml counts elements and file positions in `int64_t`.
    (elements <= i64::MAX as u64 && bytes <= i64::MAX as u64).then_some(bytes)
}

/// Rounds up to a multiple of `alignment`, a power of two; `None` on overflow.
pub(crate) fn align_up(position: u64, alignment: u64) -> Option<u64> {
    position.checked_next_multiple_of(alignment)
}

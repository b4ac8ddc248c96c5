//! From bytes to a [`Header`]: magic, version, metadata, tensor descriptions, in the order of the file.

use diagnostic::Result;

use super::metadata::metadata;
use super::source::{Source, invalid};
use super::{Arrays, ByteOrder, Header};
use crate::tensor::{self, TensorInfo};
use crate::types::TensorType;
use crate::value::{Metadata, Value};
use crate::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC};

/// ggml's `GGML_MAX_NAME`: a tensor name has fewer bytes than this.
const MAX_TENSOR_NAME: usize = 64;
/// ggml's `GGML_MAX_DIMS`.
const MAX_DIMS: u32 = 4;

pub(super) fn header(source: &mut Source<'_>, arrays: Arrays) -> Result<(Header, ByteOrder)> {
    magic(source)?;
    let (version, order) = version(source)?;
    source.set_order(order);
    let tensor_count = source.u64()?;
    let key_count = source.u64()?;
    let metadata = metadata(source, key_count, arrays)?;
    let alignment = alignment(&metadata)?;
    let tensors = tensors(source, tensor_count, alignment)?;
    // A file without tensors, such as a vocabulary alone, ends here and needs no padding.
    let alignment = if tensors.is_empty() { 1 } else { alignment };
    let data_offset = tensor::align_up(source.position(), alignment).expect("a header is far smaller than 2^63 bytes");
    match tensors.last() {
        Some(last) if last.offset.checked_add(last.bytes).and_then(|end| end.checked_add(data_offset)).is_none() => {
            Err(too_many_bytes())
        }
        _ => Ok((Header { version, metadata, tensors, data_offset }, order)),
    }
}

fn magic(source: &mut Source<'_>) -> Result<()> {
    let first = source.up_to(MAGIC.len() as u64)?;
    match first.as_slice() {
        [] => Err(invalid("not a GGUF file, it is empty")),
        bytes if bytes == MAGIC => Ok(()),
        bytes => Err(invalid(format!("not a GGUF file, it starts with `{}`", bytes.escape_ascii()))),
    }
}

/// The version, and with it the byte order, for which the format has no field: the low half of a version is never zero,
/// so where it is, the bytes stand the other way round. llama.cpp and the Python package tell it in the same way.
fn version(source: &mut Source<'_>) -> Result<(u32, ByteOrder)> {
    let read = source.u32()?;
    let (version, order) = match read & 0xffff {
        0 if read != 0 => (read.swap_bytes(), ByteOrder::Big),
        _ => (read, ByteOrder::Little),
    };
    match version {
        2 | 3 => Ok((version, order)),
        1 => Err(invalid("GGUF version 1, which llama.cpp no longer reads").hint("convert the model again")),
        _ => Err(invalid(format!("GGUF version {version}, and versions 2 and 3 are known"))),
    }
}

fn alignment(metadata: &Metadata) -> Result<u64> {
    match metadata.get(ALIGNMENT_KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(&Value::U32(alignment)) if alignment.is_power_of_two() => Ok(alignment.into()),
        Some(_) => Err(invalid(format!("metadata `{ALIGNMENT_KEY}` is not a power of two of type `u32`"))),
    }
}

fn tensors(source: &mut Source<'_>, count: u64, alignment: u64) -> Result<Vec<TensorInfo>> {
    let mut tensors = Vec::new();
    let mut next_offset = 0;
    for index in 0..count {
        let described = described(source, index)?;
        let Some(tensor_type) = TensorType::from_id(described.type_id) else {
            let following = if index + 1 < count { self::described(source, index + 1).ok() } else { None };
            return Err(unknown_type(&described, following.as_ref()));
        };
        let tensor = described.of_type(tensor_type)?;
        if tensor.offset != next_offset {
            let TensorInfo { name, offset, .. } = tensor;
            return Err(invalid(format!("tensor `{name}` is at offset {offset} where {next_offset} is due")));
        }
        next_offset = next_offset
            .checked_add(tensor.bytes)
            .and_then(|end| tensor::align_up(end, alignment))
            .ok_or_else(too_many_bytes)?;
        tensors.push(tensor);
    }
    if let Some(twice) = super::duplicate(tensors.iter().map(|tensor| tensor.name.as_str())) {
        return Err(invalid(format!("tensor `{twice}` appears twice")));
    }
    Ok(tensors)
}

/// A tensor as the file describes it, before anything is known of its type.
struct Described {
    name: String,
    dims: Vec<u64>,
    type_id: u32,
    offset: u64,
}

impl Described {
    fn of_type(self, tensor_type: TensorType) -> Result<TensorInfo> {
        let Described { name, dims, offset, .. } = self;
        let bytes = tensor::bytes(&dims, tensor_type).ok_or_else(|| {
            invalid(format!("tensor `{name}` of type `{tensor_type}` has the impossible shape {dims:?}"))
        })?;
        Ok(TensorInfo { name, dims, tensor_type, offset, bytes })
    }
}

fn described(source: &mut Source<'_>, index: u64) -> Result<Described> {
    source.charge(size_of::<TensorInfo>() as u64 + u64::from(MAX_DIMS) * 8)?;
    let name = source.string_bytes()?;
    if name.len() >= MAX_TENSOR_NAME {
        return Err(invalid(format!("the name of tensor {index} has {} bytes", name.len())));
    }
    // Names of tensors go into messages: control characters in one are a sign of damage.
    let name = String::from_utf8(name)
        .ok()
        .filter(|name| !name.chars().any(char::is_control))
        .ok_or_else(|| invalid(format!("the name of tensor {index} is not printable text")))?;
    let dim_count = source.u32()?;
    if dim_count > MAX_DIMS {
        return Err(invalid(format!("tensor `{name}` has {dim_count} dimensions, at most {MAX_DIMS} are possible")));
    }
    let dims = (0..dim_count).map(|_| source.u64()).collect::<Result<Vec<u64>>>()?;
    Ok(Described { name, dims, type_id: source.u32()?, offset: source.u64()? })
}

/// Reading does not go on after a type that is unknown: what a tensor takes is what a header is read for, and llama.cpp
/// cannot load it either. Its neighbour tells what it takes, which helps to find out what it is.
fn unknown_type(tensor: &Described, following: Option<&Described>) -> diagnostic::Error {
    let Described { name, dims, type_id, offset } = tensor;
    let bytes = following.and_then(|following| following.offset.checked_sub(*offset));
    let taken = bytes.map_or_else(String::new, |bytes| format!(" (shape {dims:?}, at most {bytes} bytes)"));
    let message =
        format!("tensor `{name}`{taken} has type {type_id}, which the llama.cpp that Caravan builds does not have");
    invalid(message).hint("it is of a newer llama.cpp, of a fork, or damaged: take another quantisation of the model")
}

fn too_many_bytes() -> diagnostic::Error {
    invalid("its tensors take more bytes than can be counted")
}

//! From bytes to a [`Header`]: magic, version, metadata, tensor descriptions, in the order of the file.

use std::io::Read;

use diagnostic::Result;

use super::Header;
use super::source::{Source, invalid};
use crate::tensor::{self, TensorInfo};
use crate::types::TensorType;
use crate::value::{ARRAY_TYPE_ID, Array, Metadata, Value};
use crate::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC};

/// ggml's `GGML_MAX_NAME`: a tensor name has fewer bytes than this.
const MAX_TENSOR_NAME: usize = 64;
/// ggml's `GGML_MAX_DIMS`.
const MAX_DIMS: u32 = 4;

pub(super) fn header<R: Read>(source: &mut Source<R>) -> Result<Header> {
    magic(source)?;
    let version = version(source)?;
    let tensor_count = source.u64()?;
    let key_count = source.u64()?;
    let metadata = metadata(source, key_count)?;
    let alignment = alignment(&metadata)?;
    let tensors = tensors(source, tensor_count, alignment)?;
    // A file without tensors, such as a vocabulary alone, ends here and needs no padding.
    let alignment = if tensors.is_empty() { 1 } else { alignment };
    let data_offset = tensor::align_up(source.position(), alignment).expect("a header is far smaller than 2^63 bytes");
    match tensors.last() {
        Some(last) if last.offset.checked_add(last.bytes).and_then(|end| end.checked_add(data_offset)).is_none() => {
            Err(invalid("its tensors take more bytes than can be counted"))
        }
        _ => Ok(Header { version, metadata, tensors, data_offset }),
    }
}

fn magic<R: Read>(source: &mut Source<R>) -> Result<()> {
    let first = source.up_to(MAGIC.len() as u64)?;
    match first.as_slice() {
        [] => Err(invalid("not a GGUF file, it is empty")),
        bytes if bytes == MAGIC => Ok(()),
        bytes => Err(invalid(format!("not a GGUF file, it starts with `{}`", bytes.escape_ascii()))),
    }
}

fn version<R: Read>(source: &mut Source<R>) -> Result<u32> {
    match source.u32()? {
        version @ (2 | 3) => Ok(version),
        1 => Err(invalid("GGUF version 1, which llama.cpp no longer reads").hint("convert the model again")),
        version if (1..=0xffff).contains(&version.swap_bytes()) => Err(invalid("written for big-endian machines")),
        version => Err(invalid(format!("GGUF version {version}, and versions 2 and 3 are known"))),
    }
}

fn metadata<R: Read>(source: &mut Source<R>, count: u64) -> Result<Metadata> {
    let mut entries = Vec::new();
    for index in 0..count {
        source.charge(size_of::<(String, Value)>() as u64)?;
        let key = String::from_utf8(source.string_bytes()?)
            .map_err(|_| invalid(format!("metadata key {index} is not UTF-8")))?;
        if key.is_empty() {
            return Err(invalid(format!("metadata key {index} is empty")));
        }
        let value = value(source, &key)?;
        entries.push((key, value));
    }
    if let Some(twice) = duplicate(entries.iter().map(|(key, _)| key.as_str())) {
        return Err(invalid(format!("metadata key `{}` appears twice", twice.escape_debug())));
    }
    Ok(Metadata(entries))
}

fn value<R: Read>(source: &mut Source<R>, key: &str) -> Result<Value> {
    Ok(match source.u32()? {
        0 => Value::U8(source.array().map(u8::from_le_bytes)?),
        1 => Value::I8(source.array().map(i8::from_le_bytes)?),
        2 => Value::U16(source.array().map(u16::from_le_bytes)?),
        3 => Value::I16(source.array().map(i16::from_le_bytes)?),
        4 => Value::U32(source.u32()?),
        5 => Value::I32(source.array().map(i32::from_le_bytes)?),
        6 => Value::F32(source.array().map(f32::from_le_bytes)?),
        7 => Value::Bool(source.array::<1>()? != [0]),
        8 => Value::String(text(source)?),
        ARRAY_TYPE_ID => Value::Array(array(source, key)?),
        10 => Value::U64(source.u64()?),
        11 => Value::I64(source.array().map(i64::from_le_bytes)?),
        12 => Value::F64(source.array().map(f64::from_le_bytes)?),
        id => return Err(unknown_value_type(key, id)),
    })
}

fn array<R: Read>(source: &mut Source<R>, key: &str) -> Result<Array> {
    let id = source.u32()?;
    let len = source.u64()?;
    Ok(match id {
        0 => Array::U8(numbers(source, len, u8::from_le_bytes)?),
        1 => Array::I8(numbers(source, len, i8::from_le_bytes)?),
        2 => Array::U16(numbers(source, len, u16::from_le_bytes)?),
        3 => Array::I16(numbers(source, len, i16::from_le_bytes)?),
        4 => Array::U32(numbers(source, len, u32::from_le_bytes)?),
        5 => Array::I32(numbers(source, len, i32::from_le_bytes)?),
        6 => Array::F32(numbers(source, len, f32::from_le_bytes)?),
        7 => Array::Bool(numbers(source, len, |byte: [u8; 1]| byte != [0])?),
        8 => {
            let mut items = Vec::new();
            for _ in 0..len {
                items.push(text(source)?);
            }
            Array::String(items)
        }
        ARRAY_TYPE_ID => {
            return Err(invalid(format!("metadata `{}` is an array of arrays", key.escape_debug())));
        }
        10 => Array::U64(numbers(source, len, u64::from_le_bytes)?),
        11 => Array::I64(numbers(source, len, i64::from_le_bytes)?),
        12 => Array::F64(numbers(source, len, f64::from_le_bytes)?),
        id => return Err(unknown_value_type(key, id)),
    })
}

fn numbers<R: Read, const N: usize, T>(
    source: &mut Source<R>,
    len: u64,
    decode: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>> {
    let bytes = source.bytes(len.saturating_mul(N as u64))?;
    Ok(bytes.as_chunks().0.iter().map(|&item| decode(item)).collect())
}

/// A string value. The format asks for UTF-8, but vocabularies of real models hold broken pieces of characters: those
/// are replaced, not refused.
fn text<R: Read>(source: &mut Source<R>) -> Result<String> {
    let bytes = source.string_bytes()?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn unknown_value_type(key: &str, id: u32) -> diagnostic::Error {
    invalid(format!("metadata `{}` has the unknown value type {id}", key.escape_debug()))
}

fn alignment(metadata: &Metadata) -> Result<u64> {
    match metadata.get(ALIGNMENT_KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(&Value::U32(alignment)) if alignment.is_power_of_two() => Ok(alignment.into()),
        Some(_) => Err(invalid(format!("metadata `{ALIGNMENT_KEY}` is not a power of two of type `u32`"))),
    }
}

fn tensors<R: Read>(source: &mut Source<R>, count: u64, alignment: u64) -> Result<Vec<TensorInfo>> {
    let mut tensors = Vec::new();
    let mut next_offset = 0;
    for index in 0..count {
        let tensor = tensor(source, index)?;
        if tensor.offset != next_offset {
            let TensorInfo { name, offset, .. } = tensor;
            return Err(invalid(format!("tensor `{name}` is at offset {offset} where {next_offset} is due")));
        }
        next_offset = next_offset
            .checked_add(tensor.bytes)
            .and_then(|end| tensor::align_up(end, alignment))
            .ok_or_else(|| invalid("its tensors take more bytes than can be counted"))?;
        tensors.push(tensor);
    }
    if let Some(twice) = duplicate(tensors.iter().map(|tensor| tensor.name.as_str())) {
        return Err(invalid(format!("tensor `{twice}` appears twice")));
    }
    Ok(tensors)
}

fn tensor<R: Read>(source: &mut Source<R>, index: u64) -> Result<TensorInfo> {
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
    let id = source.u32()?;
    let tensor_type = TensorType::from_id(id).ok_or_else(|| {
        invalid(format!("tensor `{name}` has type {id}, which the llama.cpp that Caravan builds does not have"))
    })?;
    let offset = source.u64()?;
    let bytes = tensor::bytes(&dims, tensor_type)
        .ok_or_else(|| invalid(format!("tensor `{name}` of type `{tensor_type}` has the impossible shape {dims:?}")))?;
    Ok(TensorInfo { name, dims, tensor_type, offset, bytes })
}

fn duplicate<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

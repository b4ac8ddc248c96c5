//! Keys and values, and which arrays are kept.

use diagnostic::Result;

use super::Arrays;
use super::source::{Source, invalid};
use crate::value::{ARRAY_TYPE_ID, Array, ElementType, Metadata, Skipped, Value};

/// `count` keys with their values.
pub(super) fn metadata(source: &mut Source<'_>, count: u64, arrays: Arrays) -> Result<Metadata> {
    let mut entries = Vec::new();
    for index in 0..count {
        source.charge(size_of::<(String, Value)>() as u64)?;
        let key = String::from_utf8(source.string_bytes()?)
            .map_err(|_| invalid(format!("metadata key {index} is not UTF-8")))?;
        if key.is_empty() {
            return Err(invalid(format!("metadata key {index} is empty")));
        }
        let value = value(source, &key, arrays)?;
        entries.push((key, value));
    }
    if let Some(twice) = super::duplicate(entries.iter().map(|(key, _)| key.as_str())) {
        return Err(invalid(format!("metadata key `{}` appears twice", twice.escape_debug())));
    }
    Ok(Metadata(entries))
}

fn value(source: &mut Source<'_>, key: &str, arrays: Arrays) -> Result<Value> {
    Ok(match source.u32()? {
        0 => Value::U8(source.array().map(u8::from_le_bytes)?),
        1 => Value::I8(source.array().map(i8::from_le_bytes)?),
        2 => Value::U16(source.array().map(u16::from_le_bytes)?),
        3 => Value::I16(source.array().map(i16::from_le_bytes)?),
        4 => Value::U32(source.u32()?),
        5 => Value::I32(source.array().map(i32::from_le_bytes)?),
        6 => Value::F32(source.array().map(f32::from_le_bytes)?),
        7 => Value::Bool(source.array::<1>()? != [0]),
        8 => Value::String(text(source.string_bytes()?)),
        ARRAY_TYPE_ID => Value::Array(array(source, key, arrays)?),
        10 => Value::U64(source.u64()?),
        11 => Value::I64(source.array().map(i64::from_le_bytes)?),
        12 => Value::F64(source.array().map(f64::from_le_bytes)?),
        id => return Err(unknown_value_type(key, id)),
    })
}

fn array(source: &mut Source<'_>, key: &str, arrays: Arrays) -> Result<Array> {
    let id = source.u32()?;
    let len = source.u64()?;
    let element = match id {
        ARRAY_TYPE_ID => return Err(invalid(format!("metadata `{}` is an array of arrays", key.escape_debug()))),
        _ => ElementType::from_id(id).ok_or_else(|| unknown_value_type(key, id))?,
    };
    let start = source.position();
    let kept = match element {
        ElementType::U8 => numbers(source, len, arrays, u8::from_le_bytes)?.map(Array::U8),
        ElementType::I8 => numbers(source, len, arrays, i8::from_le_bytes)?.map(Array::I8),
        ElementType::U16 => numbers(source, len, arrays, u16::from_le_bytes)?.map(Array::U16),
        ElementType::I16 => numbers(source, len, arrays, i16::from_le_bytes)?.map(Array::I16),
        ElementType::U32 => numbers(source, len, arrays, u32::from_le_bytes)?.map(Array::U32),
        ElementType::I32 => numbers(source, len, arrays, i32::from_le_bytes)?.map(Array::I32),
        ElementType::F32 => numbers(source, len, arrays, f32::from_le_bytes)?.map(Array::F32),
        ElementType::Bool => numbers(source, len, arrays, |byte: [u8; 1]| byte != [0])?.map(Array::Bool),
        ElementType::String => strings(source, len, arrays)?.map(Array::String),
        ElementType::U64 => numbers(source, len, arrays, u64::from_le_bytes)?.map(Array::U64),
        ElementType::I64 => numbers(source, len, arrays, i64::from_le_bytes)?.map(Array::I64),
        ElementType::F64 => numbers(source, len, arrays, f64::from_le_bytes)?.map(Array::F64),
    };
    Ok(kept.unwrap_or_else(|| {
        let len = usize::try_from(len).expect("its elements lie within the bound of a header");
        Array::Skipped(Skipped { element, len, place: start..source.position() })
    }))
}

/// The numbers; `None` when they were passed over.
fn numbers<const N: usize, T>(
    source: &mut Source<'_>,
    len: u64,
    arrays: Arrays,
    decode: impl Fn([u8; N]) -> T,
) -> Result<Option<Vec<T>>> {
    let bytes = len.saturating_mul(N as u64);
    if arrays.keeps(bytes) {
        return Ok(Some(source.arrays(len)?.into_iter().map(decode).collect()));
    }
    source.skip(bytes)?;
    Ok(None)
}

/// The strings; `None` when they were passed over. How long they are together shows only on the way.
fn strings(source: &mut Source<'_>, len: u64, arrays: Arrays) -> Result<Option<Vec<String>>> {
    let start = source.position();
    let mut kept = Some(Vec::new());
    for _ in 0..len {
        let length = source.u64()?;
        if !arrays.keeps((source.position() - start).saturating_add(length)) {
            kept = None;
        }
        match &mut kept {
            Some(items) => {
                source.charge(size_of::<String>() as u64)?;
                items.push(text(source.bytes(length)?));
            }
            None => source.skip(length)?,
        }
    }
    Ok(kept)
}

/// A string value. The format asks for UTF-8, but vocabularies of real models hold broken pieces of characters: those
/// are replaced, not refused.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn unknown_value_type(key: &str, id: u32) -> diagnostic::Error {
    invalid(format!("metadata `{}` has the unknown value type {id}", key.escape_debug()))
}

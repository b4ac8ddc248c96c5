//! The header of a GGUF file as bytes: magic, version, metadata, tensor descriptions.

use crate::tensor::TensorInfo;
use crate::value::{Array, Metadata, Value};
use crate::{MAGIC, VERSION};

/// Everything up to the padding before the data section.
pub(crate) fn header(metadata: &Metadata, tensors: &[TensorInfo]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.0.len() as u64).to_le_bytes());
    for (key, value) in &metadata.0 {
        string(&mut out, key);
        out.extend(value.type_id().to_le_bytes());
        scalar_or_array(&mut out, value);
    }
    for tensor in tensors {
        string(&mut out, &tensor.name);
        out.extend((tensor.dims.len() as u32).to_le_bytes());
        for n in &tensor.dims {
            out.extend(n.to_le_bytes());
        }
        out.extend(tensor.tensor_type.id().to_le_bytes());
        out.extend(tensor.offset.to_le_bytes());
    }
    out
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn scalar_or_array(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(n) => out.push(*n),
        Value::I8(n) => out.extend(n.to_le_bytes()),
        Value::U16(n) => out.extend(n.to_le_bytes()),
        Value::I16(n) => out.extend(n.to_le_bytes()),
        Value::U32(n) => out.extend(n.to_le_bytes()),
        Value::I32(n) => out.extend(n.to_le_bytes()),
        Value::F32(n) => out.extend(n.to_le_bytes()),
        Value::Bool(flag) => out.push((*flag).into()),
        Value::String(text) => string(out, text),
        Value::U64(n) => out.extend(n.to_le_bytes()),
        Value::I64(n) => out.extend(n.to_le_bytes()),
        Value::F64(n) => out.extend(n.to_le_bytes()),
        Value::Array(items) => array(out, items),
    }
}

fn array(out: &mut Vec<u8>, items: &Array) {
    out.extend(items.element_type_id().to_le_bytes());
    out.extend((items.len() as u64).to_le_bytes());
    match items {
        Array::U8(items) => out.extend(items),
        Array::I8(items) => items.iter().for_each(|n| out.extend(n.to_le_bytes())),
        Array::U16(items) => items.iter().for_each(|n| out.extend(n.to_le_bytes())),
        Array::I16(items) => items.iter().for_each(|n| out.extend(n.to_le_bytes())),
        Array::U32(items) => items.iter().for_each(|n| out.extend(n.to_le_bytes())),
        Array::I32(items) => items.iter().for_each(|n| out.extend(n.to_le_bytes())),
        Array::F32(items) => items.iter().for_each(|n| out.extend(n.to_le_bytes())),
        Array::Bool(items) => out.extend(items.iter().map(|&flag| u8::from(flag))),
        Array::String(items) => items.iter().for_each(|text| string(out, text)),
        Array::U64(items) => items.iter().for_each(|n| out.extend(n.to_le_bytes())),
        Array::I64(items) => items.iter().for_each(|n| out.extend(n.to_le_bytes())),
        Array::F64(items) => items.iter().for_each(|n| out.extend(n.to_le_bytes())),
        Array::Skipped(_) => unreachable!("a plan holds all of its arrays"),
    }
}

//! GGUF files written by hand: any version, byte order, type and number of parts.

use gguf::{Array, ByteOrder, TensorType, Value};

/// A file before it is bytes.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) version: u32,
    pub(crate) order: ByteOrder,
    pub(crate) keys: Vec<(String, Value)>,
    /// Name, shape and type.
    pub(crate) tensors: Vec<(String, Vec<u64>, TensorType)>,
}

impl File {
    pub(crate) fn new(version: u32, order: ByteOrder) -> File {
        File { version, order, keys: Vec::new(), tensors: Vec::new() }
    }

    pub(crate) fn key(mut self, key: &str, value: impl Into<Value>) -> File {
        self.keys.push((key.to_owned(), value.into()));
        self
    }

    pub(crate) fn tensor(mut self, name: &str, dims: &[u64], tensor_type: TensorType) -> File {
        self.tensors.push((name.to_owned(), dims.to_vec(), tensor_type));
        self
    }

    /// One part of a model; `tensors` is the number of tensors of all.
    pub(crate) fn part(self, no: u16, count: u16, tensors: i32) -> File {
        self.key("split.no", Value::U16(no))
            .key("split.count", Value::U16(count))
            .key("split.tensors.count", Value::I32(tensors))
    }

    /// The whole file; the weights are zeros.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let (mut bytes, size) = self.header();
        bytes.resize(size as usize, 0);
        bytes
    }

    /// All but the weights, and the size of the whole file.
    pub(crate) fn header(&self) -> (Vec<u8>, u64) {
        let mut out = Out { bytes: b"GGUF".to_vec(), order: self.order };
        out.u32(self.version);
        out.u64(self.tensors.len() as u64);
        out.u64(self.keys.len() as u64);
        for (key, value) in &self.keys {
            out.text(key);
            out.value(value);
        }
        let mut offset = 0;
        for (name, dims, tensor_type) in &self.tensors {
            out.text(name);
            out.u32(dims.len() as u32);
            dims.iter().for_each(|&n| out.u64(n));
            out.u32(tensor_type.id());
            out.u64(offset);
            let elements: u64 = dims.iter().product();
            let bytes = elements / tensor_type.block_elements() * tensor_type.block_bytes();
            offset += bytes.next_multiple_of(32);
        }
        if !self.tensors.is_empty() {
            out.bytes.resize(out.bytes.len().next_multiple_of(32), 0);
        }
        let size = out.bytes.len() as u64 + offset;
        (out.bytes, size)
    }
}

struct Out {
    bytes: Vec<u8>,
    order: ByteOrder,
}

macro_rules! values {
    ($($variant:ident $id:literal $write:ident;)*) => {
        fn value(&mut self, value: &Value) {
            match value {
                $(Value::$variant(value) => {
                    self.u32($id);
                    self.$write(value.clone());
                })*
                Value::Array(items) => {
                    self.u32(9);
                    match items {
                        $(Array::$variant(items) => {
                            self.u32($id);
                            self.u64(items.len() as u64);
                            items.iter().for_each(|item| self.$write(item.clone()));
                        })*
                        Array::Skipped(_) => panic!("it has no elements"),
                    }
                }
            }
        }
    };
}

macro_rules! numbers {
    ($($name:ident)*) => {
        $(fn $name(&mut self, number: $name) {
            self.bytes.extend(match self.order {
                ByteOrder::Little => number.to_le_bytes(),
                ByteOrder::Big => number.to_be_bytes(),
            });
        })*
    };
}

impl Out {
    numbers! { u8 i8 u16 i16 u32 i32 u64 i64 f32 f64 }

    fn bool(&mut self, flag: bool) {
        self.bytes.push(flag.into());
    }

    fn text(&mut self, text: impl AsRef<[u8]>) {
        self.u64(text.as_ref().len() as u64);
        self.bytes.extend(text.as_ref());
    }

    values! {
        U8 0 u8; I8 1 i8; U16 2 u16; I16 3 i16; U32 4 u32; I32 5 i32; F32 6 f32; Bool 7 bool; String 8 text;
        U64 10 u64; I64 11 i64; F64 12 f64;
    }
}

/// A key of each type, and an array of each, with values that show when bytes stand the wrong way round.
pub(crate) fn every_value(file: File) -> File {
    let arrays = [
        Array::U8(vec![0, 1, 255]),
        Array::I8(vec![-128, 0, 127]),
        Array::U16(vec![0, 1, 0x1234]),
        Array::I16(vec![-2, 0x1234]),
        Array::U32(vec![1, 0x1234_5678]),
        Array::I32(vec![-2, 0x1234_5678]),
        Array::F32(vec![1.5, -0.1]),
        Array::Bool(vec![true, false]),
        Array::String(vec!["a".to_owned(), String::new(), "▁b".to_owned()]),
        Array::U64(vec![1, 0x1234_5678_9abc_def0]),
        Array::I64(vec![-2, i64::MIN]),
        Array::F64(vec![1.5, -0.1]),
        Array::I32(Vec::new()),
    ];
    let scalars = [
        Value::U8(200),
        Value::I8(-3),
        Value::U16(0x1234),
        Value::I16(-3),
        Value::U32(0x1234_5678),
        Value::I32(-3),
        Value::F32(0.1),
        Value::Bool(true),
        Value::String("tränen ▁".to_owned()),
        Value::U64(0x1234_5678_9abc_def0),
        Value::I64(-3),
        Value::F64(0.1),
    ];
    let values = scalars.into_iter().chain(arrays.map(Value::Array));
    values.enumerate().fold(file, |file, (index, value)| file.key(&format!("test.key_{index}"), value))
}

/// A tensor of each type, of one to four dimensions.
pub(crate) fn every_tensor(file: File) -> File {
    TensorType::ALL.iter().enumerate().fold(file, |file, (index, tensor_type)| {
        let dims = [tensor_type.block_elements() * 2, 3, 2, 1];
        file.tensor(&format!("blk.{index}.{tensor_type}.weight"), &dims[..1 + index % 4], *tensor_type)
    })
}

/// The parts of a small model, with what they are called.
pub(crate) fn parts(order: ByteOrder) -> Vec<(String, File)> {
    let part = |no: u16| {
        let file = File::new(3, order);
        let file = if no == 0 { every_value(file.key("general.architecture", "llama")) } else { file };
        let weight = |file: File, name: &str| file.tensor(name, &[32, u64::from(no) + 1], TensorType::Q8_0);
        let file = file.part(no, 3, 4);
        // As `--no-tensor-first-split` makes them.
        let file = match no {
            0 => file,
            1 => weight(weight(file, "token_embd.weight"), "blk.0.attn_q.weight"),
            _ => weight(weight(file, "blk.1.attn_q.weight"), "output.weight"),
        };
        (format!("m-{:05}-of-00003.gguf", no + 1), file)
    };
    (0..3).map(part).collect()
}

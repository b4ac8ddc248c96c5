//! What must hold of the reader whatever the bytes are. The fuzzing engine and the property tests both run this.

use std::io::{self, Cursor, Read};

use diagnostic::{Error, Result, codes};
use gguf::{Array, Arrays, ByteOrder, Header, Metadata, ModelFiles, TensorInfo, Value};

/// Short enough that small inputs have long arrays.
const FEW: Arrays = Arrays::up_to(16);

/// One file when they begin as one does, and several otherwise.
pub(crate) fn anything(bytes: &[u8]) {
    if bytes.starts_with(&gguf::MAGIC) { header(bytes) } else { parts(bytes) }
}

/// One file of these bytes.
fn header(bytes: &[u8]) {
    let all = Header::from_reader_with(bytes, Arrays::ALL);
    let few = Header::from_reader_with(bytes, FEW);
    let slow = Header::from_reader_with(Slow(bytes), FEW);
    let name = "a-00001-of-00002.gguf";
    let sought = ModelFiles::read(name, FEW, |asked| match asked == name {
        true => Ok(Cursor::new(bytes)),
        false => Err(Error::new(codes::NOT_FOUND, "the other part is missing")),
    });
    // How the bytes arrive makes no difference.
    assert_eq!(outcome(&few), outcome(&slow));
    match (all, few) {
        (Ok((all, all_order)), Ok((few, few_order))) => {
            assert_eq!(all_order, few_order);
            promises(&all);
            same(bytes, &all, &few, all_order);
            match sought {
                Ok(files) => {
                    assert_eq!((&files.header.tensors, files.byte_order), (&few.tensors, few_order));
                    assert!(files.files[0].end <= bytes.len() as u64);
                }
                Err(error) => assert!([codes::MODEL_INVALID, codes::NOT_FOUND].contains(&error.code()), "{error}"),
            }
        }
        (Err(all), Err(few)) => {
            assert_eq!((all.code(), few.code()), (codes::MODEL_INVALID, codes::MODEL_INVALID), "{all} {few}");
            assert!(all.to_string().len() < 1000 + bytes.len() * 12, "{all}");
            assert!(sought.is_err());
        }
        (all, few) => panic!("{all:?} {few:?}"),
    }
}

/// A model whose parts lie one after the other, each after its length of two bytes.
fn parts(mut bytes: &[u8]) {
    let mut files = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        files.push(&rest[..length]);
        bytes = &rest[length..];
    }
    let count = files.len();
    let name = |index: usize| format!("m-{:05}-of-{count:05}.gguf", index + 1);
    for index in 0..count.min(2) {
        let mut opened = Vec::new();
        let read = ModelFiles::read(&name(index), FEW, |asked| {
            opened.push(asked.to_owned());
            let found = files.iter().enumerate().find(|(index, _)| name(*index) == asked);
            found.map(|(_, file)| Cursor::new(*file)).ok_or_else(|| Error::new(codes::NOT_FOUND, "no such part"))
        });
        // No file is read twice.
        opened.sort();
        assert!(opened.windows(2).all(|pair| pair[0] != pair[1]), "{opened:?}");
        let Ok(model) = read else { continue };
        assert!(model.files.len() == 1 || model.files.len() == count);
        let mut next = 0;
        for (index, file) in model.files.iter().enumerate() {
            assert!(count == 1 || model.files.len() == 1 || file.name == name(index));
            assert_eq!(file.tensors.start, next);
            next = file.tensors.end;
            in_order(file.data_offset, file.end, &model.header.tensors[file.tensors.clone()]);
            assert!(file.bytes.is_some_and(|bytes| file.end <= bytes));
        }
        assert_eq!(next, model.header.tensors.len());
        figures(&model.header);
    }
}

/// A header that was accepted keeps its promises.
pub(crate) fn promises(header: &Header) {
    in_order(header.data_offset, header.end(), &header.tensors);
    figures(header);
}

/// Figures are computed without panics.
fn figures(header: &Header) {
    let _ = header.bytes_per_token();
    let _ = header.kv_bytes_per_token();
    let _ = header.context_length();
}

fn in_order(data_offset: u64, end: u64, tensors: &[TensorInfo]) {
    let mut position = data_offset;
    for tensor in tensors {
        assert!(data_offset + tensor.offset >= position);
        position = data_offset + tensor.offset + tensor.bytes;
    }
    assert_eq!(position, end);
}

/// Leaving arrays out changes nothing else, and what is left out lies where it is said to.
fn same(bytes: &[u8], all: &Header, few: &Header, order: ByteOrder) {
    assert_eq!((all.version, all.data_offset, &all.tensors), (few.version, few.data_offset, &few.tensors));
    assert_eq!(all.metadata.0.len(), few.metadata.0.len());
    for ((all_key, all), (few_key, few)) in all.metadata.0.iter().zip(&few.metadata.0) {
        assert_eq!(all_key, few_key);
        match (all, few) {
            (Value::Array(all), Value::Array(Array::Skipped(skipped))) => {
                assert_eq!(all.len(), skipped.len);
                let place = skipped.place.start as usize..skipped.place.end as usize;
                assert!(place.len() > 16, "it is short");
                let again = read_again(&bytes[place], skipped.element.name(), skipped.len as u64, order);
                assert_eq!(format!("{all:?}"), format!("{again:?}"));
            }
            // Not a number is not equal to itself.
            _ => assert_eq!(format!("{all:?}"), format!("{few:?}")),
        }
    }
}

fn read_again(elements: &[u8], element: &str, len: u64, order: ByteOrder) -> Array {
    let ids = ["u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "str", "arr", "u64", "i64", "f64"];
    let id = ids.iter().position(|name| *name == element).expect("a type") as u32;
    let mut file = b"GGUF".to_vec();
    let u32 = |n: u32| if order == ByteOrder::Big { n.to_be_bytes() } else { n.to_le_bytes() };
    let u64 = |n: u64| if order == ByteOrder::Big { n.to_be_bytes() } else { n.to_le_bytes() };
    file.extend(u32(3));
    file.extend([u64(0), u64(1), u64(1)].concat());
    file.push(b'k');
    file.extend([u32(9), u32(id)].concat());
    file.extend(u64(len));
    file.extend(elements);
    let (header, _) = Header::from_reader_with(file.as_slice(), Arrays::ALL).expect("it was read before");
    let Metadata(mut keys) = header.metadata;
    match keys.pop() {
        Some((_, Value::Array(array))) => array,
        other => panic!("{other:?}"),
    }
}

fn outcome(result: &Result<(Header, ByteOrder)>) -> String {
    match result {
        Ok(header) => format!("{header:?}"),
        Err(error) => format!("{} {error}", error.code().name),
    }
}

/// A reader that gives a few bytes at a time.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let few = buffer.len().min(3);
        self.0.read(&mut buffer[..few])
    }
}

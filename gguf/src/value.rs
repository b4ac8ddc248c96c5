//! Metadata: an ordered list of keys and typed values.

use std::ops::Range;

macro_rules! value_types {
    ($($ident:ident = $id:literal $name:literal $rust:ty;)*) => {
        /// One metadata value; the variants are GGUF's value types.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Value {
            $(#[doc = concat!("GGUF's `", $name, "`.")] $ident($rust),)*
            /// GGUF's `arr`.
            Array(Array),
        }

        /// A metadata array. llama.cpp refuses arrays of arrays, and so do we.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Array {
            $(#[doc = concat!("An array of GGUF's `", $name, "`.")] $ident(Vec<$rust>),)*
            /// A long array that was passed over: [`crate::Arrays::SHORT`].
            Skipped(Skipped),
        }

        /// The types that an array can be made of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ElementType {
            $(#[doc = concat!("GGUF's `", $name, "`.")] $ident,)*
        }

        impl ElementType {
            /// The type with this number in a file.
            pub(crate) fn from_id(id: u32) -> Option<ElementType> {
                match id {
                    $($id => Some(ElementType::$ident),)*
                    _ => None,
                }
            }

            /// Its number in a file.
            pub(crate) fn id(self) -> u32 {
                match self { $(ElementType::$ident => $id),* }
            }

            /// GGUF's name of it, such as `u32`.
            pub fn name(self) -> &'static str {
                match self { $(ElementType::$ident => $name),* }
            }
        }

        impl Value {
            /// Its type's number in a file.
            pub(crate) fn type_id(&self) -> u32 {
                match self { $(Value::$ident(_) => $id,)* Value::Array(_) => ARRAY_TYPE_ID }
            }
        }

        impl Array {
            /// Its element type's number in a file.
            pub(crate) fn element_type_id(&self) -> u32 {
                match self { $(Array::$ident(_) => $id,)* Array::Skipped(skipped) => skipped.element.id() }
            }

            /// How many elements it has.
            pub fn len(&self) -> usize {
                match self { $(Array::$ident(items) => items.len(),)* Array::Skipped(skipped) => skipped.len }
            }

            /// Whether it has no element.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }
        }
    };
}

value_types! {
    U8 = 0 "u8" u8;
    I8 = 1 "i8" i8;
    U16 = 2 "u16" u16;
    I16 = 3 "i16" i16;
    U32 = 4 "u32" u32;
    I32 = 5 "i32" i32;
    F32 = 6 "f32" f32;
    Bool = 7 "bool" bool;
    String = 8 "str" String;
    U64 = 10 "u64" u64;
    I64 = 11 "i64" i64;
    F64 = 12 "f64" f64;
}

/// What is known of an array that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// What it is an array of.
    pub element: ElementType,
    /// How many elements it has.
    pub len: usize,
    /// Where its elements lie, in bytes from the start of the file; of a model in parts, from the start of the first.
    pub place: Range<u64>,
}

/// The number of GGUF's `arr` in a file.
pub(crate) const ARRAY_TYPE_ID: u32 = 9;

impl Value {
    /// Any non-negative integer, whatever its width.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Value::U8(n) => Some(n.into()),
            Value::U16(n) => Some(n.into()),
            Value::U32(n) => Some(n.into()),
            Value::U64(n) => Some(n),
            Value::I8(n) => n.try_into().ok(),
            Value::I16(n) => n.try_into().ok(),
            Value::I32(n) => n.try_into().ok(),
            Value::I64(n) => n.try_into().ok(),
            _ => None,
        }
    }

    /// A string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

impl Array {
    /// Non-negative integers of whatever width, or `None` when one of them is something else, or the array was skipped.
    pub fn to_u64s(&self) -> Option<Vec<u64>> {
        match self {
            Array::U8(items) => Some(items.iter().map(|&n| n.into()).collect()),
            Array::U16(items) => Some(items.iter().map(|&n| n.into()).collect()),
            Array::U32(items) => Some(items.iter().map(|&n| n.into()).collect()),
            Array::U64(items) => Some(items.clone()),
            Array::I8(items) => items.iter().map(|&n| n.try_into().ok()).collect(),
            Array::I16(items) => items.iter().map(|&n| n.try_into().ok()).collect(),
            Array::I32(items) => items.iter().map(|&n| n.try_into().ok()).collect(),
            Array::I64(items) => items.iter().map(|&n| n.try_into().ok()).collect(),
            Array::F32(_) | Array::F64(_) | Array::Bool(_) | Array::String(_) | Array::Skipped(_) => None,
        }
    }
}

/// Keys and values in the order of the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata(pub Vec<(String, Value)>);

impl Metadata {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// `general.architecture`, such as `llama`: the prefix of the architecture's own keys.
    pub fn architecture(&self) -> Option<&str> {
        self.get("general.architecture").and_then(Value::as_str)
    }
}

macro_rules! value_from {
    ($($ident:ident $rust:ty;)*) => {
        $(
            impl From<$rust> for Value {
                fn from(value: $rust) -> Value {
                    Value::$ident(value)
                }
            }

            impl From<Vec<$rust>> for Value {
                fn from(items: Vec<$rust>) -> Value {
                    Value::Array(Array::$ident(items))
                }
            }
        )*
    };
}

value_from! {
    U32 u32;
    I32 i32;
    F32 f32;
    Bool bool;
    String String;
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::String(text.to_owned())
    }
}

//! The one table of tensor types: how many values a block holds and how many bytes it takes.

use std::fmt;

macro_rules! tensor_types {
    ($($ident:ident = $id:literal $name:literal $elements:literal in $bytes:literal;)*) => {
        /// How the values of a tensor are stored: ggml's `enum ggml_type`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum TensorType {
            $(#[doc = concat!("`", $name, "`: ", stringify!($elements), " values in ", stringify!($bytes), " bytes.")] $ident,)*
        }

        impl TensorType {
            /// Every type, in the order of its id.
            pub const ALL: &[TensorType] = &[$(TensorType::$ident),*];

            /// The type with this number in a file; `None` for numbers that are unknown or were withdrawn.
            pub fn from_id(id: u32) -> Option<TensorType> {
                match id {
                    $($id => Some(TensorType::$ident),)*
                    _ => None,
                }
            }

            /// Its number in a file.
            pub fn id(self) -> u32 {
                match self { $(TensorType::$ident => $id),* }
            }

            /// ggml's name of it.
            pub fn name(self) -> &'static str {
                match self { $(TensorType::$ident => $name),* }
            }

            /// Values per block; the length of a row is a multiple of it.
            pub fn block_elements(self) -> u64 {
                match self { $(TensorType::$ident => $elements),* }
            }

            /// Bytes per block.
            pub fn block_bytes(self) -> u64 {
                match self { $(TensorType::$ident => $bytes),* }
            }
        }
    };
}

// Ids: `enum ggml_type` in ggml/include/ggml.h. Block sizes: the structs of ggml/src/ggml-common.h and `type_traits` in
// ggml/src/ggml.c, at the pinned commit. The gaps (4, 5, 31 to 33, 36 to 38) are types that upstream withdrew.
tensor_types! {
    F32 = 0 "f32" 1 in 4;
    F16 = 1 "f16" 1 in 2;
    Q4_0 = 2 "q4_0" 32 in 18;
    Q4_1 = 3 "q4_1" 32 in 20;
    Q5_0 = 6 "q5_0" 32 in 22;
    Q5_1 = 7 "q5_1" 32 in 24;
    Q8_0 = 8 "q8_0" 32 in 34;
    Q8_1 = 9 "q8_1" 32 in 36;
    Q2K = 10 "q2_K" 256 in 84;
    Q3K = 11 "q3_K" 256 in 110;
    Q4K = 12 "q4_K" 256 in 144;
    Q5K = 13 "q5_K" 256 in 176;
    Q6K = 14 "q6_K" 256 in 210;
    Q8K = 15 "q8_K" 256 in 292;
    Iq2Xxs = 16 "iq2_xxs" 256 in 66;
    Iq2Xs = 17 "iq2_xs" 256 in 74;
    Iq3Xxs = 18 "iq3_xxs" 256 in 98;
    Iq1S = 19 "iq1_s" 256 in 50;
    Iq4Nl = 20 "iq4_nl" 32 in 18;
    Iq3S = 21 "iq3_s" 256 in 110;
    Iq2S = 22 "iq2_s" 256 in 82;
    Iq4Xs = 23 "iq4_xs" 256 in 136;
    I8 = 24 "i8" 1 in 1;
    I16 = 25 "i16" 1 in 2;
    I32 = 26 "i32" 1 in 4;
    I64 = 27 "i64" 1 in 8;
    F64 = 28 "f64" 1 in 8;
    Iq1M = 29 "iq1_m" 256 in 56;
    Bf16 = 30 "bf16" 1 in 2;
    Tq1_0 = 34 "tq1_0" 256 in 54;
    Tq2_0 = 35 "tq2_0" 256 in 66;
    Mxfp4 = 39 "mxfp4" 32 in 17;
    Nvfp4 = 40 "nvfp4" 64 in 36;
    Q1_0 = 41 "q1_0" 128 in 18;
    Q2_0 = 42 "q2_0" 64 in 18;
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ascending_and_found_again() {
        assert!(TensorType::ALL.windows(2).all(|pair| pair[0].id() < pair[1].id()));
        for &tensor_type in TensorType::ALL {
            assert_eq!(TensorType::from_id(tensor_type.id()), Some(tensor_type));
        }
        for withdrawn in [4, 5, 31, 32, 33, 36, 37, 38, 43, u32::MAX] {
            assert_eq!(TensorType::from_id(withdrawn), None, "{withdrawn}");
        }
    }
}

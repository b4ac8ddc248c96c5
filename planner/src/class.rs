//! Models that perform alike.

use std::collections::BTreeMap;

use build_info::ModelClass;
use diagnostic::{Error, Result, codes};
use gguf::{Header, Value};

/// The class of a model: its size as its file names it (`general.size_label`), or counted, and its quantisation as its file
/// names it (`general.file_type`), or the type that holds most of its bytes.
///
/// # Errors
/// [`codes::MODEL_INVALID`]: neither makes a class, as in a file without tensors.
pub fn of(header: &Header) -> Result<ModelClass> {
    let quant = file_type(header).unwrap_or_else(|| most_used_type(header));
    let label = header.metadata.get("general.size_label").and_then(Value::as_str);
    let counted = parameters(header);
    ModelClass::new(label.unwrap_or(&counted), quant)
        .or_else(|_| ModelClass::new(&counted, quant))
        .map_err(|error| Error::new(codes::MODEL_INVALID, format!("it belongs to no class of models: {error}")))
}

/// `enum llama_ftype` in llama.cpp's include/llama.h at the pin, by its number; removed ones have no name.
const FILE_TYPES: [&str; 42] = [
    "f32", "f16", "q4_0", "q4_1", "", "", "", "q8_0", "q5_0", "q5_1", "q2_k", "q3_k_s", "q3_k_m", "q3_k_l", "q4_k_s",
    "q4_k_m", "q5_k_s", "q5_k_m", "q6_k", "iq2_xxs", "iq2_xs", "q2_k_s", "iq3_xs", "iq3_xxs", "iq1_s", "iq4_nl",
    "iq3_s", "iq3_m", "iq2_s", "iq2_m", "iq4_xs", "iq1_m", "bf16", "", "", "", "tq1_0", "tq2_0", "mxfp4", "nvfp4",
    "q1_0", "q2_0",
];

fn file_type(header: &Header) -> Option<&'static str> {
    let number = header.metadata.get("general.file_type")?.as_u64()?;
    FILE_TYPES.get(usize::try_from(number).ok()?).copied().filter(|name| !name.is_empty())
}

fn most_used_type(header: &Header) -> &'static str {
    let mut bytes: BTreeMap<&'static str, u64> = BTreeMap::new();
    for tensor in &header.tensors {
        let of_type = bytes.entry(tensor.tensor_type.name()).or_default();
        *of_type = of_type.saturating_add(tensor.bytes);
    }
    bytes.into_iter().max_by_key(|&(_, bytes)| bytes).map_or("f32", |(name, _)| name)
}

/// `1.1b`, `360m`: how people name sizes.
fn parameters(header: &Header) -> String {
    let elements = |tensor: &gguf::TensorInfo| tensor.dims.iter().fold(1_u64, |count, dim| count.saturating_mul(*dim));
    let count = header.tensors.iter().fold(0_u64, |count, tensor| count.saturating_add(elements(tensor)));
    if count >= 1_000_000_000 { format!("{:.1}b", count as f64 / 1e9) } else { format!("{:.0}m", count as f64 / 1e6) }
}

#[cfg(test)]
mod tests {
    use gguf::model::{Quant, Shape, plan};

    use super::*;

    fn header(quant: Quant) -> Header {
        let plan = plan(Shape::Tiny, quant, 1);
        Header { version: gguf::VERSION, metadata: plan.metadata, tensors: plan.tensors, data_offset: plan.data_offset }
    }

    fn without(mut header: Header, key: &str) -> Header {
        header.metadata.0.retain(|(name, _)| name != key);
        header
    }

    #[test]
    fn a_model_is_classed_as_its_file_names_it() {
        for quant in Quant::ALL {
            assert_eq!(of(&header(quant)).unwrap().to_string(), format!("tiny/{quant}"));
        }
    }

    #[test]
    fn what_a_file_does_not_name_is_counted() {
        let unnamed = without(header(Quant::Q4KM), "general.file_type");
        assert_eq!(of(&unnamed).unwrap().to_string(), "tiny/q4_k");
        let unlabelled = without(header(Quant::F16), "general.size_label");
        assert!(of(&unlabelled).unwrap().to_string().ends_with("m/f16"));
    }

    #[test]
    fn a_hostile_label_does_not_become_a_path() {
        let mut header = header(Quant::Q8_0);
        for (key, value) in &mut header.metadata.0 {
            if key == "general.size_label" {
                *value = "../../etc".into();
            }
        }
        let class = of(&header).unwrap();
        assert!(!class.size().contains('/'), "{class}");
    }
}

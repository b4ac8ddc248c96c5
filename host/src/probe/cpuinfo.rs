//! The processor as `/proc/cpuinfo` describes it: on Linux other than x86, and in fixtures.

use std::collections::BTreeSet;

use super::root::{Root, fields};
use crate::Cpu;
use crate::isa::FEATURES;

/// Reads `/proc/cpuinfo`. The kernel leaves out x86 features whose register state it does not enable, so what it lists is
/// usable.
pub(super) fn read(root: &Root) -> Cpu {
    let Some(text) = root.text("proc/cpuinfo") else {
        return Cpu { source: "/proc/cpuinfo cannot be read".to_owned(), ..Cpu::default() };
    };
    let first = |key: &str| fields(&text).find(|(name, value)| *name == key && !value.is_empty()).map(|(_, v)| v);
    let words = |list: &str| list.split_ascii_whitespace().map(str::to_owned).collect::<BTreeSet<String>>();
    let features = match first("flags") {
        Some(flags) => {
            let flags = words(flags);
            FEATURES.iter().map(|known| known.name.to_owned()).filter(|name| flags.contains(name)).collect()
        }
        None => first("Features").map(words).unwrap_or_default(),
    };
    Cpu {
        vendor: first("vendor_id").or(first("CPU implementer")).map(str::to_owned),
        model: first("model name").map(str::to_owned).or_else(|| arm_parts(&text)),
        features: features.into_iter().collect(),
        disabled_by_os: Vec::new(),
        source: "/proc/cpuinfo".to_owned(),
    }
}

/// Arm has no model name, only a part number per core: `Arm parts 0xd05 0xd0b`.
fn arm_parts(text: &str) -> Option<String> {
    let parts: BTreeSet<&str> = fields(text).filter(|(key, _)| *key == "CPU part").map(|(_, part)| part).collect();
    (!parts.is_empty()).then(|| format!("Arm parts {}", parts.into_iter().take(8).collect::<Vec<_>>().join(" ")))
}

/// The number of processors listed, on x86 and Arm.
pub(super) fn processors(root: &Root) -> Option<usize> {
    let text = root.text("proc/cpuinfo")?;
    let count = fields(&text).filter(|(key, _)| *key == "processor").count();
    (count > 0).then_some(count)
}

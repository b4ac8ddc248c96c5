//! The processor: model and usable features.

use serde::{Deserialize, Serialize};

use crate::isa;

/// The processor as code may use it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// `GenuineIntel`, `AuthenticAMD`; on Arm the implementer number, such as `0x41`.
    pub vendor: Option<String>,
    /// Model name for people.
    pub model: Option<String>,
    /// Usable instruction-set features, sorted, as `/proc/cpuinfo` spells them; on x86 only those of
    /// [`isa::FEATURES`]. A feature counts only when both the CPU has it and the operating system enables it.
    pub features: Vec<String>,
    /// Features that the CPU has but the operating system does not enable (XCR0), sorted: using one is a SIGILL.
    pub disabled_by_os: Vec<String>,
    /// Where this came from.
    pub source: String,
}

impl Cpu {
    /// Whether a feature is usable; the name as `/proc/cpuinfo` spells it.
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|name| name == feature)
    }

    /// The highest x86-64 level, 1 to 4; `None` on other architectures.
    pub fn x86_64_level(&self) -> Option<u8> {
        isa::x86_64_level(&self.features)
    }
}

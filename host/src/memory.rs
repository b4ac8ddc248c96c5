//! Main memory.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Sourced;

/// Main memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// What the kernel manages (`MemTotal`): a little less than what is plugged in.
    pub total: Option<Sourced<u64>>,
    /// What can be had without swapping (`MemAvailable`), at the moment of probing.
    pub available: Option<Sourced<u64>>,
    /// The lowest limit of this process's cgroups and their ancestors; `None` when there is none.
    pub cgroup_limit: Option<Sourced<u64>>,
    /// The least that any of them leaves: its limit, less what it uses, but for file cache that the kernel drops first.
    #[serde(default)]
    pub cgroup_left: Option<Sourced<u64>>,
    /// What this process may still take: see [`budget`].
    #[serde(default)]
    pub budget: Option<Sourced<u64>>,
    /// Huge pages.
    #[serde(default)]
    pub huge_pages: HugePages,
}

/// Huge pages: fewer misses when weights are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HugePages {
    /// Whether the kernel gives them unasked.
    pub transparent: Option<Sourced<Transparent>>,
    /// Bytes that are free in the pools that an administrator has set aside.
    pub free_bytes: Option<Sourced<u64>>,
}

/// Who gets transparent huge pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transparent {
    /// Everybody.
    Always,
    /// Whoever asks.
    Madvise,
    /// Nobody.
    Never,
}

impl fmt::Display for Transparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transparent::Always => "always",
            Transparent::Madvise => "madvise",
            Transparent::Never => "never",
        })
    }
}

/// The smaller of what the machine has available and what the cgroups leave; `None` when neither is known.
pub fn budget(available: Option<&Sourced<u64>>, cgroup_left: Option<&Sourced<u64>>) -> Option<Sourced<u64>> {
    available.into_iter().chain(cgroup_left).min_by_key(|bytes| bytes.value).cloned()
}

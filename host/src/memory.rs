//! Main memory.

use serde::{Deserialize, Serialize};

use crate::Sourced;

/// Main memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// What the kernel manages (`MemTotal`): a little less than what is plugged in.
    pub total: Option<Sourced<u64>>,
    /// What can be had without swapping (`MemAvailable`), at the moment of probing.
    pub available: Option<Sourced<u64>>,
    /// The lowest limit of this process's cgroups; `None` when there is none.
    pub cgroup_limit: Option<Sourced<u64>>,
}

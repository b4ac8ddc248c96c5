//! Main memory from `/proc/meminfo` and the cgroups.

use super::cgroup;
use super::root::Root;
use super::system::System;
use crate::{Memory, Sourced};

pub(super) fn read(root: &Root, system: &System) -> Memory {
    let value = |key: &str, otherwise: Option<u64>| {
        let file = root.field("proc/meminfo", key).and_then(|text| kibibytes(&text));
        file.map(|bytes| Sourced::new(bytes, "/proc/meminfo"))
            .or_else(|| otherwise.map(|bytes| Sourced::new(bytes, "operating system")))
    };
    Memory {
        total: value("MemTotal", system.total_memory),
        available: value("MemAvailable", system.available_memory),
        cgroup_limit: cgroup::memory_limit(root),
    }
}

/// `24684084 kB` in bytes.
fn kibibytes(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

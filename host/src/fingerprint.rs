//! A name for a machine under which measurements are kept.

use sha2::{Digest, Sha256};

use crate::{Host, Sourced};

impl Host {
    /// 16 hex digits that stay the same as long as measurements stay comparable: the start of a SHA-256 over CPU model,
    /// usable features, topology, L3 cache, and memory rounded to GiB.
    ///
    /// It changes with another CPU or VM type, a BIOS or kernel setting that takes features, SMT or cores away, and with
    /// memory added or removed. It does not change with host name, operating system, kernel version, the kernel's naming
    /// of files that we read, or what this process may use of the machine (affinity, quota, memory limit): a value
    /// measured outside a container is found inside it and then capped.
    pub fn fingerprint(&self) -> String {
        let topology = &self.topology;
        let mut text = String::from("caravan host 1\n");
        let mut line = |key: &str, value: Option<String>| {
            // One field per line; a value cannot break out of its line.
            let value = value.map_or_else(|| "?".to_owned(), |value| value.replace('\n', " "));
            text.push_str(&format!("{key}={value}\n"));
        };
        line("model", self.cpu.model.clone());
        line("features", Some(self.cpu.features.join(" ")));
        line("cpus", Some(topology.logical_cpus.value.to_string()));
        line("cores", number(topology.physical_cores.as_ref()));
        line("performance cores", number(topology.performance_cores.as_ref()));
        line("sockets", topology.sockets.map(|sockets| sockets.to_string()));
        line("numa nodes", topology.numa_nodes.map(|nodes| nodes.to_string()));
        line("l3", number(topology.l3_bytes_total.as_ref()));
        line("memory", self.memory.total.as_ref().map(|total| rounded_gib(total.value).to_string()));
        Sha256::digest(text)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn number<T: ToString>(value: Option<&Sourced<T>>) -> Option<String> {
    value.map(|value| value.value.to_string())
}

/// `MemTotal` differs by some MiB from boot to boot; the nearest GiB does not.
fn rounded_gib(bytes: u64) -> u64 {
    bytes.saturating_add(1 << 29) >> 30
}

//! How much of the memory is taken while a server runs, and what can be done that leaves its context alone.

use std::path::Path;

use host::{Host, Overrides};
use planner::memory::gigabytes;
use serde::Serialize;

/// From here on, in percent, memory is about to run out.
pub(crate) const ALERT: u64 = 95;

/// One kind of memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    /// `cgroup`, `memory`, or the GPU's name.
    pub(crate) name: String,
    /// What is taken: of a cgroup its working set, without the file cache that the kernel drops first.
    pub(crate) used_bytes: u64,
    /// What there is.
    pub(crate) total_bytes: u64,
}

impl Place {
    /// In percent, rounded down.
    pub(crate) fn percent(&self) -> u64 {
        self.used_bytes.saturating_mul(100).checked_div(self.total_bytes).unwrap_or(0)
    }
}

/// Which driver is asked too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gpus {
    /// NVIDIA's.
    Asked,
    /// None: our own server does not use GPUs, and opening the driver may take a second.
    LeftOut,
}

/// All of them, now; of a `process` its cgroup, otherwise our own.
pub(crate) fn look(gpus: Gpus, process: Option<u32>) -> Vec<Place> {
    let overrides = match gpus {
        Gpus::Asked => Overrides::live().with_nvml(),
        Gpus::LeftOut => Overrides::live(),
    };
    let overrides = match process {
        Some(pid) => overrides.of_process(pid),
        None => overrides,
    };
    of_host(&Host::probe_at(Path::new("/"), overrides))
}

fn of_host(host: &Host) -> Vec<Place> {
    let memory = &host.memory;
    let place = |name: &str, total: u64, left: u64| Place {
        name: name.to_owned(),
        used_bytes: total.saturating_sub(left),
        total_bytes: total,
    };
    let mut places = Vec::new();
    if let (Some(limit), Some(left)) = (&memory.cgroup_limit, &memory.cgroup_left) {
        places.push(place("cgroup", limit.value, left.value));
    }
    if let (Some(total), Some(available)) = (&memory.total, &memory.available) {
        places.push(place("memory", total.value, available.value));
    }
    let cards = host.gpus.iter().filter_map(|gpu| Some((gpu, gpu.dedicated.as_ref()?, gpu.usable.as_ref()?)));
    places.extend(cards.map(|(gpu, total, free)| place(&gpu.label(), total.value, free.value)));
    places
}

/// `memory 62 % of 8.4 GB, cgroup 71 % of 4.0 GB`.
pub(crate) fn line(places: &[Place]) -> String {
    let each =
        places.iter().map(|place| format!("{} {} % of {}", place.name, place.percent(), gigabytes(place.total_bytes)));
    let text: Vec<String> = each.collect();
    if text.is_empty() { "nobody knows how much memory is taken".to_owned() } else { text.join(", ") }
}

/// What is about to run out.
pub(crate) fn short(places: &[Place], limit: u64) -> Vec<&Place> {
    places.iter().filter(|place| place.percent() >= limit).collect()
}

/// What can be done when a place runs out, none of which takes anything from the context.
pub(crate) fn options() -> [&'static str; 4] {
    [
        "keep fewer prompts: a smaller `--cache-ram`, from the next start on",
        "round the KV cache: `--cache-type-k q8_0 --cache-type-v q8_0`, which halves it and changes answers a little",
        "take a smaller quantisation of the model",
        "end other programs, or raise the limit of the cgroup",
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str, used: u64, total: u64) -> Place {
        Place { name: name.to_owned(), used_bytes: used, total_bytes: total }
    }

    #[test]
    fn what_runs_out_is_named_and_nothing_else() {
        let places = [place("cgroup", 3_800_000_000, 4_000_000_000), place("memory", 5_000_000_000, 64_000_000_000)];
        insta::assert_snapshot!(line(&places), @"cgroup 95 % of 4.0 GB, memory 7 % of 64.0 GB");
        assert_eq!(short(&places, ALERT), [&places[0]]);
        assert!(short(&places, 96).is_empty());
        assert_eq!(place("odd", 1, 0).percent(), 0);
        let huge = place("odd", u64::MAX, u64::MAX).percent();
        assert!(huge <= 100, "no overflow");
    }

    #[test]
    fn no_option_takes_from_the_context() {
        assert!(options().iter().all(|option| !option.contains("ctx") && !option.contains("context")));
    }

    #[test]
    fn this_machine_says_what_is_taken() {
        let places = look(Gpus::LeftOut, None);
        assert!(places.iter().any(|place| place.name == "memory" && place.percent() <= 100), "{places:?}");
    }
}

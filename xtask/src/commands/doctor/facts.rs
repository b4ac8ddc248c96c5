//! What is known of this machine, and of what is installed on it.

use std::path::Path;

use diagnostic::Result;
use host::threads::{Measured, ThreadChoice};
use host::topology::CoreMix;
use host::{Disk, Host};

use crate::commands::show_build;
use crate::{machine, variants, workspace};

/// Plain data, so that what is made of it can be tested without the machine.
pub(super) struct Facts {
    pub(super) host: Host,
    /// The threads that a build runs with here.
    pub(super) threads: Result<ThreadChoice>,
    /// Threads for generation by the heuristic, which knows no measurement.
    pub(super) heuristic: usize,
    /// The store as a person would write it.
    pub(super) store: String,
    pub(super) free_bytes: Option<u64>,
    pub(super) disk: Option<Disk>,
    /// The active build; or what is wrong with it.
    pub(super) build: std::result::Result<Option<Build>, String>,
    /// Processes that ran or wanted to, over the last minute.
    pub(super) load: Option<f64>,
}

/// The active build.
pub(super) struct Build {
    pub(super) id: String,
    /// The CPU variant that runs; `None` of a native build.
    pub(super) variant: Option<std::result::Result<String, String>>,
    /// Whether it has been measured here.
    pub(super) tuned: bool,
}

impl Facts {
    pub(super) fn gather(host: Host) -> Result<Facts> {
        let store = workspace::store();
        let (build, measured) = match active(&host) {
            Ok(Some((build, measured))) => (Ok(Some(build)), measured),
            Ok(None) => (Ok(None), None),
            Err(error) => (Err(error.to_string()), None),
        };
        Ok(Facts {
            threads: machine::choice(&host, measured),
            heuristic: machine::heuristic(&host)?.generation,
            store: workspace::short(store.root()),
            free_bytes: free_bytes(store.root()),
            disk: Disk::probe(store.root()),
            build,
            load: machine::load(),
            host,
        })
    }
}

/// The active build, and the thread counts that were measured for it or that it recommends.
fn active(host: &Host) -> Result<Option<(Build, Option<Measured>)>> {
    let store = workspace::store();
    let Some(id) = store.active()? else {
        return Ok(None);
    };
    let info = store.info(&id)?;
    let tuning = store.tuning(&machine::fingerprint(host), &id)?;
    let measured = tuning.as_ref().and_then(show_build::measured);
    let choice = variants::of(&info, &host.cpu, variants::forced().as_deref());
    let variant = choice.map(|choice| choice.taken().map(str::to_owned).map_err(|error| error.to_string()));
    let build = Build { id: id.to_string(), variant, tuned: measured.is_some() };
    Ok(Some((build, measured.or(show_build::optimal(&info)))))
}

fn free_bytes(path: &Path) -> Option<u64> {
    let existing = path.ancestors().find(|path| path.exists())?;
    let space = rustix::fs::statvfs(existing).ok()?;
    space.f_bavail.checked_mul(space.f_frsize)
}

/// The threads that llama.cpp starts when nobody names a number (`common_cpu_get_num_math` at the pin): it knows neither
/// affinity nor quotas. On a hybrid processor it skips the CPU after each P-core, taking it for an SMT sibling.
pub(super) fn upstream_threads(host: &Host) -> usize {
    let topology = &host.topology;
    if topology.mix != CoreMix::Hybrid {
        return topology.cores();
    }
    let mut cpus = 0..topology.logical_cpus.value as u32;
    let mut threads = 0;
    while let Some(cpu) = cpus.next() {
        if !topology.cpus.efficiency.contains(cpu) {
            cpus.next();
            threads += 1;
        }
    }
    threads
}

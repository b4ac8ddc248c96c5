//! How many threads compute.

use std::env;
use std::path::{Path, PathBuf};

use host::Host;
use host::threads::{Measured, Wish};
use planner::class;
use store::Build;

use crate::Model;
use crate::error::{Error, Result};

/// The most threads that ggml can run (`GGML_MAX_N_THREADS`).
const MOST: u32 = 512;

/// Threads of the two phases. What is best for one is often not for the other: a prompt is bound by computing, generation by
/// reading memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threads {
    /// For generating, one token at a time.
    pub generation: u32,
    /// For prompts, many tokens at once.
    pub prompt: u32,
}

impl Threads {
    /// So many in both phases.
    pub fn both(threads: u32) -> Threads {
        Threads { generation: threads, prompt: threads }
    }

    /// What was measured on this machine for the installed build and models like this one, or else a heuristic; never more
    /// than this process may use at this moment (CPU affinity, cgroup quota).
    ///
    /// Measurements are those of `cargo xtask tune` and `bench`. What cannot be read is left out, since it costs speed only.
    pub fn for_model(model: &Model) -> Threads {
        let host = Host::probe();
        let measured = measured(model, &host);
        let choice = host::threads::choose(&host.topology, &host.budget, &Wish { measured, ..Wish::default() });
        let choice = choice.expect("only threads that were asked for can be too many");
        let count = |threads: usize| u32::try_from(threads).unwrap_or(MOST).clamp(1, MOST);
        Threads { generation: count(choice.generation), prompt: count(choice.prompt) }
    }

    /// # Errors
    /// [`Error::Invalid`].
    pub(crate) fn check(self) -> Result<()> {
        let fits = |threads: u32| (1..=MOST).contains(&threads);
        if fits(self.generation) && fits(self.prompt) {
            return Ok(());
        }
        Err(Error::Invalid { what: "threads", why: format!("there must be 1 to {MOST} in each phase") })
    }
}

fn measured(model: &Model, host: &Host) -> Option<Measured> {
    let build = Build::open(&loaded_from()?).ok()?;
    let home = env::var_os("CARAVAN_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let class = class::of(model.header()).ok()?;
    let tuning = build.measured(&host.fingerprint().parse().ok()?, &class, home.as_deref()).ok()?;
    match (tuning, build.info.optimal_threads) {
        (Some(found), _) => Some(Measured {
            generation: found.tuning.generation.threads.get() as usize,
            prompt: found.tuning.prompt.threads.get() as usize,
        }),
        (None, Some(threads)) => Some(Measured { generation: threads.get() as usize, prompt: threads.get() as usize }),
        (None, None) => None,
    }
}

/// The directory of the build whose `lib/libllama.so` this process has mapped.
fn loaded_from() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let library = maps.lines().find_map(|line| {
        let path = Path::new(line.get(line.find('/')?..)?);
        (path.file_name()? == "libllama.so").then(|| path.to_owned())
    })?;
    Some(library.parent()?.parent()?.to_owned())
}

//! The build that this program is part of, and what was measured for it on this machine.

use std::env;
use std::path::{Path, PathBuf};

use build_info::{BuildInfo, ClassTuning, ModelClass};
use diagnostic::{Error, Result, codes};
use host::Host;
use store::Store;

use crate::environment::Variables;

/// Names another build than the one that this program lies in.
pub(crate) const BUILD: &str = "CARAVAN_BUILD";
/// Names the store, where measurements are kept, when the build does not lie in it.
pub(crate) const HOME: &str = "CARAVAN_HOME";

/// A build of llama.cpp.
#[derive(Debug)]
pub(crate) struct Build {
    /// The directory that holds `bin/` and `lib/`.
    pub(crate) dir: PathBuf,
    /// How it was made.
    pub(crate) info: BuildInfo,
}

/// What was measured for a build with a class of models.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// The class that was measured: that of the model at hand, or one of the same quantisation.
    pub(crate) class: ModelClass,
    pub(crate) tuning: ClassTuning,
}

/// The build that `CARAVAN_BUILD` names, or the one that this program lies in.
///
/// # Errors
/// [`codes::NO_SUCH_BUILD`]: it lies in none. Its build information is damaged, or newer than this program.
pub(crate) fn find(variables: &Variables) -> Result<Build> {
    let named = variables.get(BUILD).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let dir = match named {
        Some(dir) => dir.canonicalize().map_err(|error| Error::io(&format!("`{BUILD}`: cannot find"), &dir, error))?,
        None => own_directory()?,
    };
    let info = dir.join("lib/build_info.json");
    if !info.is_file() {
        let message = format!("`{}` is no build: it has no `lib/build_info.json`", dir.display());
        return Err(Error::new(codes::NO_SUCH_BUILD, message)
            .hint(format!("run the `caravan` of an installed build, or name one with `{BUILD}`")));
    }
    Ok(Build { info: BuildInfo::read(&info)?, dir })
}

/// Two levels above this executable, links followed: `<build>/bin/caravan`.
fn own_directory() -> Result<PathBuf> {
    let exe = env::current_exe().and_then(|exe| exe.canonicalize());
    let exe = exe.map_err(|error| Error::io("cannot find", Path::new("this program"), error))?;
    Ok(exe.ancestors().nth(2).unwrap_or(Path::new("/")).to_owned())
}

impl Build {
    /// The store that holds measurements: the one that `CARAVAN_HOME` names, or the one that the build lies in.
    fn store(&self, variables: &Variables) -> Option<Store> {
        if let Some(home) = variables.get(HOME).filter(|home| !home.is_empty()) {
            return Some(Store::at(home));
        }
        let builds = self.dir.parent().filter(|dir| dir.file_name().is_some_and(|name| name == "builds"))?;
        Some(Store::at(builds.parent()?))
    }

    /// What was measured for this build on this host with models of the class, or else of the same quantisation, the
    /// newest first: what a CPU does best depends on the kernels, and these on the quantisation.
    ///
    /// # Errors
    /// The measurements are damaged, or newer than this program.
    pub(crate) fn measured(&self, host: &Host, class: &ModelClass, variables: &Variables) -> Result<Option<Measured>> {
        let (Some(store), Ok(id)) = (self.store(variables), self.info.id()) else { return Ok(None) };
        let fingerprint =
            host.fingerprint().parse().expect("a host's fingerprint has the form that build_info asks for");
        let Some(tuning) = store.tuning(&fingerprint, &id)? else { return Ok(None) };
        let alike = tuning.classes.into_iter().filter(|(other, _)| other.quant() == class.quant());
        let best = alike.max_by_key(|(other, tuning)| (other == class, tuning.date));
        Ok(best.map(|(class, tuning)| Measured { class, tuning }))
    }
}

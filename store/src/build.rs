//! A build as its own programs see it: from inside, with or without a store around it.

use std::path::{Path, PathBuf};

use build_info::{BuildInfo, ClassTuning, HostFingerprint, ModelClass, Tuning};
use diagnostic::{Error, Result, codes};

use crate::Store;
use crate::layout::INFO;

/// A build of llama.cpp, installed or unpacked into an image.
#[derive(Debug)]
pub struct Build {
    /// The directory that holds `bin/` and `lib/`.
    pub dir: PathBuf,
    /// How it was made.
    pub info: BuildInfo,
}

/// What was measured for a build with a class of models.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The class that was measured.
    pub class: ModelClass,
    /// What was found.
    pub tuning: ClassTuning,
}

impl Build {
    /// The build in this directory.
    ///
    /// # Errors
    /// [`codes::NO_SUCH_BUILD`]: there is none. Its build information is damaged, or newer than this program.
    pub fn open(dir: &Path) -> Result<Build> {
        let info = dir.join(INFO);
        if !info.is_file() {
            let message = format!("`{}` is no build: it has no `{INFO}`", dir.display());
            return Err(Error::new(codes::NO_SUCH_BUILD, message));
        }
        Ok(Build { info: BuildInfo::read(&info)?, dir: dir.to_owned() })
    }

    /// The store that holds its measurements: `home` if given, or the one that it lies in.
    fn store(&self, home: Option<&Path>) -> Option<Store> {
        if let Some(home) = home {
            return Some(Store::at(home));
        }
        let builds = self.dir.parent().filter(|dir| dir.file_name().is_some_and(|name| name == "builds"))?;
        Some(Store::at(builds.parent()?))
    }

    /// All that was measured for this build on a host, if anything was.
    ///
    /// # Errors
    /// As [`Build::measured`].
    pub fn tuning(&self, host: &HostFingerprint, home: Option<&Path>) -> Result<Option<Tuning>> {
        match (self.store(home), self.info.id()) {
            (Some(store), Ok(id)) => store.tuning(host, &id),
            _ => Ok(None),
        }
    }

    /// What was measured for this build on a host that holds for models of the class: [`Measured::of`].
    ///
    /// # Errors
    /// The measurements are damaged, or newer than this program.
    pub fn measured(
        &self,
        host: &HostFingerprint,
        class: &ModelClass,
        home: Option<&Path>,
    ) -> Result<Option<Measured>> {
        Ok(self.tuning(host, home)?.and_then(|tuning| Measured::of(&tuning, class)))
    }
}

impl Measured {
    /// What holds for models of the class: measured with them, or else with others of the same quantisation, the newest
    /// first: what a CPU does best depends on the kernels, and these on the quantisation.
    pub fn of(tuning: &Tuning, class: &ModelClass) -> Option<Measured> {
        let alike = tuning.classes.iter().filter(|(other, _)| other.quant() == class.quant());
        let (class, tuning) = alike.max_by_key(|(other, tuning)| (*other == class, tuning.date))?;
        Some(Measured { class: class.clone(), tuning: tuning.clone() })
    }
}

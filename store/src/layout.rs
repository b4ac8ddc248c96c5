//! Where things lie in the store.

use std::path::{Path, PathBuf};

use build_info::{BuildId, HostFingerprint, ModelClass};

/// A store, by its root directory (`.local/`). It need not exist yet: the first writer creates it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
}

/// The build information, relative to its build. The one file that has no digest: it holds them.
pub(crate) const INFO: &str = "lib/build_info.json";
/// Hidden entries of `builds/` that only a running writer needs, or a killed one left.
pub(crate) const STAGING: &str = ".staging-";
pub(crate) const TRASH: &str = ".trash-";
/// Temporary names of links and files in the root.
pub(crate) const LINK: &str = ".link-";
pub(crate) const HISTORY_TEMP: &str = ".history.";

impl Store {
    /// The store in this directory. Touches nothing.
    pub fn at(root: impl Into<PathBuf>) -> Store {
        Store { root: root.into() }
    }

    /// The directory that holds all of it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The tools of the active build: what `PATH` needs.
    pub fn bin(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// The libraries of the active build.
    pub fn lib(&self) -> PathBuf {
        self.root.join("lib")
    }

    /// The link that names the active build.
    pub fn current(&self) -> PathBuf {
        self.root.join("current")
    }

    /// The directory of all builds.
    pub fn builds(&self) -> PathBuf {
        self.root.join("builds")
    }

    /// The directory of one build, installed or not.
    pub fn build(&self, id: &BuildId) -> PathBuf {
        self.builds().join(id.to_string())
    }

    /// The build information of one build, installed or not.
    pub fn info_path(&self, id: &BuildId) -> PathBuf {
        self.build(id).join(INFO)
    }

    /// Where the measurements of a build on a host are kept.
    pub fn tuning_path(&self, host: &HostFingerprint, id: &BuildId) -> PathBuf {
        self.root.join("tuning").join(host.as_str()).join(format!("{id}.json"))
    }

    /// Where everything that was measured in search of the best settings for a class of model on a host is kept.
    pub fn search_path(&self, host: &HostFingerprint, class: &ModelClass) -> PathBuf {
        let name = format!("{}-{}.json", class.size(), class.quant());
        self.root.join("tuning").join(host.as_str()).join("search").join(name)
    }

    /// Where it is written down where a build came from.
    pub fn origin_path(&self, id: &BuildId) -> PathBuf {
        self.root.join("origins").join(format!("{id}.json"))
    }

    /// Verified downloads.
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Generated models.
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    pub(crate) fn history(&self) -> PathBuf {
        self.root.join("history")
    }

    pub(crate) fn lock_path(&self) -> PathBuf {
        self.root.join(".lock")
    }
}

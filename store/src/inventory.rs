//! What is installed.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use build_info::{BuildId, BuildInfo};
use diagnostic::{Error, Result, codes};

use crate::{Store, tree};

/// What a person does about a damaged build.
pub(crate) const REPAIR: &str = "install it again; `cargo xtask list` shows the other builds";
/// How many ids a hint offers.
const NEAREST: usize = 3;

/// One installed build.
#[derive(Debug)]
pub struct Installed {
    /// Its name.
    pub id: BuildId,
    /// Its directory.
    pub path: PathBuf,
    /// How it was made, or why that cannot be told: the build is damaged.
    pub info: Result<BuildInfo>,
    /// Whether it is the active build.
    pub active: bool,
    /// Bytes of all its files.
    pub size_bytes: u64,
}

impl Store {
    /// The names of all installed builds, sorted. Entries of `builds/` that are no build ids are left out.
    ///
    /// # Errors
    /// The directory of builds exists and cannot be read.
    pub fn ids(&self) -> Result<Vec<BuildId>> {
        let builds = self.builds();
        let fail = |error| Error::io("cannot read", &builds, error);
        let entries = match fs::read_dir(&builds) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(fail(error)),
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry.map_err(fail)?.file_name();
            ids.extend(name.to_str().and_then(|name| name.parse::<BuildId>().ok()));
        }
        ids.sort();
        Ok(ids)
    }

    /// All installed builds, sorted by id. A damaged build is listed with the reason in its `info`.
    ///
    /// # Errors
    /// As [`Store::ids`].
    pub fn list(&self) -> Result<Vec<Installed>> {
        // A damaged link means that no build is active; `active` says more.
        let active = self.current_id().ok().flatten();
        let describe = |id: BuildId| {
            let path = self.build(&id);
            Installed {
                info: self.info(&id),
                active: active.as_ref() == Some(&id),
                size_bytes: tree::size(&path),
                path,
                id,
            }
        };
        Ok(self.ids()?.into_iter().map(describe).collect())
    }

    /// How an installed build was made.
    ///
    /// # Errors
    /// No such build ([`codes::NO_SUCH_BUILD`]), or its build information is missing, damaged or newer than this program.
    pub fn info(&self, id: &BuildId) -> Result<BuildInfo> {
        let path = self.info_path(id);
        match path.metadata() {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                if self.build(id).symlink_metadata().is_err() {
                    return Err(self.no_such_build(&id.to_string()));
                }
                let message = format!("build `{id}` is damaged: it has no `{}`", crate::layout::INFO);
                Err(Error::new(codes::BUILD_CORRUPT, message).hint(REPAIR))
            }
            _ => BuildInfo::read(&path),
        }
    }

    /// The installed build that `text` names: an id, or the beginning of exactly one id or of its content hash.
    ///
    /// # Errors
    /// [`codes::NO_SUCH_BUILD`]: none or several match; the hint offers the nearest.
    pub fn find(&self, text: &str) -> Result<BuildId> {
        let ids = self.ids()?;
        if let Some(exact) = ids.iter().find(|id| id.to_string() == text) {
            return Ok(exact.clone());
        }
        let matches = |id: &&BuildId| id.to_string().starts_with(text) || id.content().starts_with(text);
        let found: Vec<&BuildId> = ids.iter().filter(matches).collect();
        match found[..] {
            [only] if !text.is_empty() => Ok(only.clone()),
            [_, _, ..] if !text.is_empty() => {
                let names: Vec<String> = found.iter().map(|id| format!("`{id}`")).collect();
                let message = format!("`{text}` names {} builds: {}", found.len(), names.join(", "));
                Err(Error::new(codes::NO_SUCH_BUILD, message).hint("give more of the id, or its last part"))
            }
            _ => Err(self.no_such_build(text)),
        }
    }

    fn no_such_build(&self, text: &str) -> Error {
        let error = Error::new(codes::NO_SUCH_BUILD, format!("no installed build has the id `{text}`"));
        let mut names: Vec<String> = self.ids().unwrap_or_default().iter().map(BuildId::to_string).collect();
        if names.is_empty() {
            return error.hint("nothing is installed yet: `cargo xtask install-fast`");
        }
        let likeness = |name: &str| strsim::jaro_winkler(name, text);
        names.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
        names.truncate(NEAREST);
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        error.hint(format!("nearest: {}", names.join(", ")))
    }
}

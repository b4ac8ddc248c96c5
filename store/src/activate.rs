//! Which build is active, and which were before.
//!
//! Two things change together: the link `current` and the file `history`. A crash may fall between them, so every reader
//! of the history skips entries that name the active build; then either order of writing is right.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use build_info::{BuildId, write_atomic};
use diagnostic::{Error, Result, codes};

use crate::layout::LINK;
use crate::{Store, Writer, tree};

/// How many earlier activations are remembered.
const HISTORY_LIMIT: usize = 100;
/// More than that many ids take; the rest of a damaged file is not read.
const HISTORY_BYTES: u64 = 64 << 10;
/// Links for people, and where they lead.
const LINKS: [(&str, &str); 2] = [("bin", "current/bin"), ("lib", "current/lib")];

/// The active build before and after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// What was active; `None` in a new store.
    pub from: Option<BuildId>,
    /// What is active now.
    pub to: BuildId,
}

/// A finished rollback.
#[derive(Debug)]
pub struct Rollback {
    /// The active build before and after.
    pub activation: Activation,
    /// Later builds that were passed over because they are damaged, and how.
    pub skipped: Vec<(BuildId, Error)>,
}

impl Store {
    /// The active build.
    ///
    /// # Errors
    /// [`codes::BUILD_CORRUPT`]: `current` is not a link of ours or leads to nothing.
    pub fn active(&self) -> Result<Option<BuildId>> {
        let Some(id) = self.current_id()? else { return Ok(None) };
        if self.build(&id).is_dir() {
            return Ok(Some(id));
        }
        let message = format!("the active build `{id}` is not installed any more");
        Err(Error::new(codes::BUILD_CORRUPT, message)
            .hint("activate another one with `cargo xtask use ID` or `cargo xtask rollback`"))
    }

    /// The build that `current` names, installed or not.
    pub(crate) fn current_id(&self) -> Result<Option<BuildId>> {
        let path = self.current();
        let strange = |what: &str| {
            let message = format!("`{}` is damaged: {what}, expected a link to `builds/<id>`", path.display());
            Error::new(codes::BUILD_CORRUPT, message).hint("remove it, then activate a build with `cargo xtask use ID`")
        };
        match fs::read_link(&path) {
            Ok(target) => match target.strip_prefix("builds").ok().and_then(Path::to_str).map(str::parse) {
                Some(Ok(id)) => Ok(Some(id)),
                _ => Err(strange(&format!("it leads to `{}`", target.display()))),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == ErrorKind::InvalidInput => Err(strange("it is not a link")),
            Err(error) => Err(Error::io("cannot read", &path, error)),
        }
    }

    /// Builds that were active earlier, newest first. Lines that name no build are skipped.
    fn read_history(&self) -> Result<Vec<BuildId>> {
        let path = self.history();
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(HISTORY_BYTES).read_to_end(&mut bytes)) {
            Ok(_) => {
                let text = String::from_utf8_lossy(&bytes);
                Ok(text.lines().filter_map(|line| line.parse().ok()).take(HISTORY_LIMIT).collect())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::io("cannot read", &path, error)),
        }
    }

    fn write_history<'a>(&self, ids: impl IntoIterator<Item = &'a BuildId>) -> Result<()> {
        let lines: String = ids.into_iter().take(HISTORY_LIMIT).map(|id| format!("{id}\n")).collect();
        write_atomic(&self.history(), lines.as_bytes())
    }
}

impl Writer<'_> {
    /// Makes an installed build the active one; `text` as for [`Store::find`]. Its files are verified first.
    ///
    /// # Errors
    /// No such build, it is damaged, or the store cannot be written.
    pub fn use_build(&self, text: &str) -> Result<Activation> {
        let id = self.store.find(text)?;
        self.store.ensure_intact(&id)?;
        self.activate(&id)
    }

    /// Goes back to the build that was active before; again, to the one before that. Builds that were uninstalled are
    /// passed over, damaged ones too.
    ///
    /// # Errors
    /// [`codes::NO_ROLLBACK`], or the store cannot be written.
    pub fn rollback(&self) -> Result<Rollback> {
        let from = self.store.current_id()?;
        let history = self.store.read_history()?;
        let mut skipped: Vec<(BuildId, Error)> = Vec::new();
        for (position, id) in history.iter().enumerate() {
            if from.as_ref() == Some(id) || skipped.iter().any(|(seen, _)| seen == id) {
                continue;
            }
            match self.store.ensure_intact(id) {
                Ok(()) => {}
                Err(error) if error.code() == codes::NO_SUCH_BUILD => continue,
                Err(error) if error.code() == codes::INTERRUPTED => return Err(error),
                Err(error) => {
                    skipped.push((id.clone(), error));
                    continue;
                }
            }
            self.flip(id)?;
            // On a full disk going back must still work; entries that stay are skipped next time.
            let _ = self.store.write_history(&history[position + 1..]);
            return Ok(Rollback { activation: Activation { from, to: id.clone() }, skipped });
        }
        let mut error = Error::new(codes::NO_ROLLBACK, "there is no earlier build to go back to");
        for (_, why) in &skipped {
            error = error.hint(format!("passed over: {why}"));
        }
        Err(error.hint("`cargo xtask list` shows what is installed, `cargo xtask use ID` activates it"))
    }

    /// Remembers the active build and makes `id`, which is installed and intact, the active one.
    pub(crate) fn activate(&self, id: &BuildId) -> Result<Activation> {
        self.ensure_links()?;
        let from = self.store.current_id()?;
        if let Some(previous) = from.as_ref().filter(|previous| *previous != id) {
            let mut history = self.store.read_history()?;
            if history.first() != Some(previous) {
                history.insert(0, previous.clone());
            }
            self.store.write_history(&history)?;
        }
        if from.as_ref() != Some(id) {
            self.flip(id)?;
        }
        Ok(Activation { from, to: id.clone() })
    }

    fn flip(&self, id: &BuildId) -> Result<()> {
        let target = PathBuf::from("builds").join(id.to_string());
        place_link(self.store.root(), "current", &target)?;
        tree::sync_one(self.store.root())
    }

    /// `bin` and `lib`, made once. Something else of that name is someone's and stays. They reach the disk with the first
    /// `current`; until then they lead nowhere.
    pub(crate) fn ensure_links(&self) -> Result<()> {
        for (name, target) in LINKS {
            let path = self.store.root().join(name);
            match fs::read_link(&path) {
                Ok(found) if found == Path::new(target) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    place_link(self.store.root(), name, Path::new(target))?;
                }
                _ => {
                    let message = format!("`{}` is in the way: it must be a link to `{target}`", path.display());
                    return Err(Error::new(codes::IO, message)
                        .hint("move it away, or put the store into another directory with `CARAVAN_HOME`"));
                }
            }
        }
        Ok(())
    }
}

/// Makes the link `name` in `directory`, in place of an older one: under a temporary name, then renamed over.
fn place_link(directory: &Path, name: &str, target: &Path) -> Result<()> {
    let path = directory.join(name);
    let fail = |error: io::Error| Error::io("cannot write", &path, error);
    let link = tempfile::Builder::new()
        .prefix(LINK)
        .make_in(directory, |temporary| symlink(target, temporary))
        .map_err(fail)?;
    link.persist(&path).map_err(|error| fail(error.error))
}

//! Where the builds came from.

use std::fs;
use std::io::ErrorKind;

use build_info::{BuildId, Origin};
use diagnostic::{Error, Result};

use crate::{Store, Writer};

impl Store {
    /// Where a build came from; `None` for one that was compiled here.
    ///
    /// # Errors
    /// The file is damaged or was written by a newer program.
    pub fn origin(&self, id: &BuildId) -> Result<Option<Origin>> {
        let path = self.origin_path(id);
        if path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            return Ok(None);
        }
        Origin::read(&path).map(Some)
    }

    /// The build that was last installed under this name and still is.
    ///
    /// # Errors
    /// The directory of builds cannot be read.
    pub fn installed_from(&self, reference: &str) -> Result<Option<(BuildId, Origin)>> {
        // A damaged origin costs a download, not the command.
        let origin = |id: BuildId| Some((self.origin(&id).ok()??, id));
        let found = self.ids()?.into_iter().filter_map(origin).filter(|(origin, _)| origin.reference == reference);
        Ok(found.max_by_key(|(origin, _)| origin.date).map(|(origin, id)| (id, origin)))
    }
}

impl Writer<'_> {
    /// Stores where a build came from, in place of what was stored before.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn record_origin(&self, id: &BuildId, origin: &Origin) -> Result<()> {
        let path = self.store.origin_path(id);
        let directory = path.parent().expect("an origin lies in the directory of all");
        fs::create_dir_all(directory).map_err(|error| Error::io("cannot create", directory, error))?;
        origin.write(&path)
    }
}

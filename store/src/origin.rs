//! Where the builds came from.

use std::fs;
use std::io::ErrorKind;

use build_info::{Arrival, BuildId, Origin};
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
    pub fn installed_from(&self, reference: &str) -> Result<Option<(BuildId, Arrival)>> {
        // A damaged origin costs a download, not the command.
        let arrivals = |id: BuildId| {
            let arrivals = self.origin(&id).ok().flatten().map_or_else(Vec::new, |origin| origin.arrivals);
            arrivals.into_iter().map(move |arrival| (id.clone(), arrival))
        };
        let found = self.ids()?.into_iter().flat_map(arrivals).filter(|(_, arrival)| arrival.reference == reference);
        Ok(found.max_by_key(|(_, arrival)| arrival.date))
    }
}

impl Writer<'_> {
    /// Stores that a build was installed under a name, in place of what was stored for that name before. What was stored
    /// for other names stays: the bytes are the same. Nothing is written when what was stored last, for the
    /// build and for the name, says the same but for the date.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn record_arrival(&self, id: &BuildId, arrival: Arrival) -> Result<()> {
        let path = self.store.origin_path(id);
        let directory = path.parent().expect("an origin lies in the directory of all");
        fs::create_dir_all(directory).map_err(|error| Error::io("cannot create", directory, error))?;
        // A damaged one is of no use to anybody.
        let known = self.store.origin(id).ok().flatten();
        let last = known.as_ref().and_then(|origin| origin.arrivals.last());
        let says_the_same = last.is_some_and(|last| Arrival { date: arrival.date, ..last.clone() } == arrival);
        if says_the_same && self.store.installed_from(&arrival.reference)?.is_some_and(|(of, _)| of == *id) {
            return Ok(());
        }
        let mut origin = known.unwrap_or_else(|| Origin {
            schema_version: Origin::SCHEMA_VERSION,
            arrivals: Vec::new(),
            extra: Default::default(),
        });
        origin.arrivals.retain(|known| known.reference != arrival.reference);
        origin.arrivals.push(arrival);
        origin.write(&path)
    }

    /// Forgets where a build came from.
    pub(crate) fn forget_origin(&self, id: &BuildId) -> Result<()> {
        let path = self.store.origin_path(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("cannot remove", &path, error)),
            _ => Ok(()),
        }
    }
}

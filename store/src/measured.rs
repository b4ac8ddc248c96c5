//! What was measured for the builds.

use std::fs;
use std::io::ErrorKind;

use build_info::{BuildId, ClassTuning, HostFingerprint, ModelClass, Tuning};
use diagnostic::{Error, Result, codes};

use crate::{Store, Writer};

impl Store {
    /// What was measured for a build on a host; `None` when nothing was.
    ///
    /// # Errors
    /// The file is damaged, is about another build or host, or was written by a newer program.
    pub fn tuning(&self, host: &HostFingerprint, id: &BuildId) -> Result<Option<Tuning>> {
        let path = self.tuning_path(host, id);
        if path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            return Ok(None);
        }
        let tuning = Tuning::read(&path)?;
        if tuning.host != *host || tuning.build != *id {
            let message = format!(
                "`{}` is damaged: it is about build `{}` on host `{}`",
                path.display(),
                tuning.build,
                tuning.host
            );
            return Err(
                Error::new(codes::BUILD_CORRUPT, message).hint("remove it and measure again with `cargo xtask bench`")
            );
        }
        Ok(Some(tuning))
    }
}

impl Store {
    /// How many other hosts have measurements of a build in this store, which say nothing about this one. A store that lies
    /// on a shared disk, or a machine whose processor was exchanged, has them.
    pub fn tuned_elsewhere(&self, host: &HostFingerprint, id: &BuildId) -> usize {
        let Ok(hosts) = fs::read_dir(self.root().join("tuning")) else { return 0 };
        let others = hosts.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<HostFingerprint>().ok());
        others.filter(|other| other != host && self.tuning_path(other, id).is_file()).count()
    }
}

impl Writer<'_> {
    /// Stores what was measured with one class of model, in place of an earlier measurement of that class; other classes
    /// stay.
    ///
    /// # Errors
    /// As [`Store::tuning`], or the file cannot be written.
    pub fn record_tuning(
        &self,
        host: &HostFingerprint,
        id: &BuildId,
        class: ModelClass,
        measured: ClassTuning,
    ) -> Result<Tuning> {
        let mut tuning = self.store.tuning(host, id)?.unwrap_or_else(|| Tuning::new(host.clone(), id.clone()));
        tuning.classes.insert(class, measured);
        let path = self.store.tuning_path(host, id);
        let directory = path.parent().expect("a tuning file lies in the directory of its host");
        fs::create_dir_all(directory).map_err(|error| Error::io("cannot create", directory, error))?;
        tuning.write(&path)?;
        Ok(tuning)
    }
}

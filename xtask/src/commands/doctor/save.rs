//! `--save`: this machine as a text that the tests of `host` can probe.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use diagnostic::{Error, Result, codes};
use host::gpu::NvmlDevice;
use host::{Host, fixture};

use crate::ui;

/// The name that fixtures have in `host/tests/fixtures`.
const NAME: &str = "tree.txt";

/// A directory that does not exist yet, or is empty.
pub(super) struct Target(PathBuf);

impl Target {
    /// Looks at what is there; changes nothing.
    ///
    /// # Errors
    /// [`codes::IO`]: something is there that nobody wants to lose.
    pub(super) fn new(dir: &Path) -> Result<Target> {
        let dir = std::path::absolute(dir).map_err(|error| Error::io("cannot find", dir, error))?;
        let taken = match fs::read_dir(&dir) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        };
        if taken {
            return Err(Error::new(codes::IO, format!("`{}` is there and is no empty directory", dir.display()))
                .hint("name one that does not exist yet"));
        }
        Ok(Target(dir))
    }

    /// Writes the text beside the directory, then gives it its name.
    pub(super) fn write(self, host: &Host, nvml: &[NvmlDevice]) -> Result<()> {
        let Target(dir) = self;
        let parent = dir.parent().unwrap_or(&dir);
        fs::create_dir_all(parent).map_err(|error| Error::io("cannot create", parent, error))?;
        let staging = tempfile::Builder::new().prefix(".staging-").tempdir_in(parent);
        let staging = staging.map_err(|error| Error::io("cannot write in", parent, error))?;
        let staged = staging.path().join("fixture");
        let text = fixture::tree(&title(host), Path::new("/"), nvml);
        let file = staged.join(NAME);
        fs::create_dir(&staged).map_err(|error| Error::io("cannot create", &staged, error))?;
        fs::write(&file, &text).map_err(|error| Error::io("cannot write", &file, error))?;
        fs::rename(&staged, &dir).map_err(|error| Error::io("cannot create", &dir, error))?;
        ui::note(format!(
            "saved     {}: {} lines; look through it before you send it",
            dir.join(NAME).display(),
            text.lines().count()
        ));
        Ok(())
    }
}

/// What the machine is, without its name.
fn title(host: &Host) -> String {
    let model = host.cpu.model.as_deref().unwrap_or("unknown model").replace(['\n', '\r'], " ");
    format!("recorded by `cargo xtask doctor --save`: {model}, {}", host.topology)
}

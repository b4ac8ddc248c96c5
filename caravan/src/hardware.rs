//! The machine that is planned for: this one, or one that is described in a file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use diagnostic::{Error, Result, codes};
use host::{Host, Overrides, fixture};
use planner::hardware::Hardware;

/// The longest file that is read.
const MOST_BYTES: u64 = 4 << 20;
/// The file that `cargo xtask doctor --save DIR` writes.
const SAVED: &str = "tree.txt";

/// A machine, and what was seen of it where it is this one.
pub(crate) struct Machine {
    pub(crate) hardware: Hardware,
    /// `None` for another machine: nothing was measured there.
    pub(crate) here: Option<Host>,
}

/// `auto` for this machine, the name of a profile, or a file that `cargo xtask doctor` has written.
///
/// # Errors
/// [`codes::HARDWARE_UNKNOWN`]: there is neither; the file is damaged.
pub(crate) fn find(name: &str) -> Result<Machine> {
    if name == "auto" {
        let host = Host::probe_at(Path::new("/"), Overrides::live().with_nvml());
        return Ok(Machine { hardware: Hardware::of_host(&host, "this machine")?, here: Some(host) });
    }
    let path = Path::new(name);
    if !path.exists() {
        let message = format!("`{}` is no file that describes a machine", name.escape_debug());
        return Err(Error::new(codes::HARDWARE_UNKNOWN, message)
            .hint("`auto` is this machine; `cargo xtask doctor --save DIR` writes one that can be taken elsewhere"));
    }
    let path = if path.is_dir() { path.join(SAVED) } else { path.to_owned() };
    let text = read(&path)?;
    let described = host_of(&text).map_err(|error| error.context(format_args!("`{}`", path.display())))?;
    Ok(Machine { hardware: Hardware::of_host(&described, &path.display().to_string())?, here: None })
}

/// From what `doctor --json` prints, or what `doctor --save` writes.
fn host_of(text: &str) -> Result<Host> {
    if !text.trim_start().starts_with('{') {
        return fixture::host(text);
    }
    let invalid =
        |error: serde_json::Error| Error::new(codes::HARDWARE_UNKNOWN, format!("it describes no machine: {error}"));
    let mut value: serde_json::Value = serde_json::from_str(text).map_err(invalid)?;
    let host = value.get_mut("host").map(serde_json::Value::take).unwrap_or(value);
    serde_json::from_value(host).map_err(invalid)
}

/// A small text file.
pub(crate) fn read(path: &Path) -> Result<String> {
    let fail = |error| Error::io("cannot read", path, error);
    // Opening a pipe would wait for its writer.
    if !path.metadata().map_err(fail)?.is_file() {
        return Err(Error::new(codes::IO, format!("cannot read `{}`: it is no file", path.display())));
    }
    let mut text = String::new();
    File::open(path).map_err(fail)?.take(MOST_BYTES).read_to_string(&mut text).map_err(fail)?;
    Ok(text)
}

//! The machine that is planned for: this one, or one that is described in a file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use diagnostic::{Error, Result, codes};
use host::{Host, Overrides, fixture};
use planner::hardware::Hardware;
use planner::memory::gigabytes;
use planner::profiles::{self, How, Kind, Profile};

use crate::speed::DataSheet;

/// The longest file that is read.
const MOST_BYTES: u64 = 4 << 20;
/// The file that `cargo xtask doctor --save DIR` writes.
const SAVED: &str = "tree.txt";

/// Main memory of the machine around a card, or of a CPU, of which a profile knows nothing.
const ASSUMED_RAM: u64 = 32 << 30;

/// A machine, and what was seen of it where it is this one.
pub(crate) struct Machine {
    pub(crate) hardware: Hardware,
    /// `None` for another machine: nothing was measured there.
    pub(crate) here: Option<Host>,
    pub(crate) data_sheet: DataSheet,
    /// What a person should know of what was assumed.
    pub(crate) notes: Vec<String>,
}

/// `auto` for this machine, the name of a profile, or a file that `cargo xtask doctor` has written.
///
/// # Errors
/// [`codes::HARDWARE_UNKNOWN`]: there is neither; the file is damaged.
pub(crate) fn find(name: &str) -> Result<Machine> {
    if name == "auto" {
        let host = Host::probe_at(Path::new("/"), Overrides::live().with_nvml());
        let hardware = Hardware::of_host(&host, "this machine")?;
        let data_sheet = data_sheet(&hardware);
        return Ok(Machine { hardware, here: Some(host), data_sheet, notes: Vec::new() });
    }
    let path = Path::new(name);
    if !path.exists() {
        let found = profiles::find(name);
        if let How::Unknown(nearest) = &found.how {
            let message = format!("`{}` is neither a profile nor a file that describes a machine", name.escape_debug());
            return Err(Error::new(codes::HARDWARE_UNKNOWN, message)
                .hint(format!("the nearest profiles are `{}`; `auto` is this machine", nearest.join("`, `")))
                .hint("`cargo xtask doctor --save DIR` writes one that can be taken elsewhere"));
        }
        let mut notes = Vec::new();
        if let How::SmallestMemory(sizes) = &found.how {
            let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
            notes.push(format!(
                "it is sold with {} GiB, and the least was taken: `{name}:{}` for another",
                sizes.join(", "),
                sizes.last().map_or("", String::as_str)
            ));
        }
        notes.extend(found.profile.note.clone());
        if found.profile.kind != Kind::Soc {
            let assumed = gigabytes(ASSUMED_RAM);
            notes.push(format!("the profile does not know the main memory beside it: {assumed} were assumed"));
        }
        let hardware = Hardware::of_profile(&found, Some(ASSUMED_RAM / 10 * 9));
        let data_sheet = of_profile(&found.profile);
        return Ok(Machine { hardware, here: None, data_sheet, notes });
    }
    let path = if path.is_dir() { path.join(SAVED) } else { path.to_owned() };
    let text = read(&path)?;
    let described = host_of(&text).map_err(|error| error.context(format_args!("`{}`", path.display())))?;
    let hardware = Hardware::of_host(&described, &path.display().to_string())?;
    let data_sheet = data_sheet(&hardware);
    Ok(Machine { hardware, here: None, data_sheet, notes: Vec::new() })
}

/// What a profile says of its memory.
fn of_profile(profile: &Profile) -> DataSheet {
    let gb_s = (profile.devices == 1).then_some(profile.bandwidth_gbs);
    match profile.kind {
        Kind::Gpu => DataSheet { main_memory: None, gpu: gb_s },
        Kind::Soc => DataSheet { main_memory: gb_s, gpu: gb_s },
        Kind::Cpu => DataSheet { main_memory: gb_s, gpu: None },
    }
}

/// What the catalogue knows of the parts of a machine that was looked at. The data sheet of a CPU is of a whole socket with
/// all of its memory, of which a machine may have a small part; so it does not count.
fn data_sheet(hardware: &Hardware) -> DataSheet {
    let known = |name: &str| {
        let found = profiles::find(name);
        let is_known = !matches!(found.how, How::Unknown(_)) && found.profile.kind != Kind::Cpu;
        is_known.then(|| of_profile(&found.profile))
    };
    let of_chip = known(&hardware.name).unwrap_or_default();
    match hardware.machine.gpus.as_slice() {
        [only] => DataSheet { gpu: known(&only.name).and_then(|sheet| sheet.gpu).or(of_chip.gpu), ..of_chip },
        _ => DataSheet { gpu: None, ..of_chip },
    }
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

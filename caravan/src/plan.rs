//! `caravan plan`: a configuration for a model on a machine, in the format that is needed.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use diagnostic::Result;
use planner::configuration::{self, Configuration, Format, Model};

use crate::subject::{Found, Wanted};
use crate::{doctor, ui};

/// Generate a configuration that fits, in the format that is needed
///
/// Every value is computed or measured; the reasons are shown with `--why`. The same question as `caravan doctor` is
/// answered first, and the same is refused.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    wanted: Wanted,
    /// `command-line`, `environment`, `preset` (llama.cpp's INI), `yaml`, `json`, `modelfile`
    #[arg(long, default_value = "command-line", value_name = "FORMAT")]
    format: Format,
    /// Take what fits only when something is given up
    #[arg(long)]
    accept_degraded: bool,
    /// Write it to a file, and not to the screen
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the reason of every value beside it, for people
    #[arg(long)]
    why: bool,
}

impl Flags {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let found = self.wanted.answer()?;
        doctor::accept(&found, self.accept_degraded)?;
        let configuration = configuration(&found);
        let text = if self.why { reasons(&configuration) } else { configuration::write(&configuration, self.format)? };
        for what in &configuration.metadata.degraded {
            ui::note(format!("degraded: {what}"));
        }
        match &self.output {
            Some(path) => build_info::write_atomic(path, text.as_bytes())?,
            None => ui::print(text)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The answer as llama-server's options.
pub(crate) fn configuration(found: &Found) -> Configuration {
    let subject = &found.subject;
    let model = Model { path: &subject.path, size: &subject.size, precision: &subject.precision };
    configuration::make(&found.answer, &found.machine.hardware, &model, &found.measured, &found.speed.text)
}

/// One line per setting: name, value, reason.
fn reasons(configuration: &Configuration) -> String {
    let settings: Vec<crate::setting::Setting> = configuration
        .settings
        .iter()
        .map(|setting| crate::setting::Setting::new(&setting.name, setting.value(), &setting.source))
        .collect();
    crate::setting::Table(settings.iter().collect()).to_string()
}

//! `caravan validate`: what is wrong with a configuration on a machine.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use diagnostic::{Error, Result, codes};
use planner::configuration::{self, Configuration, Finding, Format, Level};
use serde_json::json;

use crate::memory::Model;
use crate::{hardware, ui};

/// Check a configuration against this machine, or another
///
/// It may be in any of the formats that `caravan plan` writes. The model is looked at where its file is there.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The configuration
    file: PathBuf,
    /// Its format; otherwise it is guessed
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// The model, in place of the one that the configuration names
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// `auto` for this machine, a profile such as `rtx-4090`, or what `cargo xtask doctor --save` or `--json` has written
    #[arg(long, default_value = "auto", value_name = "auto|PROFILE|FILE")]
    hardware: String,
    /// Fail where a request has room for fewer tokens
    #[arg(long, value_name = "TOKENS")]
    min_ctx: Option<u64>,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

impl Flags {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let text = hardware::read(&self.file)?;
        let format = self.format.unwrap_or_else(|| Format::of(&text));
        let all = configuration::read(&text, format)
            .map_err(|error| error.context(format_args!("`{}`, read as {format}", self.file.display())))?;
        let machine = hardware::find(&self.hardware)?;
        let mut checked = Vec::new();
        for one in &all {
            let model = self.model(one)?;
            let header = model.as_ref().map(|model| &model.header);
            let findings = configuration::check(one, header, &machine.hardware, self.min_ctx)?;
            checked.push((one, model.is_some(), findings));
        }
        ui::print(if self.json { as_json(format, &checked) } else { screen(format, &checked) })?;
        let worst = checked.iter().flat_map(|(_, _, findings)| findings).map(|finding| finding.level).max();
        let limit = if self.strict { Level::Warning } else { Level::Error };
        match worst {
            Some(level) if level >= limit => {
                let message = format!("`{}` does not suit {}", self.file.display(), machine.hardware.source);
                Err(Error::new(codes::CONFIGURATION_UNFIT, message).hint("`caravan plan` writes one that does"))
            }
            _ => Ok(ExitCode::SUCCESS),
        }
    }

    /// The model that is named, where it is there: beside the configuration, if its path is not absolute.
    fn model(&self, configuration: &Configuration) -> Result<Option<Model>> {
        if let Some(path) = &self.model {
            return Model::open(path).map(Some);
        }
        let Some(path) = &configuration.model else { return Ok(None) };
        let beside = self.file.parent().unwrap_or(Path::new("")).join(path);
        [PathBuf::from(path), beside].iter().find(|path| path.is_file()).map(|path| Model::open(path)).transpose()
    }
}

type Checked<'a> = (&'a Configuration, bool, Vec<Finding>);

fn screen(format: Format, checked: &[Checked<'_>]) -> String {
    let mut text = String::new();
    for (configuration, looked, findings) in checked {
        let name = configuration.name.as_deref().map(|name| format!(" [{}]", name.escape_debug())).unwrap_or_default();
        let count = configuration.settings.len();
        text.push_str(&format!("{format}{name}: {count} settings\n"));
        if !looked && configuration.model.is_some() {
            text.push_str("note: the model's file is not here: memory was not checked\n");
        }
        for Finding { level, message, fix, .. } in findings {
            let word = match level {
                Level::Note => "note",
                Level::Warning => "warning",
                Level::Error => "error",
            };
            text.push_str(&format!("{word}: {message}\n"));
            if !fix.is_empty() {
                text.push_str(&format!("hint: {fix}\n"));
            }
        }
        if findings.iter().all(|finding| finding.level == Level::Note) {
            text.push_str("nothing is wrong with it\n");
        }
    }
    text
}

fn as_json(format: Format, checked: &[Checked<'_>]) -> String {
    let all = checked.iter().map(|(configuration, looked, findings)| {
        json!({
            "name": configuration.name,
            "model": configuration.model,
            "model_checked": looked,
            "findings": findings,
        })
    });
    let value = json!({ "format": format, "configurations": all.collect::<Vec<_>>() });
    serde_json::to_string_pretty(&value).expect("findings hold only strings")
}

//! Settings of llama-server as plain data, in every format in which people keep them, and what is wrong with them.
//!
//! | module | job |
//! |---|---|
//! | `options` | every option of llama-server at the pin |
//! | `make` | a configuration from an [`Answer`](crate::feasibility::Answer) |
//! | `command_line`, `environment`, `preset`, `document`, `modelfile` | one format each: written and read |
//! | [`check`] | what is wrong, and how to mend it |

mod check;
mod command_line;
mod document;
mod environment;
mod make;
mod modelfile;
pub mod options;
mod preset;

use std::fmt;
use std::str::FromStr;

use diagnostic::{Error, Result, codes};
use serde::{Deserialize, Serialize};

pub use check::{Finding, Level, check};
pub use make::{Measured, Model, make};
use options::Known;

/// The longest text that is read, in bytes. What people write takes a hundredth of it.
pub const MOST_BYTES: usize = 256 << 10;
/// The most settings that are read.
const MOST_SETTINGS: usize = 1024;

/// How llama-server is to be run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configuration {
    /// What it is called where several stand in one file.
    pub name: Option<String>,
    /// The model's file.
    pub model: Option<String>,
    /// All other options.
    pub settings: Vec<Setting>,
    /// What was known when it was written.
    pub metadata: Metadata,
}

/// An option with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The option's longest name, without dashes; one that llama-server does not have is kept as it was written.
    pub name: String,
    /// What it is set to.
    pub value: Value,
    /// Why; empty when nobody says so.
    pub source: String,
}

/// What an option is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A value.
    Text(String),
    /// On or off, of an option that takes no value.
    Switch(bool),
}

impl Setting {
    pub(crate) fn text(name: &str, value: impl fmt::Display, source: impl Into<String>) -> Setting {
        Setting { name: name.to_owned(), value: Value::Text(value.to_string()), source: source.into() }
    }

    /// Its value as text: `1` and `0` of a switch.
    pub fn value(&self) -> &str {
        match &self.value {
            Value::Text(text) => text,
            Value::Switch(true) => "1",
            Value::Switch(false) => "0",
        }
    }
}

/// What was known when a configuration was written; for people, and for who reads it years later.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// The machine that it was made for.
    pub hardware: String,
    /// What it is for.
    pub use_case: String,
    /// Size and quantisation of the model.
    pub model_size: String,
    /// How weights are kept.
    pub precision: String,
    /// Speed, and where that figure comes from.
    pub expected: String,
    /// Bytes of main memory and of GPUs, computed before anything was loaded.
    pub estimated_memory: Memory,
    /// What was given up. Whoever uses it should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<String>,
}

/// Bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Of main memory.
    pub ram_bytes: u64,
    /// Of GPUs.
    pub vram_bytes: u64,
}

impl Metadata {
    /// One line per fact, for formats that have only comments.
    fn lines(&self) -> Vec<String> {
        let memory = &self.estimated_memory;
        let facts = [
            ("hardware", self.hardware.clone()),
            ("use case", self.use_case.clone()),
            ("model", format!("{} {}", self.model_size, self.precision).trim().to_owned()),
            ("expected", self.expected.clone()),
            (
                "memory",
                match (memory.ram_bytes, memory.vram_bytes) {
                    (0, 0) => String::new(),
                    (ram, 0) => crate::memory::gigabytes(ram),
                    (ram, vram) => {
                        format!("{}, and {} of GPUs", crate::memory::gigabytes(ram), crate::memory::gigabytes(vram))
                    }
                },
            ),
        ];
        let facts = facts.into_iter().filter(|(_, fact)| !fact.is_empty());
        let facts = facts.map(|(key, fact)| format!("{key}: {fact}"));
        let degraded = self.degraded.iter().map(|what| format!("{DEGRADED}{what}"));
        facts.chain(degraded).map(|line| line.replace(char::is_control, " ")).collect()
    }

    /// Takes over a comment that [`Metadata::lines`] has written; others are for people alone.
    fn read_line(&mut self, comment: &str) {
        let degraded = comment.trim_start_matches(['#', ';', ' ']).strip_prefix(DEGRADED);
        self.degraded.extend(degraded.map(|what| what.trim().to_owned()));
    }
}

const DEGRADED: &str = "degraded: ";

/// A format in which settings are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// `llama-server --model ...`, for a shell.
    CommandLine,
    /// `LLAMA_ARG_...=...`, one a line, as container engines read it.
    Environment,
    /// llama.cpp's own: `llama-server --models-preset FILE`.
    Preset,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
    /// Ollama's.
    Modelfile,
}

impl Format {
    /// Every format, as the command line lists them.
    pub const ALL: [Format; 6] =
        [Format::CommandLine, Format::Environment, Format::Preset, Format::Yaml, Format::Json, Format::Modelfile];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::CommandLine => "command-line",
            Format::Environment => "environment",
            Format::Preset => "preset",
            Format::Yaml => "yaml",
            Format::Json => "json",
            Format::Modelfile => "modelfile",
        }
    }

    /// The format that a text has, by its first line that says something.
    pub fn of(text: &str) -> Format {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
        let Some(first) = lines.clone().next() else { return Format::CommandLine };
        let is_assignment = |line: &str| {
            let name = line.strip_prefix("export ").unwrap_or(line).split_once('=').map(|(name, _)| name);
            name.is_some_and(|name| {
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
            })
        };
        match first {
            _ if first.starts_with('{') => Format::Json,
            _ if first.starts_with('[') => Format::Preset,
            _ if first.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("from ")) => Format::Modelfile,
            _ if is_assignment(first) => Format::Environment,
            _ if first.split_once(':').is_some_and(|(key, rest)| {
                key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                    && (rest.is_empty() || rest.starts_with(' '))
            }) =>
            {
                Format::Yaml
            }
            _ if first.split_once(" = ").is_some() && !first.starts_with('-') => Format::Preset,
            _ => Format::CommandLine,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        let name = match text {
            "cli" => "command-line",
            "env" => "environment",
            "ini" => "preset",
            name => name,
        };
        Format::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| {
            let names = Format::ALL.map(|format| format!("`{format}`")).join(", ");
            format!("unknown format `{}`, there are {names}", text.escape_debug())
        })
    }
}

/// Writes a configuration. What a format cannot say is left out, with a comment that says so.
///
/// # Errors
/// [`codes::CONFIGURATION_INVALID`]: a value cannot be written in this format, such as a line break in a path.
pub fn write(configuration: &Configuration, format: Format) -> Result<String> {
    match format {
        Format::CommandLine => command_line::write(configuration),
        Format::Environment => environment::write(configuration),
        Format::Preset => preset::write(configuration),
        Format::Yaml => document::write_yaml(configuration),
        Format::Json => Ok(document::write_json(configuration)),
        Format::Modelfile => modelfile::write(configuration),
    }
}

/// Whether a format can say a setting.
pub fn can_say(format: Format, setting: &Setting) -> bool {
    match format {
        Format::Environment => environment::variable(setting).is_some(),
        Format::Modelfile => modelfile::parameter(setting).is_some(),
        Format::CommandLine | Format::Preset | Format::Yaml | Format::Json => true,
    }
}

/// Reads what [`write()`] writes, and what people write; a preset may hold several.
///
/// # Errors
/// [`codes::CONFIGURATION_INVALID`]: it is not of this format, or too large.
pub fn read(text: &str, format: Format) -> Result<Vec<Configuration>> {
    if text.len() > MOST_BYTES {
        return Err(invalid(format!("{} bytes are more than the {MOST_BYTES} that are read", text.len())));
    }
    let all = match format {
        Format::CommandLine => vec![command_line::read(text)?],
        Format::Environment => vec![environment::read(text)?],
        Format::Preset => preset::read(text)?,
        Format::Yaml => vec![document::read_yaml(text)?],
        Format::Json => vec![document::read_json(text)?],
        Format::Modelfile => vec![modelfile::read(text)?],
    };
    if all.iter().map(|one| one.settings.len()).sum::<usize>() > MOST_SETTINGS {
        return Err(invalid(format!("there are more than {MOST_SETTINGS} settings")));
    }
    Ok(all)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(codes::CONFIGURATION_INVALID, message)
}

impl Configuration {
    /// Takes over an option that was written as `name` with `value`: a later one wins, as in llama-server.
    fn set(&mut self, name: &str, value: Value) {
        if name == "model" {
            if let Value::Text(path) = value {
                self.model = Some(path);
            }
            return;
        }
        self.settings.retain(|setting| setting.name != name);
        self.settings.push(Setting { name: name.to_owned(), value, source: String::new() });
    }

    /// Takes over a value that stands beside an option's name, as in files: a switch is on or off by its value.
    fn assign(&mut self, written: &str, known: Option<Known>, value: &str) {
        match known {
            None => self.set(written, Value::Text(value.to_owned())),
            Some(Known { option, negated }) if !option.takes_value => {
                self.set(option.name(), Value::Switch(options::is_true(value) != negated));
            }
            Some(Known { option, .. }) => self.set(option.name(), Value::Text(value.to_owned())),
        }
    }

    /// What an option is set to.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }
}

/// A configuration as arguments of llama-server, but for the model.
pub fn arguments(configuration: &Configuration) -> Vec<String> {
    let words = configuration.settings.iter().flat_map(|setting| {
        let (name, value) = command_line::argument(setting);
        [Some(name), value.map(str::to_owned)]
    });
    words.flatten().collect()
}

/// Refuses characters that would end a line, in formats without quotes.
fn one_line(text: &str) -> Result<&str> {
    if text.chars().any(char::is_control) {
        return Err(invalid(format!(
            "`{}` holds a control character, which this format has no way to write",
            text.escape_debug()
        )));
    }
    Ok(text)
}

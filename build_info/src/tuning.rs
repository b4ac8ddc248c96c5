//! `tuning.json`: what was measured for a build on a host.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::Path;
use std::str::FromStr;

use diagnostic::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document::{self, Format};
use crate::text::{Malformed, is_name, json_text};
use crate::{BuildId, Extra, HostFingerprint};

const FORMAT: Format = Format {
    name: "tuning.json",
    version: Tuning::SCHEMA_VERSION,
    repair: "remove it and measure again with `cargo xtask bench`",
};

/// What was measured for one build on one host, by class of model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub struct Tuning {
    /// Counts breaking changes of this format.
    pub schema_version: u32,
    /// The host that was measured; on any other host the figures mean nothing.
    pub host: HostFingerprint,
    /// The build that was measured.
    pub build: BuildId,
    /// The winners, by class of model: `<size>/<quant>`.
    pub classes: BTreeMap<ModelClass, ClassTuning>,
    /// Keys of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What was measured with one class of model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub struct ClassTuning {
    /// When it was measured (RFC 3339).
    pub date: Timestamp,
    /// Whether the runs differed so much that the winner may be chance.
    pub unstable: bool,
    /// Generating, one token at a time (`-t`).
    pub generation: PhaseTuning,
    /// Reading the prompt, in batches (`-tb`).
    pub prompt: PhaseTuning,
    /// Other settings that won, by llama.cpp's option name without dashes, such as `repack`.
    #[serde(default)]
    pub settings: BTreeMap<String, serde_json::Value>,
    /// Variables that won, such as `GLIBC_TUNABLES`.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Bytes of weights and KV cache that the measured model reads for one token, from which the speed of another model
    /// follows; none when its file does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_token: Option<u64>,
    /// The search that found all this; none when only thread counts were measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
    /// Keys of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

impl ClassTuning {
    /// [`settings`](ClassTuning::settings) as they are written on a command line: name without dashes, value.
    pub fn options(&self) -> impl Iterator<Item = (&str, String)> {
        let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.settings.iter().map(move |(name, value)| (name.as_str(), text(value)))
    }
}

/// How settings were found, and what they brought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub struct Search {
    /// What was to become faster: `no-harm`, `prompt`, `generation` or `balanced`.
    pub goal: String,
    /// The build that it started from, with llama.cpp's own settings.
    pub baseline: BuildId,
    /// Speed of prompts over the baseline's, measured in turn; above 1 is faster.
    pub prompt_ratio: f64,
    /// Speed of generation over the baseline's.
    pub generation_ratio: f64,
    /// Whether every knob was tried; otherwise the time ran out.
    pub complete: bool,
    /// Keys of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The winner of one phase, and all that it won against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub struct PhaseTuning {
    /// The winning thread count.
    pub threads: NonZeroU32,
    /// Its median, in tokens per second.
    pub tokens_per_second: f64,
    /// Tokens read or generated per run, such as 512.
    pub tokens: NonZeroU32,
    /// The thread count that the heuristic gives without any measurement, and its median.
    pub baseline: Figure,
    /// Every thread count that was tried, the winner's among them.
    pub trials: Vec<Trial>,
    /// Keys of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A thread count and its median speed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub struct Figure {
    /// The thread count.
    pub threads: NonZeroU32,
    /// Its median, in tokens per second.
    pub tokens_per_second: f64,
    /// Keys of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The runs of one thread count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub struct Trial {
    /// The thread count.
    pub threads: NonZeroU32,
    /// Tokens per second of each run, in the order in which they ran.
    pub samples: Vec<f64>,
    /// Keys of later versions.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Models that perform alike: their size and quantisation, written `<size>/<quant>`, such as `1b/q4_k_m`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelClass {
    size: String,
    quant: String,
}

impl ModelClass {
    /// A class; both parts are lower-cased and then are 1 to 64 of `a-z`, `0-9`, `-`, `_`, `.`, beginning with a letter
    /// or digit.
    ///
    /// # Errors
    /// A part is empty, too long or holds another character.
    pub fn new(size: &str, quant: &str) -> Result<ModelClass, Malformed> {
        format!("{size}/{quant}").to_ascii_lowercase().parse()
    }

    /// The size: the name of a generated shape (`1b`) or a parameter count.
    pub fn size(&self) -> &str {
        &self.size
    }

    /// The quantisation, such as `q4_k_m`.
    pub fn quant(&self) -> &str {
        &self.quant
    }
}

impl fmt::Display for ModelClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.size, self.quant)
    }
}

impl FromStr for ModelClass {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<ModelClass, Malformed> {
        match text.split_once('/') {
            Some((size, quant)) if is_name(size) && is_name(quant) => {
                Ok(ModelClass { size: size.to_owned(), quant: quant.to_owned() })
            }
            _ => Err(Malformed::new(text, "a model class `<size>/<quant>`")),
        }
    }
}

json_text!(
    ModelClass,
    "^[a-z0-9][a-z0-9._-]{0,63}/[a-z0-9][a-z0-9._-]{0,63}$",
    "<size>/<quant>: models that perform alike"
);

impl Tuning {
    /// The version of the format that this code writes, and the newest that it reads.
    pub const SCHEMA_VERSION: u32 = 1;

    /// Nothing measured yet.
    pub fn new(host: HostFingerprint, build: BuildId) -> Tuning {
        Tuning { schema_version: Tuning::SCHEMA_VERSION, host, build, classes: BTreeMap::new(), extra: Extra::new() }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is damaged ([`BUILD_CORRUPT`](diagnostic::codes::BUILD_CORRUPT)) or newer than this code
    /// ([`SCHEMA_NEWER`](diagnostic::codes::SCHEMA_NEWER)).
    pub fn read(path: &Path) -> Result<Tuning> {
        document::read(&FORMAT, path)
    }

    /// The text of the file: indented JSON with a final newline.
    ///
    /// # Errors
    /// A figure is not finite, so that reading would fail.
    pub fn to_json(&self) -> Result<String> {
        document::encode(&FORMAT, self)
    }

    /// Writes the file atomically.
    ///
    /// # Errors
    /// As [`Tuning::to_json`], or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        crate::write_atomic(path, self.to_json()?.as_bytes())
    }
}

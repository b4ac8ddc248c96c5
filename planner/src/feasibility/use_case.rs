//! What a model is to be used for, and what follows from that.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::memory::Setting;

/// What a model is to be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UseCase {
    /// A bit of everything: several conversations of usual length.
    General,
    /// One reader of long texts.
    LongContext,
    /// Short texts, as fast as it goes.
    Speed,
    /// The answers that the model gives unabridged: nothing is rounded that was not rounded in its file.
    Quality,
    /// A coding assistant, which is of no use with less than 32768 tokens.
    CodingAssistant,
}

impl UseCase {
    /// Every use case, as the command line lists them.
    pub const ALL: [UseCase; 5] =
        [UseCase::General, UseCase::LongContext, UseCase::Speed, UseCase::Quality, UseCase::CodingAssistant];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            UseCase::General => "general",
            UseCase::LongContext => "long-context",
            UseCase::Speed => "speed",
            UseCase::Quality => "quality",
            UseCase::CodingAssistant => "coding-assistant",
        }
    }

    /// The context that it wants of a model that was trained for so many tokens, when nobody asks for another.
    pub fn ctx(self, trained: Option<u64>) -> u64 {
        let trained = trained.unwrap_or(8192);
        match self {
            UseCase::General | UseCase::Quality => trained.min(8192),
            UseCase::Speed => trained.min(4096),
            UseCase::LongContext => trained,
            UseCase::CodingAssistant => 32_768,
        }
    }

    /// The context below which it is of no use.
    pub fn floor(self) -> Option<u64> {
        (self == UseCase::CodingAssistant).then_some(32_768)
    }

    /// Whether keys and values of the context may be rounded, which changes answers a little.
    pub fn may_round(self) -> bool {
        self != UseCase::Quality
    }

    /// How llama-server is run for it.
    pub fn setting(self, ctx: u64) -> Setting {
        match self {
            UseCase::General | UseCase::Speed => Setting::server(ctx),
            // One slot: the whole context for one request, and one row of logits.
            UseCase::LongContext | UseCase::Quality | UseCase::CodingAssistant => Setting::single(ctx),
        }
    }
}

impl fmt::Display for UseCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for UseCase {
    type Err = String;

    fn from_str(text: &str) -> Result<UseCase, String> {
        let name = if text == "assistant" { "coding-assistant" } else { text };
        UseCase::ALL.into_iter().find(|case| case.name() == name).ok_or_else(|| {
            let names = UseCase::ALL.map(|case| format!("`{case}`")).join(", ");
            format!("unknown use case `{}`, there are {names}", text.escape_debug())
        })
    }
}

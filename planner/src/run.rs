//! One text or one conversation, with everything decided: what `caravan run` hands to the program that links llama.cpp.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is generated, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The model.
    pub model: PathBuf,
    /// The text to go on from; `None` reads it from standard input.
    pub prompt: Option<String>,
    /// Whether it is a conversation: the model's chat template is used, and more is read from standard input.
    pub chat: bool,
    /// How the assistant is to behave.
    pub system: Option<String>,
    /// At most so many tokens per answer; `None` for as many as there is room for.
    pub tokens: Option<u32>,
    /// Tokens of the context; 0 for what the model was trained for.
    pub ctx: u32,
    /// Tokens that are computed at once.
    pub ubatch: u32,
    /// Threads for generation.
    pub threads: u32,
    /// Threads for prompts.
    pub threads_batch: u32,
    /// Whether weights are rearranged.
    pub repack: bool,
    /// Whether weights are mapped from the file, and not read.
    pub mmap: bool,
    /// Whether flash attention is used; `None` leaves it to llama.cpp.
    pub flash_attention: Option<bool>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Whether figures are printed at the end.
    pub stats: bool,
    /// Whether one JSON object is printed at the end, and nothing else.
    pub json: bool,
}

/// How tokens are chosen: llama.cpp's samplers, with its defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 always takes the most likely token.
    pub temperature: f32,
    /// Only the so many most likely.
    pub top_k: u32,
    /// Only the most likely that together have this probability.
    pub top_p: f32,
    /// Only those that have this share of the most likely one's probability.
    pub min_p: f32,
    /// Makes what was just said less likely; 1 turns it off.
    pub repeat_penalty: f32,
    /// Of the random numbers.
    pub seed: u32,
}

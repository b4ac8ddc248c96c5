//! Tokens that are computed together.

use std::ptr;

use llama_sys as sys;

use crate::error::{Error, Result};
use crate::{Model, Pos, SeqId, Token};

/// Tokens that are computed together: of one sequence or of many. [`Context::decode`](crate::Context::decode) checks it as a
/// whole; most programs use [`Context::prefill`](crate::Context::prefill) instead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    tokens: Vec<i32>,
    positions: Vec<i32>,
    /// For each token how many sequences it belongs to, and all of them one after the other.
    counts: Vec<i32>,
    sequences: Vec<i32>,
    outputs: Vec<i8>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds a token at a position of one or several sequences; `output` asks for logits after it.
    pub fn push(&mut self, token: Token, position: Pos, sequences: &[SeqId], output: bool) {
        self.tokens.push(token.0);
        self.positions.push(position.0);
        self.counts.push(i32::try_from(sequences.len()).unwrap_or(i32::MAX));
        self.sequences.extend(sequences.iter().map(|sequence| sequence.0));
        self.outputs.push(output.into());
    }

    /// Removes all tokens.
    pub fn clear(&mut self) {
        *self = Batch::default();
    }

    /// How many tokens it holds.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Which tokens have asked for logits.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = bool> {
        self.outputs.iter().map(|output| *output != 0)
    }

    /// Checks everything that llama.cpp would not answer with an error but with an abort, and what it would only log.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NoSuchToken`].
    pub(crate) fn check(&self, model: &Model, most: u32, sequences: u32) -> Result<()> {
        let invalid = |why: String| Err(Error::Invalid { what: "batch", why });
        if self.is_empty() {
            return invalid("it is empty".to_owned());
        }
        if self.len() > most as usize {
            return invalid(format!("it has {} tokens, and the context takes {most} at once", self.len()));
        }
        if let Some(token) = self.tokens.iter().find(|token| !model.has(Token(**token))) {
            return Err(Error::NoSuchToken(Token(*token)));
        }
        if self.positions.contains(&i32::MAX) {
            return invalid("a position is further than any context reaches".to_owned());
        }
        if self.counts.contains(&0) {
            return invalid("a token belongs to no sequence".to_owned());
        }
        if let Some(sequence) = self.sequences.iter().find(|sequence| !(0..sequences as i32).contains(*sequence)) {
            return invalid(format!("there is no sequence {sequence}: the context has {sequences}"));
        }
        let mut rest = &self.sequences[..];
        for count in &self.counts {
            let (own, others) = rest.split_at(*count as usize);
            if own.iter().enumerate().any(|(i, sequence)| own[..i].contains(sequence)) {
                return invalid("a token belongs to a sequence twice".to_owned());
            }
            rest = others;
        }
        Ok(())
    }

    /// Calls `with` with the batch as llama.cpp has it.
    pub(crate) fn with_raw<T>(&self, with: impl FnOnce(sys::llama_batch) -> T) -> T {
        // llama.cpp reads through these pointers and never writes (`llama_batch_allocr::init` copies, src/llama-batch.cpp).
        let mut start = 0;
        let starts = self.counts.iter().map(|count| {
            let own = self.sequences[start..].as_ptr().cast_mut();
            start += *count as usize;
            own
        });
        let mut starts: Vec<*mut i32> = starts.collect();
        with(sys::llama_batch {
            n_tokens: i32::try_from(self.tokens.len()).unwrap_or(i32::MAX),
            token: self.tokens.as_ptr().cast_mut(),
            embd: ptr::null_mut(),
            pos: self.positions.as_ptr().cast_mut(),
            n_seq_id: self.counts.as_ptr().cast_mut(),
            seq_id: starts.as_mut_ptr(),
            logits: self.outputs.as_ptr().cast_mut(),
        })
    }
}

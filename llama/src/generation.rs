//! The two phases of a text: a prompt is read, then tokens are generated.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::{Batch, Context, Pos, Sampler, SeqId, Token};

/// How long the phases took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Time to read them: what it takes until the first token can be chosen.
    pub prompt: Duration,
    /// Time of each token that was generated since, in their order.
    pub steps: Vec<Duration>,
}

impl Figures {
    /// Tokens of the prompt per second; `None` when it was read in no time.
    pub fn prompt_per_second(&self) -> Option<f64> {
        rate(self.prompt_tokens, self.prompt)
    }

    /// Generated tokens per second; `None` when none was.
    pub fn generated_per_second(&self) -> Option<f64> {
        rate(self.steps.len(), self.steps.iter().sum())
    }

    /// The time between two tokens that `share` of them kept to: 0.5 for the median, 0.95 for all but the slowest.
    pub fn inter_token(&self, share: f64) -> Option<Duration> {
        let mut steps = self.steps.clone();
        steps.sort_unstable();
        let last = steps.len().checked_sub(1)?;
        Some(steps[(last as f64 * share.clamp(0.0, 1.0)).round() as usize])
    }
}

fn rate(tokens: usize, time: Duration) -> Option<f64> {
    (tokens > 0 && !time.is_zero()).then(|| tokens as f64 / time.as_secs_f64())
}

/// A text whose prompt has been read: what remains is to choose the next token, again and again.
#[derive(Debug)]
pub struct Generation<'c> {
    context: &'c mut Context,
    sequence: SeqId,
    /// Of the output in the last batch.
    index: usize,
    position: Pos,
    figures: Figures,
    batch: Batch,
}

impl Context {
    /// Reads a prompt behind what the first sequence holds: with the threads for prompts, in parts of
    /// [`n_ubatch`](Context::n_ubatch), so that it can be cancelled between them.
    ///
    /// # Errors
    /// [`Error::Full`]: it is longer than there is room; nothing was read. [`Error::Cancelled`]: what was read stays.
    /// [`Error::Invalid`]: it is empty. [`Error::NoSuchToken`], [`Error::Fatal`].
    pub fn prefill(&mut self, prompt: &[Token]) -> Result<Generation<'_>> {
        let sequence = SeqId::default();
        let start = self.next_position(sequence)?;
        if prompt.is_empty() {
            return Err(Error::Invalid { what: "prompt", why: "it is empty".to_owned() });
        }
        if let Some(token) = prompt.iter().find(|token| !self.model().has(**token)) {
            return Err(Error::NoSuchToken(*token));
        }
        let capacity = self.n_ctx();
        if prompt.len() > capacity.saturating_sub(start.index()) as usize {
            return Err(Error::Full { capacity });
        }
        let began = Instant::now();
        let mut batch = Batch::new();
        let mut position = start;
        let size = self.n_ubatch() as usize;
        let last = prompt.len() - 1;
        for (part, tokens) in prompt.chunks(size).enumerate() {
            batch.clear();
            for (i, token) in tokens.iter().enumerate() {
                batch.push(*token, position, &[sequence], part * size + i == last);
                position.0 += 1;
            }
            if let Err(error) = self.decode(&batch) {
                // Other sequences have taken the room: as if it had not been tried.
                if matches!(error, Error::Full { .. }) {
                    let _ = self.remove(sequence, start..);
                }
                return Err(error);
            }
        }
        let figures = Figures { prompt_tokens: prompt.len(), prompt: began.elapsed(), steps: Vec::new() };
        Ok(Generation { index: batch.len() - 1, context: self, sequence, position, figures, batch })
    }
}

impl Generation<'_> {
    /// Chooses the next token; [`step`](Generation::step) then takes it.
    ///
    /// # Errors
    /// [`Error::OtherModel`]: the sampler is another model's. [`Error::NoLogits`]: the last step failed.
    pub fn sample(&mut self, sampler: &mut Sampler) -> Result<Token> {
        self.context.sample(sampler, self.index)
    }

    /// The logits from which the next token is chosen.
    ///
    /// # Errors
    /// [`Error::NoLogits`]: the last step failed.
    pub fn logits(&self) -> Result<&[f32]> {
        self.context.logits(self.index)
    }

    /// Takes a token into the text, with the threads for generation.
    ///
    /// # Errors
    /// [`Error::Full`]: there is no room left; the text stays as it is. [`Error::Cancelled`], [`Error::NoSuchToken`],
    /// [`Error::Fatal`].
    pub fn step(&mut self, token: Token) -> Result<()> {
        let began = Instant::now();
        if self.position.index() >= self.context.n_ctx() {
            return Err(Error::Full { capacity: self.context.n_ctx() });
        }
        self.batch.clear();
        self.batch.push(token, self.position, &[self.sequence], true);
        self.context.decode(&self.batch)?;
        self.index = 0;
        self.position.0 += 1;
        self.figures.steps.push(began.elapsed());
        Ok(())
    }

    /// Where the next token goes.
    pub fn position(&self) -> Pos {
        self.position
    }

    /// How long everything took until now.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Its context, to look at.
    pub fn context(&self) -> &Context {
        self.context
    }
}

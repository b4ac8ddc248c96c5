//! Generates one answer.

use diagnostic::Result;
use llama::{Context, Error, Figures, Sampler, Token, Utf8Stream};

use crate::print;

/// What is shown while it is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// Each piece of text as it comes.
    Stream,
    /// Nothing.
    Nothing,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The model ended it.
    End,
    /// It has as many tokens as were asked for.
    Length,
    /// The context is full.
    Full,
    /// Ctrl-C.
    Interrupted,
}

impl Ended {
    /// For programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Ended::End => "end",
            Ended::Length => "length",
            Ended::Full => "context",
            Ended::Interrupted => "interrupted",
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    /// How many tokens were generated.
    pub(crate) tokens: u32,
    pub(crate) ended: Ended,
    pub(crate) figures: Figures,
}

/// Reads the prompt and generates until the model ends, or `most` tokens are there.
///
/// # Errors
/// The prompt does not fit; llama.cpp fails; standard output cannot be written.
pub(crate) fn generate(
    context: &mut Context,
    sampler: &mut Sampler,
    prompt: &[Token],
    most: Option<u32>,
    show: Show,
) -> Result<Answer> {
    let model = context.model().clone();
    let mut answer = Answer { text: String::new(), tokens: 0, ended: Ended::End, figures: Figures::default() };
    let mut generation = match context.prefill(prompt) {
        Err(Error::Cancelled) => return Ok(Answer { ended: Ended::Interrupted, ..answer }),
        prefilled => prefilled?,
    };
    let mut characters = Utf8Stream::default();
    loop {
        if most.is_some_and(|most| answer.tokens >= most) {
            answer.ended = Ended::Length;
            break;
        }
        if process::interrupt::requested() {
            answer.ended = Ended::Interrupted;
            break;
        }
        let token = generation.sample(sampler)?;
        if model.is_end(token) {
            break;
        }
        answer.tokens += 1;
        let piece = characters.push(&model.bytes(token)?);
        if show == Show::Stream {
            print(&piece)?;
        }
        answer.text.push_str(&piece);
        match generation.step(token) {
            Ok(()) => {}
            Err(Error::Full { .. }) => {
                answer.ended = Ended::Full;
                break;
            }
            Err(Error::Cancelled) => {
                answer.ended = Ended::Interrupted;
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let rest = characters.finish();
    if show == Show::Stream {
        print(&rest)?;
    }
    answer.text.push_str(&rest);
    answer.figures = generation.figures().clone();
    Ok(answer)
}

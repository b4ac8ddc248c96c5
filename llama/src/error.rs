//! What can go wrong, and what is left of it.

use std::path::PathBuf;
use std::{error, fmt};

use diagnostic::codes;

use crate::Token;

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure. Unless it says otherwise, everything is as it was before the call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The library that was loaded is another version of llama.cpp than this crate was made for.
    LibraryVersion {
        /// What this crate was made for.
        expected: &'static str,
        /// What was loaded.
        found: String,
    },
    /// The file is missing, damaged or no model; found before llama.cpp saw it.
    File {
        /// What is wrong.
        message: String,
        /// Its code in Caravan's table.
        code: &'static diagnostic::Code,
    },
    /// llama.cpp refused the model, such as one of an architecture that it does not know.
    Load {
        /// The model.
        path: PathBuf,
        /// What llama.cpp said first.
        said: String,
    },
    /// A model that cannot generate text: an encoder, or one without a vocabulary.
    NotGenerative(&'static str),
    /// [`Canceller::cancel`](crate::Canceller::cancel) was called, or a progress callback said to stop.
    ///
    /// While decoding, the batches that were computed until then stay in the context.
    Cancelled,
    /// No context of these sizes can be made; most often memory is short.
    Context(String),
    /// A number that llama.cpp cannot take.
    Invalid {
        /// Which: `threads`, `batch` ...
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// A token that the model's vocabulary does not have.
    NoSuchToken(Token),
    /// The context is full: the tokens do not fit. Nothing of them was taken.
    Full {
        /// How many there was room for.
        capacity: u32,
    },
    /// Nothing was computed for this position, so that there is nothing to sample from.
    NoLogits(usize),
    /// A sampler of one model was used with a context of another.
    OtherModel,
    /// The model has no chat template, or one that llama.cpp does not know.
    ChatTemplate,
    /// Part of a sequence cannot be removed from this model's memory; the whole can.
    CannotRemovePart,
    /// llama.cpp failed while computing, or did before: this context cannot be used any more.
    Fatal(i32),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::LibraryVersion { expected, found } => {
                write!(f, "libllama is version {found}, and version {expected} is needed")
            }
            Error::File { message, .. } => f.write_str(message),
            Error::Load { path, said } => write!(f, "llama.cpp cannot load `{}`: {said}", path.display()),
            Error::NotGenerative(why) => write!(f, "the model cannot generate text: {why}"),
            Error::Cancelled => f.write_str("cancelled"),
            Error::Context(said) => write!(f, "llama.cpp cannot make a context: {said}"),
            Error::Invalid { what, why } => write!(f, "{what}: {why}"),
            Error::NoSuchToken(token) => write!(f, "the vocabulary has no token {}", token.id()),
            Error::Full { capacity } => write!(f, "the context of {capacity} tokens is full"),
            Error::NoLogits(index) => write!(f, "no logits were asked for at position {index} of the batch"),
            Error::OtherModel => f.write_str("the sampler belongs to another model"),
            Error::ChatTemplate => f.write_str("the model has no chat template that llama.cpp knows"),
            Error::CannotRemovePart => f.write_str("this model's memory cannot lose a part of a sequence"),
            Error::Fatal(code) => write!(f, "llama.cpp failed while computing (code {code})"),
        }
    }
}

impl error::Error for Error {}

impl From<Error> for diagnostic::Error {
    fn from(error: Error) -> diagnostic::Error {
        let code = match &error {
            Error::File { code, .. } => *code,
            Error::Load { .. } | Error::NotGenerative(_) | Error::ChatTemplate => codes::MODEL_INVALID,
            Error::LibraryVersion { .. } => codes::LIBRARY_MISMATCH,
            Error::Cancelled => codes::INTERRUPTED,
            Error::Invalid { what: "threads", .. } => codes::THREADS_INVALID,
            Error::Full { .. } => codes::CONTEXT_FULL,
            _ => codes::INFERENCE_FAILED,
        };
        let message = error.to_string();
        let told = diagnostic::Error::new(code, message);
        match error {
            Error::LibraryVersion { .. } => told.hint("install the build again, or link one of this version"),
            Error::Full { .. } => told.hint("a longer context holds more: `--ctx`"),
            _ => told,
        }
    }
}

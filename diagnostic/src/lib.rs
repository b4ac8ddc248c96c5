//! The one error type of Caravan.
//!
//! Every failure that a person can meet carries a [`Code`]: a stable name that scripts and bug reports can quote, and the
//! exit number of the process. All codes stand in one table, [`CODES`], from which `docs/errors.md` is generated.
//!
//! Messages follow the house style: lower case, no final period, code in backticks, and what to do next in a hint of its
//! own:
//!
//! ```
//! use diagnostic::{Error, codes};
//!
//! let error = Error::new(codes::MODEL_UNREADABLE, "model `a.gguf` does not exist")
//!     .hint("write one with `cargo xtask model --shape tiny`");
//! assert_eq!(error.code().exit, 50);
//! assert_eq!(error.to_string(), "model `a.gguf` does not exist");
//! ```
#![forbid(unsafe_code)]

pub mod codes;

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::Path;

use anstyle::{AnsiColor, Style};
pub use codes::{CODES, Code};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// The result of everything that can fail in front of a person.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure with a stable code, a message, hints, and the error that caused it.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: &'static Code,
    message: String,
    hints: Vec<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error with a code and one sentence: what failed, where, and why.
    pub fn new(code: &'static Code, message: impl Into<String>) -> Error {
        Error(Box::new(Inner { code, message: message.into(), hints: Vec::new(), source: None }))
    }

    /// A failed file operation: `doing` is a verb phrase such as `cannot read`.
    pub fn io(doing: &str, path: &Path, source: io::Error) -> Error {
        let code = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => codes::DISK_FULL,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => codes::NO_PERMISSION,
            _ => codes::IO,
        };
        Error::new(code, format!("{doing} `{}`: {}", path.display(), plain(&source))).source(source)
    }

    /// Adds what the person can do about it; shown as `hint: ...`.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hints.push(hint.into());
        self
    }

    /// Keeps the error that caused this one; the message must already say what matters of it.
    #[must_use]
    pub fn source(mut self, source: impl StdError + Send + Sync + 'static) -> Error {
        self.0.source = Some(Box::new(source));
        self
    }

    /// Puts `context: ` before the message; code and hints stay.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Error {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// The row of [`CODES`] that this error belongs to.
    pub fn code(&self) -> &'static Code {
        self.0.code
    }

    /// The error with its code and its hints, as the last lines that a program says; in colour, which whoever prints it takes
    /// away where none is wanted.
    pub fn report(&self) -> String {
        let mut text = format!("{ERROR}error{ERROR:#}: {self} [{}]\n", self.code().name);
        for hint in self.hints() {
            text.push_str(&format!("{HINT}hint{HINT:#}: {hint}\n"));
        }
        text
    }

    /// What the person can do, in the order in which it was added.
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// The operating system's sentence in house style: lower case, without `(os error 2)`.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => "unknown error".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_errors_are_sorted_by_what_a_person_can_do() {
        let error = Error::io("cannot write", Path::new("x"), io::Error::from_raw_os_error(28));
        assert_eq!(error.code(), codes::DISK_FULL);
        assert_eq!(error.to_string(), "cannot write `x`: no space left on device");
        let error = Error::io("cannot write", Path::new("x"), io::Error::from_raw_os_error(30));
        assert_eq!(error.code(), codes::NO_PERMISSION);
    }

    #[test]
    fn a_report_is_the_error_its_code_and_a_line_for_each_hint() {
        let error = Error::new(codes::IO, "it broke").hint("mend it").hint("or leave it");
        assert_eq!(
            error.report(),
            "\u{1b}[1m\u{1b}[31merror\u{1b}[0m: it broke [io::failed]\n\
             \u{1b}[1m\u{1b}[36mhint\u{1b}[0m: mend it\n\u{1b}[1m\u{1b}[36mhint\u{1b}[0m: or leave it\n"
        );
    }

    #[test]
    fn codes_and_exit_numbers_are_unique() {
        for (i, code) in CODES.iter().enumerate() {
            assert!(code.exit > 2, "{} collides with usage errors", code.name);
            for other in &CODES[i + 1..] {
                assert_ne!(code.name, other.name);
                assert_ne!(code.exit, other.exit, "{} and {}", code.name, other.name);
            }
        }
    }
}

//! What a person sees: notes and errors on standard error, data on standard output.

use std::io::{ErrorKind, Write};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use diagnostic::{Error, Result};

const NOTE: Style = AnsiColor::Green.on_default().bold();

/// One line about what is being done; it stands among the lines of llama-server, so it says whose it is.
pub(crate) fn note(text: impl AsRef<str>) {
    anstream::eprintln!("{NOTE}caravan{NOTE:#}: {}", text.as_ref());
}

/// Data, to standard output.
///
/// # Errors
/// Standard output cannot be written. A closed pipe (`| head`) is none.
pub(crate) fn print(text: impl AsRef<str>) -> Result<()> {
    let mut out = anstream::stdout();
    match writeln!(out, "{}", text.as_ref().trim_end_matches('\n')).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::io("cannot write", Path::new("standard output"), error))
        }
        _ => Ok(()),
    }
}

/// An error with its hints, as the last thing that a command says.
pub(crate) fn show_error(error: &Error) {
    anstream::eprint!("{}", error.report());
}

//! The password of a secret key: from the environment, or asked for.

use std::env;
use std::io::IsTerminal;

use diagnostic::{Error, Result, codes};

/// Where automation puts it.
pub(crate) const VARIABLE: &str = "CARAVAN_SIGN_PASSWORD";

/// The password in [`VARIABLE`], or what a person types, unseen.
///
/// # Errors
/// It is not set and there is no terminal.
pub(crate) fn ask() -> Result<String> {
    from_environment().map_or_else(|| prompt("password of the secret key: "), Ok)
}

/// As [`ask`], for a key that does not exist yet: a person types it twice, since nothing can tell a slip of the finger.
///
/// # Errors
/// As [`ask`], or the two differ.
pub(crate) fn ask_new() -> Result<String> {
    if let Some(password) = from_environment() {
        return Ok(password);
    }
    let password = prompt("password of the new secret key: ")?;
    if prompt("the same again: ")? == password {
        Ok(password)
    } else {
        Err(unusable("the two that were typed differ").hint("nothing was written; run it again"))
    }
}

/// An empty variable is as good as none.
fn from_environment() -> Option<String> {
    env::var(VARIABLE).ok().filter(|password| !password.is_empty())
}

fn prompt(question: &str) -> Result<String> {
    if !std::io::stderr().is_terminal() {
        return Err(unusable("there is no terminal to ask at").hint(format!("set `{VARIABLE}`")));
    }
    rpassword::prompt_password(question)
        .map_err(|error| unusable(&diagnostic::plain(&error)).hint(format!("set `{VARIABLE}`")))
}

fn unusable(why: &str) -> Error {
    Error::new(codes::KEY_UNUSABLE, format!("no password for the secret key: {why}"))
}

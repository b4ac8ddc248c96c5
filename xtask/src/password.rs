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
    if let Ok(password) = env::var(VARIABLE) {
        return Ok(password);
    }
    let unreadable = |why: String| {
        Error::new(codes::UNSIGNED, format!("no password for the secret key: {why}")).hint(format!("set `{VARIABLE}`"))
    };
    if !std::io::stderr().is_terminal() {
        return Err(unreadable("there is no terminal to ask at".to_owned()));
    }
    rpassword::prompt_password("password of the secret key: ").map_err(|error| unreadable(error.to_string()))
}

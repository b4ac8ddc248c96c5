//! What the process does once, before anything else.

use std::ffi::CStr;
use std::sync::OnceLock;

use crate::error::{Error, Result};
use crate::log;

static STARTED: OnceLock<Result<()>> = OnceLock::new();

/// Starts llama.cpp on first use; later calls cost nothing. It is never ended: a model or context may live as long as the
/// process, and ending it while one lives is what other wrappers crash on.
///
/// # Errors
/// [`Error::LibraryVersion`]: the loaded library has other structures than this crate knows.
pub(crate) fn start() -> Result<()> {
    STARTED
        .get_or_init(|| {
            version()?;
            log::listen();
            // SAFETY: may be called at any time; `OnceLock` lets nobody else in until it has returned.
            unsafe { llama_sys::llama_backend_init() };
            Ok(())
        })
        .clone()
}

/// The version of the llama.cpp that was loaded, such as `0.5.0`.
///
/// # Errors
/// [`Error::LibraryVersion`]: it is another one than this crate was made for.
pub fn version() -> Result<String> {
    // SAFETY: takes nothing and returns a constant string (`LLAMA_VERSION` in src/llama.cpp).
    let found = unsafe { CStr::from_ptr(llama_sys::llama_version()) }.to_string_lossy().into_owned();
    let expected = llama_sys::version();
    // Builds between releases say `0.5.0-dev`.
    if found.split('-').next() == Some(expected) { Ok(found) } else { Err(Error::LibraryVersion { expected, found }) }
}

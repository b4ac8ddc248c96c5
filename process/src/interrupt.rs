//! Ctrl-C, SIGTERM and SIGHUP as a flag that long work looks at.
//!
//! The first signal asks for an orderly end; a second one ends the process at once, as people expect.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use diagnostic::{Error, Result, codes};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Listens for the signals from now on. Call it once, first thing in `main`; without it signals keep their default
/// action and [`requested`] stays false.
///
/// # Panics
/// Never in practice: the three signals may all be handled.
pub fn install() {
    let requested = Arc::clone(REQUESTED.get_or_init(Arc::default));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register_conditional_shutdown(signal, codes::INTERRUPTED.exit.into(), Arc::clone(&requested))
            .and_then(|_| flag::register(signal, Arc::clone(&requested)))
            .expect("SIGINT, SIGTERM and SIGHUP may be handled");
    }
}

/// Whether we were asked to stop.
pub fn requested() -> bool {
    REQUESTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Fails once we were asked to stop; call it wherever long work can be left cleanly.
///
/// # Errors
/// [`codes::INTERRUPTED`].
pub fn check() -> Result<()> {
    if requested() { Err(Error::new(codes::INTERRUPTED, "interrupted")) } else { Ok(()) }
}

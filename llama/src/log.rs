//! llama.cpp's messages become events of `tracing`, target `llama.cpp`; without a subscriber they go nowhere.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};
use std::panic;

use llama_sys::{ggml_log_level, llama_log_set};

/// A line is handed on when it is whole; one that never ends is cut here, in bytes.
const LONGEST: usize = 64 << 10;

#[derive(Default)]
struct Heard {
    /// The line that is being written, and its level.
    line: String,
    level: u32,
    /// The first error since it was last asked for.
    error: Option<String>,
}

thread_local! {
    static HEARD: RefCell<Heard> = RefCell::default();
}

/// Listens from now on.
pub(crate) fn listen() {
    // SAFETY: `heard` is a function for ever, unwinds never, and takes no data.
    unsafe { llama_log_set(Some(heard), std::ptr::null_mut()) };
}

/// The first error that llama.cpp has reported on this thread since the last call; loading reports on the thread that loads.
pub(crate) fn take_error() -> Option<String> {
    HEARD.with_borrow_mut(|heard| heard.error.take())
}

/// What llama.cpp calls with each piece of text.
unsafe extern "C-unwind" fn heard(level: ggml_log_level, text: *const c_char, _data: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: llama.cpp passes a string that ends with a zero and lives until we return (`llama_log_internal` in
    // src/llama-impl.cpp).
    let text = unsafe { CStr::from_ptr(text) };
    // A subscriber is somebody else's code; a panic of it must not run through C++.
    let _ = panic::catch_unwind(|| note(level, &text.to_string_lossy()));
}

fn note(level: ggml_log_level, text: &str) {
    let mut whole = Vec::new();
    // Not held while a subscriber runs: it may log again. A thread that is ending has nowhere to gather lines.
    let _ = HEARD.try_with(|heard| {
        let Ok(mut heard) = heard.try_borrow_mut() else { return };
        if level != ggml_log_level::GGML_LOG_LEVEL_CONT {
            heard.level = level.0;
        }
        for piece in text.split_inclusive('\n') {
            heard.line.push_str(piece);
            if piece.ends_with('\n') || heard.line.len() > LONGEST {
                let line = std::mem::take(&mut heard.line).trim_end().to_owned();
                // The first says why, those after it what that has led to.
                if heard.level == ggml_log_level::GGML_LOG_LEVEL_ERROR.0 && !line.is_empty() {
                    heard.error.get_or_insert_with(|| line.clone());
                }
                whole.push((ggml_log_level(heard.level), line));
            }
        }
    });
    for (level, line) in whole.into_iter().filter(|(_, line)| !line.is_empty()) {
        match level {
            ggml_log_level::GGML_LOG_LEVEL_ERROR => tracing::error!(target: "llama.cpp", "{line}"),
            ggml_log_level::GGML_LOG_LEVEL_WARN => tracing::warn!(target: "llama.cpp", "{line}"),
            ggml_log_level::GGML_LOG_LEVEL_INFO => tracing::info!(target: "llama.cpp", "{line}"),
            _ => tracing::debug!(target: "llama.cpp", "{line}"),
        }
    }
}

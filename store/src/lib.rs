//! Installed builds side by side, activated atomically.
#![forbid(unsafe_code)]

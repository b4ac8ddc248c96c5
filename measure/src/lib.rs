//! Drives llama-bench, measures read bandwidth, and keeps the statistics honest.
#![forbid(unsafe_code)]

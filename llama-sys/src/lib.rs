//! Links llama.cpp, compiled from the pinned source or already installed.
#![forbid(unsafe_code)]

//! How llama.cpp is compiled: build plans, the cmake driver, gates.
#![forbid(unsafe_code)]

//! The store from outside: builds of small shell scripts, installed, damaged, raced and killed.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod activation;
mod child;
mod concurrency;
mod crash;
mod failure;
mod install;
mod inventory;
mod measured;
mod origin;
mod support;

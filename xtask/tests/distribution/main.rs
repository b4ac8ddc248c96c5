//! The commands that make, sign, push, check and install artefacts, as a person runs them: the real program, a real registry on
//! the loopback interface, and artefacts that are packed here around tools of a few lines of C.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod artefacts;
mod by_hand;
mod damage;
mod ended;
mod home;
mod hostile;
mod image;
mod install;
mod push;
mod refusals;
mod trust;

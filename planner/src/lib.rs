//! What a model needs of a machine, decided from its header before it is loaded: pure functions over plain data, without
//! files, processes or a clock.
//!
//! - [`class`] says which measurements a model shares with others: [`build_info::ModelClass`].
//! - [`memory`] adds up what running it takes, and refuses what does not fit.
//! - [`profiles`] has machines by name, for planning without having one.
//! - [`run`] is one text or conversation, with everything decided.
#![forbid(unsafe_code)]

pub mod class;
pub mod memory;
pub mod profiles;
pub mod run;

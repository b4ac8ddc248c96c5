//! What a model needs of a machine, decided from its header before it is loaded: pure functions over plain data, without
//! files, processes or a clock.
//!
//! - [`class`] says which measurements a model shares with others: [`build_info::ModelClass`].
//! - [`memory`] adds up what running it takes, device by device, and refuses what does not fit.
//! - [`speed`] says how fast it runs, where something was measured or a data sheet is known.
//! - [`feasibility`] answers whether a model can be run as it is wanted, on [`hardware`]; [`described`] models do for
//!   those that are not there, and [`profiles`] for machines.
//! - [`configuration`] writes and reads settings in the formats that llama.cpp's users have, and checks them.
//! - [`run`] is one text or conversation, with everything decided.
#![forbid(unsafe_code)]

pub mod class;
pub mod configuration;
pub mod described;
pub mod feasibility;
pub mod hardware;
pub mod memory;
pub mod profiles;
pub mod run;
pub mod speed;

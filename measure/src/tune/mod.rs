//! Finds the best settings of a machine by measuring.
//!
//! [`Space`] says what may be tried ([`llama::space`] what is worth it on a machine), [`search`](search()) decides what to measure next and what it means, a [`Sampler`]
//! measures ([`LlamaBench`] with the real thing), the [`Journal`] keeps every round, and the [`Outcome`] is what came of
//! it; [`render`] shows it to a person.

mod goal;
mod journal;
pub mod llama;
mod outcome;
mod sampler;
mod search;
mod setup;
mod space;
mod text;

pub use goal::{Goal, Judgement, LOSS_ALLOWED, Request, Speed};
pub use journal::{Failure, Journal, Part, Round, SCHEMA_VERSION, Sample, Sizes, Spent};
pub use outcome::{Drift, Outcome, Rates, Stop, Together, Tried, Verdict};
pub use sampler::LlamaBench;
pub use search::{Event, Sampler, Wish, search, spent_before};
pub use setup::{Change, Launch, Run, Setup};
pub use space::{Choice, Knob, Skipped, Space, Stage};
pub use text::{render, tried, verdict};

//! What to run ([`Plan`]), and running it ([`run`]).

mod plan;
mod run;

pub use plan::{Build, Child, Plan};
pub use run::{Event, run};

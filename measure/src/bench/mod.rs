//! What to run ([`Plan`]), and running it ([`run`]).

mod plan;
pub(crate) mod record;
mod run;

pub use plan::{Build, Child, Plan};
pub use run::{Event, run};

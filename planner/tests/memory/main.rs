//! The memory model: against llama.cpp's own account, and against its rules where no machine is at hand to ask.

mod fit_page;
mod hybrids;
mod models;
mod oracle;
mod rules;

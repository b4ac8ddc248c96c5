//! Runs models with llama.cpp.
//!
//! # A tour
//!
//! A [`Model`] is weights and vocabulary. A [`Context`] is a place to compute: it holds what the model has read. A
//! [`Generation`] is a text whose prompt has been read; a [`Sampler`] chooses what comes next.
//!
//! ```no_run
//! use llama::{Context, ContextOptions, Model, ModelOptions, Sampler, SamplerOptions, Utf8Stream};
//!
//! let model = Model::load("model.gguf", &ModelOptions::default())?;
//! let mut context = Context::new(&model, &ContextOptions::default())?;
//! let mut sampler = Sampler::new(&model, &SamplerOptions::default())?;
//!
//! let mut generation = context.prefill(&model.tokenize("Once upon a time")?)?;
//! let mut text = Utf8Stream::default();
//! for _ in 0..100 {
//!     let token = generation.sample(&mut sampler)?;
//!     if model.is_end(token) {
//!         break;
//!     }
//!     print!("{}", text.push(&model.bytes(token)?));
//!     generation.step(token)?;
//! }
//! println!("{:?} tokens/s", generation.figures().generated_per_second());
//! # Ok::<(), llama::Error>(())
//! ```
//!
//! **Threads.** The two phases want different thread counts. Unless a context is told otherwise, it takes those that were
//! measured for this build on this machine, and never more than this process may use: [`Threads::for_model`]. They can change
//! at any time: [`Context::set_threads`].
//!
//! **Many at once.** A model may be shared by any number of threads, each with a context of its own. One context may hold
//! several sequences ([`SeqId`]), which are decoded together in one [`Batch`] and share what they have in common:
//! [`Context::copy`].
//!
//! **Stopping.** [`Context::canceller`] ends what is being computed, from anywhere.
//!
//! **Messages.** What llama.cpp logs are events of `tracing`, target `llama.cpp`.
//!
//! # What it promises
//!
//! - No safe call reaches one of llama.cpp's asserts, which end the process: batches, sizes, tokens and sequences are checked.
//! - Callbacks do not unwind into C++.
//! - Models and contexts may be moved, sent to other threads, and dropped in any order.
//! - An exception of C++ that llama.cpp does not catch ends the process; it is never undefined. Vocabularies are known to cause
//!   some: take models from those whom you trust.
//!
//! # Where llama.cpp comes from
//!
//! From an installed build: `LLAMA_LIB_DIR` names its `lib` directory while compiling (see `llama-sys`). A program finds it
//! again at run time by its own rpath, such as `$ORIGIN/../lib` for one that is installed beside it.

mod backend;
mod batch;
mod context;
mod error;
mod generation;
mod log;
mod model;
mod pool;
mod sampler;
mod threads;
mod token;
mod utf8;

pub use backend::version;
pub use batch::Batch;
pub use context::{Canceller, Context, ContextOptions};
pub use error::{Error, Result};
pub use generation::{Figures, Generation};
pub use model::{LoadMode, Message, Model, ModelOptions};
pub use sampler::{Sampler, SamplerOptions};
pub use threads::Threads;
pub use token::{Pos, SeqId, Token};
pub use utf8::Utf8Stream;

//! Choosing the next token: llama.cpp's samplers, in llama.cpp's order.

use std::fmt;
use std::ptr::NonNull;

use llama_sys as sys;

use crate::error::{Error, Result};
use crate::{Model, Token};

/// How the next token is chosen. The same seed gives the same tokens from the same logits.
///
/// What narrows the choice is applied in the order of these fields, as in llama.cpp's tools; the default is theirs.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplerOptions {
    /// Makes tokens that were seen among the last `penalty_last` less likely; 1 turns it off.
    pub repeat_penalty: f32,
    /// How many tokens that looks back.
    pub penalty_last: u32,
    /// Only the `k` most likely; 0 turns it off.
    pub top_k: u32,
    /// Only the most likely that together have this probability; 1 turns it off.
    pub top_p: f32,
    /// Only those that have this share of the most likely one's probability; 0 turns it off.
    pub min_p: f32,
    /// Below 1 the likely become likelier; 0 always takes the most likely.
    pub temperature: f32,
    /// Of the random numbers.
    pub seed: u32,
}

impl Default for SamplerOptions {
    /// `common_params_sampling` in common/common.h at the pin, with a fixed seed.
    fn default() -> SamplerOptions {
        SamplerOptions {
            repeat_penalty: 1.0,
            penalty_last: 64,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            temperature: 0.8,
            seed: 0,
        }
    }
}

impl SamplerOptions {
    /// Always the most likely token.
    pub fn greedy() -> SamplerOptions {
        SamplerOptions { temperature: 0.0, ..SamplerOptions::default() }
    }
}

/// Chooses tokens for one text. It remembers what it chose: each text needs its own, or [`Sampler::reset`].
pub struct Sampler {
    chain: NonNull<sys::llama_sampler>,
    model: Model,
}

// SAFETY: a sampler belongs to no thread; its random numbers and history are its own (src/llama-sampler.cpp).
unsafe impl Send for Sampler {}

impl Sampler {
    /// A sampler for texts of this model.
    ///
    /// # Errors
    /// [`Error::Invalid`]: a number is none, or negative.
    pub fn new(model: &Model, options: &SamplerOptions) -> Result<Sampler> {
        let numbers = [
            ("repeat_penalty", options.repeat_penalty, f32::MIN_POSITIVE),
            ("top_p", options.top_p, 0.0),
            ("min_p", options.min_p, 0.0),
            ("temperature", options.temperature, 0.0),
        ];
        for (what, number, least) in numbers {
            if !number.is_finite() || number < least {
                return Err(Error::Invalid { what, why: format!("{number} is not a number that makes sense here") });
            }
        }
        // SAFETY: takes a plain structure that llama.cpp made.
        let chain = unsafe { sys::llama_sampler_chain_init(sys::llama_sampler_chain_default_params()) };
        let chain = NonNull::new(chain).expect("llama.cpp throws when it has no memory");
        let sampler = Sampler { chain, model: model.clone() };
        // SAFETY: each is new, and given to the chain, which frees it.
        unsafe {
            let most = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
            let add = |sampler| sys::llama_sampler_chain_add(chain.as_ptr(), sampler);
            if options.repeat_penalty != 1.0 {
                let last = most(options.penalty_last.min(1 << 20));
                add(sys::llama_sampler_init_penalties(
                    model.n_vocab().cast_signed(),
                    last,
                    options.repeat_penalty,
                    0.0,
                    0.0,
                ));
            }
            if options.temperature == 0.0 {
                add(sys::llama_sampler_init_greedy());
                return Ok(sampler);
            }
            add(sys::llama_sampler_init_top_k(most(options.top_k)));
            add(sys::llama_sampler_init_top_p(options.top_p, 1));
            add(sys::llama_sampler_init_min_p(options.min_p, 1));
            add(sys::llama_sampler_init_temp(options.temperature));
            // Without one that selects at the end, llama.cpp would abort.
            // The largest number would mean a random seed.
            add(sys::llama_sampler_init_dist(options.seed.min(u32::MAX - 1)));
        }
        Ok(sampler)
    }

    /// Forgets what it chose, and begins with its seed again.
    pub fn reset(&mut self) {
        // SAFETY: the chain is alive.
        unsafe { sys::llama_sampler_reset(self.chain.as_ptr()) };
    }

    /// Takes note of a token that it did not choose, such as one of the prompt.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`].
    pub fn accept(&mut self, token: Token) -> Result<()> {
        if !self.model.has(token) {
            return Err(Error::NoSuchToken(token));
        }
        // SAFETY: the chain is alive, and the token one of its vocabulary.
        unsafe { sys::llama_sampler_accept(self.chain.as_ptr(), token.0) };
        Ok(())
    }

    /// Chooses by the logits of one output, and takes note of it.
    ///
    /// # Safety
    /// The context is alive and has logits for this position of the last batch.
    pub(crate) unsafe fn sample(&mut self, context: NonNull<sys::llama_context>, index: i32) -> Token {
        // SAFETY: as the caller promises; the chain ends with a sampler that selects.
        Token(unsafe { sys::llama_sampler_sample(self.chain.as_ptr(), context.as_ptr(), index) })
    }

    pub(crate) fn model(&self) -> &Model {
        &self.model
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        // SAFETY: made in `new`, and freed here alone, with all that it holds.
        unsafe { sys::llama_sampler_free(self.chain.as_ptr()) };
    }
}

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampler").finish_non_exhaustive()
    }
}

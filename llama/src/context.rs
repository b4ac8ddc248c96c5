//! Where a model computes: the KV cache, and what was computed last.

use std::ffi::c_void;
use std::fmt;
use std::ops::RangeFrom;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use llama_sys as sys;

use crate::error::{Error, Result};
use crate::pool::Pools;
use crate::{Batch, Model, Pos, Sampler, SeqId, Threads, Token, backend, log};

/// The most sequences of one context (`LLAMA_MAX_SEQ` in src/llama-cparams.h).
const MOST_SEQUENCES: u32 = 256;

/// Sizes of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextOptions {
    /// Tokens that it holds, of all sequences together; 0 for what the model was trained for.
    pub n_ctx: u32,
    /// Tokens that are taken in at once.
    pub n_batch: u32,
    /// Tokens that are computed at once.
    pub n_ubatch: u32,
    /// Sequences that it keeps apart.
    pub n_seq_max: u32,
    /// Threads of both phases; `None` for [`Threads::for_model`].
    pub threads: Option<Threads>,
    /// Whether flash attention is used; `None` leaves it to llama.cpp.
    pub flash_attention: Option<bool>,
}

impl Default for ContextOptions {
    fn default() -> ContextOptions {
        ContextOptions { n_ctx: 0, n_batch: 2048, n_ubatch: 512, n_seq_max: 1, threads: None, flash_attention: None }
    }
}

/// A place to compute: it owns a clone of its model, so that it can be stored beside it, moved and sent to other threads.
///
/// # Why `&mut`
/// Decoding writes into the context: the KV cache, the logits, scratch memory. Two threads that decode in one context at the
/// same time would write over each other. What reads (`logits`) borrows it, so that nothing can be decoded meanwhile.
pub struct Context {
    context: NonNull<sys::llama_context>,
    /// Freed after the context, which computes with them; older ones after it has computed with newer ones.
    pools: Option<Pools>,
    retired: Vec<Option<Pools>>,
    model: Model,
    cancel: Arc<AtomicBool>,
    threads: Threads,
    n_seq_max: u32,
    /// Which tokens of the last batch have logits.
    outputs: Vec<bool>,
    /// The code with which llama.cpp failed.
    fatal: Option<i32>,
}

// SAFETY: a context belongs to no thread: nothing in it is thread-local, and the pools' threads are its own. It may be used
// from any thread, by one at a time, which `&mut` sees to. (It is not `Sync`: reading logits reorders them, in
// `llama_context::get_logits_ith`.)
unsafe impl Send for Context {}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: made by `llama_init_from_model`, freed here alone. Pools and model are fields, and dropped afterwards.
        unsafe { sys::llama_free(self.context.as_ptr()) };
    }
}

/// What llama.cpp asks while it computes: whether to stop.
unsafe extern "C-unwind" fn is_cancelled(cancel: *mut c_void) -> bool {
    // SAFETY: it is the flag of a context that is computing; the context holds it in an `Arc`.
    unsafe { &*cancel.cast::<AtomicBool>() }.load(Ordering::Relaxed)
}

/// Ends what a context computes, from another thread or a signal handler.
#[derive(Debug, Clone)]
pub struct Canceller(Arc<AtomicBool>);

impl Canceller {
    /// What the context computes now, or next, ends with [`Error::Cancelled`], once.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Context {
    /// A context for the model; several contexts may share one.
    ///
    /// # Errors
    /// [`Error::Invalid`]: a size that makes no sense. [`Error::Context`]: llama.cpp cannot make it, as when memory is short.
    pub fn new(model: &Model, options: &ContextOptions) -> Result<Context> {
        backend::start()?;
        let sizes = [
            ("n_batch", options.n_batch, u32::MAX >> 2),
            ("n_ubatch", options.n_ubatch, u32::MAX >> 2),
            ("n_seq_max", options.n_seq_max, MOST_SEQUENCES),
        ];
        for (what, size, most) in sizes {
            if size == 0 || size > most {
                return Err(Error::Invalid { what, why: format!("{size} is not from 1 to {most}") });
            }
        }
        if options.n_ctx > u32::MAX >> 2 {
            return Err(Error::Invalid { what: "n_ctx", why: format!("{} tokens are too many", options.n_ctx) });
        }
        let threads = options.threads.unwrap_or_else(|| Threads::for_model(model));
        threads.check()?;
        let cancel = Arc::new(AtomicBool::new(false));
        // SAFETY: takes nothing and returns a plain structure.
        let mut params = unsafe { sys::llama_context_default_params() };
        params.n_ctx = options.n_ctx;
        params.n_batch = options.n_batch;
        params.n_ubatch = options.n_ubatch.min(options.n_batch);
        params.n_seq_max = options.n_seq_max;
        params.n_threads = threads.generation.cast_signed();
        params.n_threads_batch = threads.prompt.cast_signed();
        params.flash_attn_type = match options.flash_attention {
            None => sys::llama_flash_attn_type::LLAMA_FLASH_ATTN_TYPE_AUTO,
            Some(false) => sys::llama_flash_attn_type::LLAMA_FLASH_ATTN_TYPE_DISABLED,
            Some(true) => sys::llama_flash_attn_type::LLAMA_FLASH_ATTN_TYPE_ENABLED,
        };
        // Sequences share one memory; copying between them is then a matter of notes, and possible at all.
        params.kv_unified = true;
        params.no_perf = true;
        params.abort_callback = Some(is_cancelled);
        params.abort_callback_data = Arc::as_ptr(&cancel).cast_mut().cast();
        log::take_error();
        // SAFETY: the model is alive, and will be for as long as the context, which holds a clone. The flag behind
        // `abort_callback_data` lives as long, in `cancel`.
        let context = unsafe { sys::llama_init_from_model(model.as_ptr(), params) };
        let Some(context) = NonNull::new(context) else {
            return Err(Error::Context(log::take_error().unwrap_or_else(|| "it does not say why".to_owned())));
        };
        let mut context = Context {
            context,
            pools: None,
            retired: Vec::new(),
            model: model.clone(),
            cancel,
            threads,
            n_seq_max: options.n_seq_max,
            outputs: Vec::new(),
            fatal: None,
        };
        if context.memory().is_null() {
            return Err(Error::NotGenerative("it has no memory"));
        }
        context.start_pools();
        Ok(context)
    }

    fn start_pools(&mut self) {
        let pools = Pools::start(self.threads);
        if let Some(pools) = &pools {
            // SAFETY: the context is alive; the pools become a field of it, and are dropped after it or after it has computed
            // with others.
            unsafe { pools.attach(self.context) };
        }
        self.retired.push(std::mem::replace(&mut self.pools, pools));
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// How many tokens it holds; llama.cpp rounds up what was asked for.
    pub fn n_ctx(&self) -> u32 {
        // SAFETY: the context is alive.
        unsafe { sys::llama_n_ctx(self.context.as_ptr()) }
    }

    /// How many tokens it takes in at once.
    pub fn n_batch(&self) -> u32 {
        // SAFETY: the context is alive.
        unsafe { sys::llama_n_batch(self.context.as_ptr()) }
    }

    /// How many tokens it computes at once.
    pub fn n_ubatch(&self) -> u32 {
        // SAFETY: the context is alive.
        unsafe { sys::llama_n_ubatch(self.context.as_ptr()) }
    }

    /// The threads that it computes with.
    pub fn threads(&self) -> Threads {
        self.threads
    }

    /// Computes with other thread counts from now on.
    ///
    /// # Errors
    /// [`Error::Invalid`]: none, or more than ggml can run.
    pub fn set_threads(&mut self, threads: Threads) -> Result<()> {
        threads.check()?;
        if threads == self.threads {
            return Ok(());
        }
        self.threads = threads;
        // SAFETY: the context is alive and computes nothing.
        unsafe {
            sys::llama_set_n_threads(
                self.context.as_ptr(),
                threads.generation.cast_signed(),
                threads.prompt.cast_signed(),
            );
        }
        self.start_pools();
        Ok(())
    }

    /// Something with which another thread ends what this context computes.
    pub fn canceller(&self) -> Canceller {
        Canceller(Arc::clone(&self.cancel))
    }

    /// Computes a batch. Its outputs can then be sampled from, by their index in the batch, until the next one.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NoSuchToken`]: the batch makes no sense; nothing was computed.
    /// [`Error::Full`]: there is no room for it; nothing was computed. [`Error::Cancelled`]: some of it was: see
    /// [`next_position`](Context::next_position). [`Error::Fatal`]: the context cannot be used any more.
    pub fn decode(&mut self, batch: &Batch) -> Result<()> {
        self.usable()?;
        batch.check(&self.model, self.n_batch(), self.n_seq_max)?;
        self.outputs.clear();
        log::take_error();
        // SAFETY: the context is alive and nobody else uses it; `check` has made sure of everything that llama.cpp asserts.
        let code = batch.with_raw(|raw| unsafe { sys::llama_decode(self.context.as_ptr(), raw) });
        // SAFETY: the context is alive. Nothing is being computed afterwards, so that times are true and pools are free.
        unsafe { sys::llama_synchronize(self.context.as_ptr()) };
        match code {
            0 => {
                self.outputs.extend(batch.outputs());
                // It has computed with the newest pools.
                self.retired.clear();
                Ok(())
            }
            1 => Err(Error::Full { capacity: self.n_ctx() }),
            2 => {
                self.cancel.store(false, Ordering::Relaxed);
                Err(Error::Cancelled)
            }
            -1 => {
                let why = log::take_error().unwrap_or_else(|| "llama.cpp does not say why".to_owned());
                Err(Error::Invalid { what: "batch", why })
            }
            code => {
                self.fatal = Some(code);
                Err(Error::Fatal(code))
            }
        }
    }

    fn usable(&self) -> Result<()> {
        self.fatal.map_or(Ok(()), |code| Err(Error::Fatal(code)))
    }

    /// The index of an output as llama.cpp takes it.
    fn output(&self, index: usize) -> Result<i32> {
        self.usable()?;
        match (self.outputs.get(index), i32::try_from(index)) {
            (Some(true), Ok(raw)) => Ok(raw),
            _ => Err(Error::NoLogits(index)),
        }
    }

    /// The logits after a token of the last batch: one number for each token of the vocabulary.
    ///
    /// # Errors
    /// [`Error::NoLogits`]: that token has not asked for them.
    pub fn logits(&self, index: usize) -> Result<&[f32]> {
        let raw = self.output(index)?;
        // SAFETY: the context is alive, and has this output.
        let logits = unsafe { sys::llama_get_logits_ith(self.context.as_ptr(), raw) };
        if logits.is_null() {
            return Err(Error::NoLogits(index));
        }
        // SAFETY: `n_vocab` numbers that stay where they are until the next batch, which needs `&mut self`.
        Ok(unsafe { std::slice::from_raw_parts(logits, self.model.n_vocab() as usize) })
    }

    /// Chooses the next token after a token of the last batch.
    ///
    /// # Errors
    /// [`Error::NoLogits`]: that token has not asked for logits. [`Error::OtherModel`].
    pub fn sample(&mut self, sampler: &mut Sampler, index: usize) -> Result<Token> {
        if !sampler.model().is(&self.model) {
            return Err(Error::OtherModel);
        }
        let raw = self.output(index)?;
        // SAFETY: the context is alive and has this output.
        Ok(unsafe { sampler.sample(self.context, raw) })
    }

    fn memory(&self) -> sys::llama_memory_t {
        // SAFETY: the context is alive; the memory is a part of it.
        unsafe { sys::llama_get_memory(self.context.as_ptr()) }
    }

    fn sequence(&self, sequence: SeqId) -> Result<i32> {
        self.usable()?;
        if (0..self.n_seq_max as i32).contains(&sequence.0) {
            return Ok(sequence.0);
        }
        let why = format!("there is no sequence {}: the context has {}", sequence.0, self.n_seq_max);
        Err(Error::Invalid { what: "sequence", why })
    }

    /// The position after the last token of a sequence: the first that is free.
    ///
    /// # Errors
    /// [`Error::Invalid`]: there is no such sequence.
    pub fn next_position(&self, sequence: SeqId) -> Result<Pos> {
        let sequence = self.sequence(sequence)?;
        // SAFETY: the memory is alive and has the sequence.
        Ok(Pos(unsafe { sys::llama_memory_seq_pos_max(self.memory(), sequence) } + 1))
    }

    /// Forgets all sequences.
    pub fn clear(&mut self) {
        self.outputs.clear();
        // SAFETY: the memory is alive.
        unsafe { sys::llama_memory_clear(self.memory(), false) };
    }

    /// Forgets a sequence from a position on.
    ///
    /// # Errors
    /// [`Error::CannotRemovePart`]: the memory of some models (recurrent ones) holds no parts; the whole can be removed.
    pub fn remove(&mut self, sequence: SeqId, positions: RangeFrom<Pos>) -> Result<()> {
        let sequence = self.sequence(sequence)?;
        self.outputs.clear();
        // SAFETY: the memory is alive and has the sequence.
        let removed = unsafe { sys::llama_memory_seq_rm(self.memory(), sequence, positions.start.0, -1) };
        if removed { Ok(()) } else { Err(Error::CannotRemovePart) }
    }

    /// Makes a sequence a copy of another. No memory is copied: they share what they have in common.
    ///
    /// # Errors
    /// [`Error::Invalid`]: there is no such sequence.
    pub fn copy(&mut self, from: SeqId, to: SeqId) -> Result<()> {
        let (from, to) = (self.sequence(from)?, self.sequence(to)?);
        if from == to {
            return Ok(());
        }
        // SAFETY: the memory is alive, has both sequences, and is one for all of them (`kv_unified`).
        unsafe {
            sys::llama_memory_seq_rm(self.memory(), to, -1, -1);
            sys::llama_memory_seq_cp(self.memory(), from, to, -1, -1);
        }
        Ok(())
    }

    /// Forgets all sequences but one.
    ///
    /// # Errors
    /// [`Error::Invalid`]: there is no such sequence.
    pub fn keep(&mut self, sequence: SeqId) -> Result<()> {
        let sequence = self.sequence(sequence)?;
        self.outputs.clear();
        // SAFETY: the memory is alive and has the sequence.
        unsafe { sys::llama_memory_seq_keep(self.memory(), sequence) };
        Ok(())
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("model", &self.model).field("threads", &self.threads).finish_non_exhaustive()
    }
}

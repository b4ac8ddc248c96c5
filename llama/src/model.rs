//! Weights and vocabulary.

use std::any::Any;
use std::ffi::{CStr, CString, c_char, c_void};
use std::ops::ControlFlow;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;
use std::{fmt, ptr};

use gguf::{Header, ModelFiles};
use llama_sys as sys;

use crate::error::{Error, Result};
use crate::{Token, backend, log};

/// How weights get into memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LoadMode {
    /// Mapped from the file: processes share them, and the kernel may drop and read them again.
    #[default]
    Mmap,
    /// Read into memory of this process.
    Read,
}

/// How a model is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelOptions {
    /// How weights get into memory.
    pub load: LoadMode,
    /// Whether weights are rearranged for the CPU's widest instructions; which of the two is faster is measured by
    /// `cargo xtask tune`.
    pub repack: bool,
    /// Whether every weight is checked while loading; slow.
    pub check_tensors: bool,
}

impl Default for ModelOptions {
    fn default() -> ModelOptions {
        ModelOptions { load: LoadMode::Mmap, repack: true, check_tensors: false }
    }
}

/// A model that generates text. Cloning is cheap; the last clone, context or sampler frees it.
#[derive(Clone)]
pub struct Model(Arc<Loaded>);

struct Loaded {
    model: NonNull<sys::llama_model>,
    vocab: NonNull<sys::llama_vocab>,
    n_vocab: i32,
    path: PathBuf,
    header: Header,
}

// SAFETY: a `llama_model` belongs to no thread: nothing in it is thread-local, and it may be freed on another thread than the
// one that loaded it (src/llama-model.h holds containers and owned buffers only).
unsafe impl Send for Loaded {}
// SAFETY: after loading nobody writes to it. All that we call with it takes `const llama_model *` or `const llama_vocab *`, and
// neither has a `mutable` member (src/llama-model.h, src/llama-vocab.h; `tests/upstream.rs` looks again when the pin moves).
// Making a context takes a `llama_model *`, but only reads it. What does write, adapters, we do not call.
unsafe impl Sync for Loaded {}

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: `model` came from `llama_model_load_from_file`, and is freed here alone. Contexts and samplers, which point
        // into it, hold a clone of the `Arc` and are gone.
        unsafe { sys::llama_model_free(self.model.as_ptr()) };
    }
}

impl Model {
    /// Loads a GGUF file, or a model in parts of which any is named.
    ///
    /// # Errors
    /// The file is missing, damaged or no model; llama.cpp does not know its architecture; it cannot generate text.
    pub fn load(path: impl AsRef<Path>, options: &ModelOptions) -> Result<Model> {
        Model::load_with(path, options, |_| ControlFlow::Continue(()))
    }

    /// As [`Model::load`], and tells `progress` how far it is, from 0 to 1. Loading ends when that breaks, or panics.
    ///
    /// # Errors
    /// As [`Model::load`]; [`Error::Cancelled`] when `progress` broke.
    ///
    /// # Panics
    /// When `progress` does, after everything was cleaned up.
    pub fn load_with(
        path: impl AsRef<Path>,
        options: &ModelOptions,
        progress: impl FnMut(f32) -> ControlFlow<()>,
    ) -> Result<Model> {
        let path = path.as_ref();
        // Our reader says better than llama.cpp's what is wrong with a file, and bounds what a hostile one can cost.
        let refused = |error: diagnostic::Error| Error::File { message: error.to_string(), code: error.code() };
        let files = ModelFiles::open_loadable(path).map_err(refused)?;
        // Of a model in parts, llama.cpp wants the first.
        let path = &files.paths(path).swap_remove(0);
        let header = files.header;
        if let Some(gguf::Value::Bool(false)) = header.architecture_value("attention.causal") {
            return Err(Error::NotGenerative("it looks at whole texts, such as a model for embeddings"));
        }
        let name = path
            .to_str()
            .and_then(|path| CString::new(path).ok())
            .ok_or_else(|| Error::Invalid { what: "path", why: format!("`{}` is not valid UTF-8", path.display()) })?;
        backend::start()?;

        let mut watch = Watch { progress, cancelled: false, panic: None };
        // SAFETY: takes nothing and returns a plain structure.
        let mut params = unsafe { sys::llama_model_default_params() };
        params.n_gpu_layers = 0;
        params.load_mode = match options.load {
            LoadMode::Mmap => sys::llama_load_mode::LLAMA_LOAD_MODE_MMAP,
            LoadMode::Read => sys::llama_load_mode::LLAMA_LOAD_MODE_NONE,
        };
        params.use_extra_bufts = options.repack;
        params.check_tensors = options.check_tensors;
        params.progress_callback = Some(tell(&watch));
        params.progress_callback_user_data = (&raw mut watch).cast();
        log::take_error();
        // SAFETY: `name` ends with a zero. `params` comes from llama.cpp; the callback fits its data, which outlives the call,
        // and llama.cpp calls it during this call only.
        let model = unsafe { sys::llama_model_load_from_file(name.as_ptr(), params) };
        if let Some(panic) = watch.panic {
            if let Some(model) = NonNull::new(model) {
                // SAFETY: just loaded, and nobody else has it.
                unsafe { sys::llama_model_free(model.as_ptr()) };
            }
            panic::resume_unwind(panic);
        }
        let Some(model) = NonNull::new(model) else {
            if watch.cancelled {
                return Err(Error::Cancelled);
            }
            let said = log::take_error().unwrap_or_else(|| "it does not say why".to_owned());
            return Err(Error::Load { path: path.to_owned(), said });
        };
        Model::of(model, path, header)
    }

    fn of(model: NonNull<sys::llama_model>, path: &Path, header: Header) -> Result<Model> {
        // SAFETY: `model` is alive; the vocabulary is a part of it and lives as long.
        let vocab = unsafe { sys::llama_model_get_vocab(model.as_ptr()) };
        let vocab = NonNull::new(vocab.cast_mut()).expect("every model has a vocabulary, if an empty one");
        // SAFETY: part of the model above.
        let n_vocab = unsafe { sys::llama_vocab_n_tokens(vocab.as_ptr()) };
        // From here on dropping frees it.
        let model = Model(Arc::new(Loaded { model, vocab, n_vocab, path: path.to_owned(), header }));
        // SAFETY: the model is alive.
        let (kind, encoder, decoder) = unsafe {
            (
                sys::llama_vocab_type(model.vocab()),
                sys::llama_model_has_encoder(model.as_ptr()),
                sys::llama_model_has_decoder(model.as_ptr()),
            )
        };
        if kind == sys::llama_vocab_type_LLAMA_VOCAB_TYPE_NONE || n_vocab <= 0 {
            return Err(Error::NotGenerative("it has no vocabulary"));
        }
        if encoder || !decoder {
            return Err(Error::NotGenerative("it has an encoder, or no decoder"));
        }
        Ok(model)
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::llama_model {
        self.0.model.as_ptr()
    }

    fn vocab(&self) -> *const sys::llama_vocab {
        self.0.vocab.as_ptr()
    }

    pub(crate) fn is(&self, other: &Model) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The file that it was loaded from.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What the file says about itself.
    pub fn header(&self) -> &Header {
        &self.0.header
    }

    /// How many tokens its vocabulary has.
    pub fn n_vocab(&self) -> u32 {
        self.0.n_vocab as u32
    }

    /// How many tokens it was trained to look back on.
    pub fn n_ctx_train(&self) -> u32 {
        // SAFETY: the model is alive.
        u32::try_from(unsafe { sys::llama_model_n_ctx_train(self.as_ptr()) }).unwrap_or(0)
    }

    /// How many parameters it has.
    pub fn n_params(&self) -> u64 {
        // SAFETY: the model is alive.
        unsafe { sys::llama_model_n_params(self.as_ptr()) }
    }

    /// Bytes of all its tensors.
    pub fn size_bytes(&self) -> u64 {
        // SAFETY: the model is alive.
        unsafe { sys::llama_model_size(self.as_ptr()) }
    }

    /// Architecture, size and quantisation in llama.cpp's words: `llama 1B Q4_K - Medium`.
    pub fn description(&self) -> String {
        let mut text = [0_u8; 128];
        // SAFETY: the model is alive; at most the whole of `text` is written, a zero at the end.
        unsafe { sys::llama_model_desc(self.as_ptr(), text.as_mut_ptr().cast(), text.len()) };
        CStr::from_bytes_until_nul(&text).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Whether a token ends a text, a turn or the like: generation stops there.
    pub fn is_end(&self, token: Token) -> bool {
        // SAFETY: the vocabulary is alive; llama.cpp looks the number up in a set.
        unsafe { sys::llama_vocab_is_eog(self.vocab(), token.0) }
    }

    /// The token that begins a text, if there is one.
    pub fn begin_of_text(&self) -> Option<Token> {
        // SAFETY: the vocabulary is alive.
        self.known(unsafe { sys::llama_vocab_bos(self.vocab()) })
    }

    /// The token that ends a text, if there is one.
    pub fn end_of_text(&self) -> Option<Token> {
        // SAFETY: the vocabulary is alive.
        self.known(unsafe { sys::llama_vocab_eos(self.vocab()) })
    }

    fn known(&self, id: i32) -> Option<Token> {
        self.has(Token(id)).then_some(Token(id))
    }

    pub(crate) fn has(&self, token: Token) -> bool {
        (0..self.0.n_vocab).contains(&token.0)
    }

    /// The tokens of a text, with what the model wants at its beginning and end. Names of special tokens (`<|im_end|>`) are
    /// text like any other.
    ///
    /// # Errors
    /// The text is longer than 2 GB.
    pub fn tokenize(&self, text: &str) -> Result<Vec<Token>> {
        self.tokens_of(text, true, false)
    }

    /// The tokens of a prompt that a template made: names of special tokens become those. `begin` adds what the model wants
    /// at the beginning of a text, unless the template has written it.
    ///
    /// Text of strangers in it can then speak for others; put it there only where that is wanted.
    ///
    /// # Errors
    /// The text is longer than 2 GB.
    pub fn tokenize_template(&self, text: &str, begin: bool) -> Result<Vec<Token>> {
        let mut tokens = self.tokens_of(text, begin, true)?;
        // Many templates write it themselves; twice is a mistake that costs quality.
        let first = self.begin_of_text();
        if begin && first.is_some() && tokens.first().copied() == first && tokens.get(1).copied() == first {
            tokens.remove(0);
        }
        Ok(tokens)
    }

    fn tokens_of(&self, text: &str, add_special: bool, parse_special: bool) -> Result<Vec<Token>> {
        let too_long = || Error::Invalid { what: "text", why: "it is longer than 2 GB".to_owned() };
        let length = i32::try_from(text.len()).map_err(|_| too_long())?;
        // A token per byte, one at each end, and a space that some vocabularies put in front.
        let mut tokens: Vec<i32> = vec![0; text.len() + 4];
        loop {
            let room = i32::try_from(tokens.len()).map_err(|_| too_long())?;
            // SAFETY: the vocabulary is alive and not empty; `length` bytes of text are read and at most `room` tokens
            // written.
            let n = unsafe {
                sys::llama_tokenize(
                    self.vocab(),
                    text.as_ptr().cast(),
                    length,
                    tokens.as_mut_ptr(),
                    room,
                    add_special,
                    parse_special,
                )
            };
            match usize::try_from(n) {
                Ok(n) => {
                    tokens.truncate(n);
                    return Ok(tokens.into_iter().map(Token).collect());
                }
                // There was not enough room; it says how much it needs, or that this cannot be counted.
                Err(_) if n != i32::MIN && n.unsigned_abs() as usize > tokens.len() => {
                    tokens.resize(n.unsigned_abs() as usize, 0);
                }
                Err(_) => return Err(too_long()),
            }
        }
    }

    /// The bytes that a token stands for; special tokens stand for nothing. A character may be spread over several tokens:
    /// [`Utf8Stream`](crate::Utf8Stream) puts them together.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`].
    pub fn bytes(&self, token: Token) -> Result<Vec<u8>> {
        if !self.has(token) {
            return Err(Error::NoSuchToken(token));
        }
        let mut bytes = vec![0_u8; 32];
        loop {
            let room = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
            // SAFETY: the vocabulary is alive and has the token; at most `room` bytes are written.
            let n =
                unsafe { sys::llama_token_to_piece(self.vocab(), token.0, bytes.as_mut_ptr().cast(), room, 0, false) };
            match usize::try_from(n) {
                Ok(n) => {
                    bytes.truncate(n);
                    return Ok(bytes);
                }
                Err(_) => bytes.resize(n.unsigned_abs() as usize, 0),
            }
        }
    }

    /// The text of tokens; bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`].
    pub fn text(&self, tokens: &[Token]) -> Result<String> {
        let mut all = Vec::new();
        for token in tokens {
            all.extend(self.bytes(*token)?);
        }
        Ok(String::from_utf8_lossy(&all).into_owned())
    }

    /// A conversation as the model was trained to read it; for [`tokenize_template`](Model::tokenize_template). `to_answer`
    /// ends it where the model is to go on.
    ///
    /// # Errors
    /// [`Error::ChatTemplate`]: the model has none, or one that llama.cpp's C interface does not know; it knows the usual
    /// ones by name, and does not run templates. [`Error::Invalid`]: a text holds a zero.
    pub fn chat(&self, messages: &[Message<'_>], to_answer: bool) -> Result<String> {
        // SAFETY: the model is alive; the string is a part of it.
        let template = unsafe { sys::llama_model_chat_template(self.as_ptr(), ptr::null()) };
        if template.is_null() {
            return Err(Error::ChatTemplate);
        }
        let zero = |text: &str| {
            CString::new(text).map_err(|_| Error::Invalid { what: "message", why: "it holds a zero".to_owned() })
        };
        let texts = messages.iter().map(|message| Ok((zero(message.role)?, zero(message.content)?)));
        let texts: Vec<(CString, CString)> = texts.collect::<Result<_>>()?;
        let chat: Vec<sys::llama_chat_message> = texts
            .iter()
            .map(|(role, content)| sys::llama_chat_message { role: role.as_ptr(), content: content.as_ptr() })
            .collect();
        let mut text = vec![0_u8; 1024];
        loop {
            let room = i32::try_from(text.len())
                .map_err(|_| Error::Invalid { what: "messages", why: "they are longer than 2 GB".to_owned() })?;
            // SAFETY: the template and all texts end with zeros and live; at most `room` bytes are written.
            let n = unsafe {
                sys::llama_chat_apply_template(
                    template,
                    chat.as_ptr(),
                    chat.len(),
                    to_answer,
                    text.as_mut_ptr().cast::<c_char>(),
                    room,
                )
            };
            match usize::try_from(n) {
                Err(_) => return Err(Error::ChatTemplate),
                Ok(n) if n > text.len() => text.resize(n, 0),
                Ok(n) => {
                    text.truncate(n);
                    return Ok(String::from_utf8_lossy(&text).into_owned());
                }
            }
        }
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("path", &self.0.path).finish_non_exhaustive()
    }
}

/// One message of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `system`, `user` or `assistant`.
    pub role: &'a str,
    /// Its text.
    pub content: &'a str,
}

/// What the progress callback needs.
struct Watch<F> {
    progress: F,
    cancelled: bool,
    panic: Option<Box<dyn Any + Send>>,
}

/// What llama.cpp calls while it loads.
type Tell = unsafe extern "C-unwind" fn(f32, *mut c_void) -> bool;

/// The callback for this type of watch.
fn tell<F: FnMut(f32) -> ControlFlow<()>>(_: &Watch<F>) -> Tell {
    unsafe extern "C-unwind" fn tell<F: FnMut(f32) -> ControlFlow<()>>(done: f32, watch: *mut c_void) -> bool {
        // SAFETY: it is the `Watch<F>` of `load_with`, which waits for us and uses it only afterwards.
        let watch = unsafe { &mut *watch.cast::<Watch<F>>() };
        if watch.cancelled || watch.panic.is_some() {
            return false;
        }
        // A panic must not run through C++: it is kept and goes on in `load_with`.
        match panic::catch_unwind(AssertUnwindSafe(|| (watch.progress)(done))) {
            Ok(ControlFlow::Continue(())) => true,
            Ok(ControlFlow::Break(())) => {
                watch.cancelled = true;
                false
            }
            Err(panic) => {
                watch.panic = Some(panic);
                false
            }
        }
    }
    tell::<F>
}

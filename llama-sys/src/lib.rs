//! The C interface of llama.cpp, as far as the crate `llama` needs it, and the build script that links it.
//!
//! The declarations are generated from the pinned headers and committed: users need no libclang. All are `C-unwind`, because
//! llama.cpp throws what it finds wrong with some models: an exception that leaves C++ then ends the process, which is
//! defined, as opposed to what `C` would make of it.
//!
//! Where llama.cpp comes from, in this order:
//!
//! 1. on docs.rs: nowhere;
//! 2. `LLAMA_LIB_DIR`: the `lib` directory of an installed build, an absolute path;
//! 3. the feature `vendored`: compiled by the plan that `LLAMA_BUILD_PLAN` names, which `cargo xtask install-optimized`
//!    writes;
//! 4. otherwise nothing is linked, and `cargo check` works all the same; the linker's error says what to do. [`LINKED`] tells.
//!
//! Through `links = "llama"` the build scripts of dependents see, when something is linked:
//!
//! | variable | what |
//! |---|---|
//! | `DEP_LLAMA_LIB_DIR` | where `libllama.so` is |
//! | `DEP_LLAMA_LIB_KIND` | `dylib` |
//! | `DEP_LLAMA_BACKENDS_DIR` | where ggml looks for CPU and BLAS backends |
//! | `DEP_LLAMA_BUILD_INFO_JSON` | how an installed build was made |
//! | `DEP_LLAMA_LOG` | the compiler's log, after a vendored build |
//!
//! The version of this crate carries upstream's: `0.1.0+llama-0.5.0`.

#[expect(missing_docs, non_camel_case_types, non_upper_case_globals, clippy::allow_attributes, reason = "generated, with llama.cpp's own names")]
#[rustfmt::skip]
mod bindings;

pub use bindings::*;

/// Whether a llama.cpp was found or compiled when this crate was built.
pub const LINKED: bool = cfg!(llama_linked);

/// The version of llama.cpp whose headers these are, such as `0.5.0`; another one may have other structures.
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION").split_once("+llama-").map_or("", |(_, version)| version)
}

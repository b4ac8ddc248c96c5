//! Links llama.cpp; this crate *is* its build script.
//!
//! Where llama.cpp comes from, in this order:
//!
//! 1. on docs.rs: nowhere;
//! 2. `LLAMA_LIB_DIR`: the `lib` directory of an installed build, an absolute path;
//! 3. the feature `vendored`: compiled by the plan that `LLAMA_BUILD_PLAN` names, which `cargo xtask install-optimized`
//!    writes;
//! 4. otherwise nothing is linked, and `cargo check` works all the same. [`LINKED`] tells.
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
#![forbid(unsafe_code)]

/// Whether a llama.cpp was found or compiled when this crate was built.
pub const LINKED: bool = cfg!(llama_linked);

//! The committed bindings of `llama-sys` are what bindgen makes of the pinned headers. `cargo xtask codegen bindings` writes
//! them, and this test, which is the generator, compares. It is not in `llama-sys`, so that broken bindings can be mended.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use bindgen::{Abi, EnumVariation, Formatter, RustEdition, RustTarget};

/// Everything that we call; what a function needs of types comes with it.
const FUNCTIONS: &[&str] = &[
    "llama_version",
    "llama_backend_init",
    "llama_numa_init",
    "llama_log_set",
    "llama_model_default_params",
    "llama_model_load_from_file",
    "llama_model_free",
    "llama_model_get_vocab",
    "llama_model_n_ctx_train",
    "llama_model_n_embd",
    "llama_model_n_layer",
    "llama_model_n_params",
    "llama_model_size",
    "llama_model_desc",
    "llama_model_chat_template",
    "llama_model_has_encoder",
    "llama_model_has_decoder",
    "llama_model_meta_val_str",
    "llama_vocab_type",
    "llama_vocab_n_tokens",
    "llama_vocab_bos",
    "llama_vocab_eos",
    "llama_vocab_is_eog",
    "llama_vocab_get_add_bos",
    "llama_tokenize",
    "llama_token_to_piece",
    "llama_chat_apply_template",
    "llama_context_default_params",
    "llama_init_from_model",
    "llama_free",
    "llama_n_ctx",
    "llama_n_batch",
    "llama_n_ubatch",
    "llama_n_seq_max",
    "llama_set_n_threads",
    "llama_n_threads",
    "llama_n_threads_batch",
    "llama_attach_threadpool",
    "llama_decode",
    "llama_synchronize",
    "llama_get_logits_ith",
    "llama_get_memory",
    "llama_memory_clear",
    "llama_memory_seq_rm",
    "llama_memory_seq_cp",
    "llama_memory_seq_keep",
    "llama_memory_seq_pos_min",
    "llama_memory_seq_pos_max",
    "llama_sampler_chain_default_params",
    "llama_sampler_chain_init",
    "llama_sampler_chain_add",
    "llama_sampler_init_greedy",
    "llama_sampler_init_dist",
    "llama_sampler_init_top_k",
    "llama_sampler_init_top_p",
    "llama_sampler_init_min_p",
    "llama_sampler_init_temp",
    "llama_sampler_init_penalties",
    "llama_sampler_sample",
    "llama_sampler_accept",
    "llama_sampler_reset",
    "llama_sampler_free",
    "ggml_backend_dev_by_type",
    "ggml_backend_dev_backend_reg",
    "ggml_backend_reg_get_proc_address",
    "ggml_threadpool_params_default",
];

/// Types that no function above brings with it. `ggml_threadpool_new` and `ggml_threadpool_free` are not linked: they live in
/// a CPU backend, which a portable build loads at run time, and which is asked for them by name.
const TYPES: &[&str] = &[
    "llama_vocab_type",
    "llama_load_mode",
    "ggml_numa_strategy",
    "ggml_backend_dev_type",
    "ggml_threadpool",
    "ggml_threadpool_params",
];

/// Types of which only the address is ours to know.
const OPAQUE: &[&str] = &["ggml_tensor", "llama_sampler"];

/// `cargo xtask codegen bindings` sets it to `write`.
const MODE: &str = "LLAMA_BINDINGS";

#[test]
fn the_committed_bindings_are_those_of_the_pinned_headers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let file = root.join("llama-sys/src/bindings.rs");
    let made = generate(&root.join("vendor/llama.cpp"));
    if env::var_os(MODE).is_some_and(|mode| mode == "write") {
        fs::write(&file, made).unwrap();
        return;
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        without_layout(&committed) == without_layout(&made),
        "`{}` is stale: run `cargo xtask codegen bindings`",
        file.display()
    );
}

/// Versions of rustfmt differ in these.
fn without_layout(code: &str) -> String {
    code.chars().filter(|c| !c.is_whitespace() && *c != ',').collect()
}

fn generate(source: &Path) -> String {
    let headers = ["include/llama.h", "ggml/include/ggml-cpu.h", "ggml/include/ggml-backend.h"];
    for header in headers {
        let header = source.join(header);
        assert!(header.is_file(), "`{}` is missing: run `cargo xtask vendor`", header.display());
    }
    assert!(
        env::var_os("LIBCLANG_PATH").is_some(),
        "`LIBCLANG_PATH` names no directory with `libclang.so`: run `cargo xtask test`, which fetches one"
    );
    // libclang from PyPI comes without the compiler's own headers.
    let builtin = Command::new("cc").arg("-print-file-name=include").output().unwrap();
    let builtin = String::from_utf8(builtin.stdout).unwrap();
    let mut builder = bindgen::Builder::default()
        .clang_args(["include", "ggml/include"].map(|dir| format!("-I{}", source.join(dir).display())))
        .clang_args(["-isystem", builtin.trim()])
        .allowlist_function(FUNCTIONS.join("|"))
        .allowlist_type(TYPES.join("|"))
        .rust_edition(RustEdition::Edition2024)
        .rust_target(RustTarget::stable(85, 0).unwrap())
        .default_enum_style(EnumVariation::NewType { is_bitfield: false, is_global: false })
        // A function has its name too.
        .constified_enum("llama_vocab_type")
        .generate_comments(false)
        .derive_debug(false)
        .layout_tests(true)
        .use_core()
        .ctypes_prefix("::core::ffi")
        .formatter(Formatter::Rustfmt)
        // A model is a file from anywhere, and some of what llama.cpp finds wrong with it is thrown: an exception that
        // gets as far as here ends the process, and is not undefined.
        .override_abi(Abi::CUnwind, ".*")
        .disable_header_comment();
    for name in OPAQUE {
        builder = builder.opaque_type(name);
    }
    // One file that includes them: given one by one, libclang reads what they share twice.
    let includes: String =
        headers.iter().map(|header| format!("#include \"{}\"\n", source.join(header).display())).collect();
    let bindings = builder.header_contents("all.h", &includes).generate().unwrap();
    format!(
        "//! Made by `cargo xtask codegen bindings` from the pinned headers of llama.cpp; not edited by hand.\n\n{bindings}"
    )
}

//! What a build installs.

/// An executable of llama.cpp that we install.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// File name, and the name of the CMake target.
    pub name: &'static str,
    /// Arguments with which it must run before a build is activated.
    pub smoke: &'static [&'static str],
    /// Exit status of that run.
    pub smoke_status: i32,
}

const fn tool(name: &'static str) -> Tool {
    Tool { name, smoke: &["--version"], smoke_status: 0 }
}

/// Every tool, in the order of the documentation.
pub const TOOLS: &[Tool] = &[
    tool("llama-server"),
    tool("llama-cli"),
    tool("llama-completion"),
    tool("llama-bench"),
    tool("llama-batched-bench"),
    // Knows no `--version`, and its usage text ends with status 1.
    Tool { name: "llama-quantize", smoke: &["--help"], smoke_status: 1 },
    tool("llama-perplexity"),
    tool("llama-imatrix"),
    tool("llama-gguf-split"),
    tool("llama-fit-params"),
    tool("llama-tokenize"),
];

/// The file name of the BLAS plug-in; ggml's loader looks for exactly this.
pub const BLAS_PLUGIN: &str = "libggml-blas.so";

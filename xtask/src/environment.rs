//! Every environment variable that Caravan reads or sets for its children.

/// One row of `docs/environment.md`.
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) reader: &'static str,
    pub(crate) meaning: &'static str,
}

const fn variable(name: &'static str, reader: &'static str, meaning: &'static str) -> Variable {
    Variable { name, reader, meaning }
}

/// Names the virtual environment's python for tests that compare with upstream's Python packages.
pub(crate) const TEST_PYTHON: &str = "CARAVAN_TEST_PYTHON";
/// Names the store that the end-to-end tests use.
pub(crate) const TEST_HOME: &str = "CARAVAN_TEST_HOME";
/// Names the layout with the portable build that the tests of pods make an image of.
pub(crate) const TEST_LAYOUT: &str = "CARAVAN_TEST_LAYOUT";

/// In the order of the documentation.
pub(crate) const VARIABLES: &[Variable] = &[
    variable(
        "CARAVAN_HOME",
        "`cargo xtask`, `caravan`",
        "the store; when unset, `.local` in the repository, and for `caravan` the one that its build lies in",
    ),
    variable("CARAVAN_BUILD", "`caravan`", "another build than the one that it lies in"),
    variable(
        crate::distribution::REF,
        "`install-fast`, `verify`",
        "the artefact when no argument names one; that of `Cargo.toml` when unset",
    ),
    variable(crate::password::VARIABLE, "`push`, `keygen`", "the password of the secret key, instead of a question"),
    variable(
        "DOCKER_CONFIG`, `REGISTRY_AUTH_FILE",
        "`install-fast`, `push`, `verify`",
        "where credentials of registries are, as for docker and podman",
    ),
    variable(
        "XDG_RUNTIME_DIR`, `XDG_CONFIG_HOME",
        "`install-fast`, `push`, `verify`",
        "below which podman keeps credentials (`containers/auth.json`), when `REGISTRY_AUTH_FILE` is unset",
    ),
    variable(
        host::job::THREAD_MODE,
        "thread choice",
        "`auto`: the job's variable decides; anything else: what was measured, or the build's `optimal_threads`",
    ),
    variable(host::job::THREAD_MODE_ALIAS, "thread choice", "alias of `CARAVAN_THREAD_MODE`"),
    variable(host::job::JOB, "thread choice", "the job, such as `coding`; its threads stand in `CODING_THREADS`"),
    variable(
        "<TYPE>_THREADS",
        "thread choice",
        "threads of a job: `MARKETING_THREADS`, `CODING_THREADS`, `RESEARCH_THREADS`, or any other name",
    ),
    variable(
        "CARAVAN_CONFIG_DIR",
        "`caravan serve`",
        "a directory whose files stand in for variables and are looked at while the server runs, as Kubernetes mounts a ConfigMap",
    ),
    variable("OMP_NUM_THREADS", "`caravan serve`", "the most threads that are chosen; `--threads` wins over it"),
    variable(
        "ENABLE_BLAS",
        "`caravan serve`",
        "`true` or `false`: whether BLAS is used, where the build has it; otherwise what was measured decides",
    ),
    variable(
        "LLAMA_ARG_*",
        "`llama-server`",
        "llama.cpp's own settings, such as `LLAMA_ARG_CTX_SIZE`; `caravan serve` leaves to them what they set",
    ),
    variable(
        "LLAMA_SERVER_CONTROL",
        "`llama-server`",
        "`stdin`: it takes thread counts on standard input, and drains when that ends; `caravan serve` sets it",
    ),
    variable("CARGO_TARGET_DIR", "`cargo xtask`", "where llama.cpp is patched and compiled; `target` when unset"),
    variable("CI", "`install-optimized`", "set: as root, OpenBLAS may be installed with apt-get without a question"),
    variable("CC`, `CXX", "`install-optimized`", "compilers, unless `--cc` and `--cxx` name them"),
    variable("NO_COLOR", "everything that prints", "no colour"),
    variable(
        llama_build::plan::PLAN_VARIABLE,
        "`llama-sys`",
        "with the feature `vendored`: the compile plan; `cargo xtask` sets it",
    ),
    variable("LLAMA_LIB_DIR", "`llama-sys`", "the `lib` directory of an installed build to link"),
    variable(
        "GGML_BACKEND_SKIP",
        "every tool of a build",
        "backends that are not used, separated by commas: `GGML_BACKEND_SKIP=blas`",
    ),
    variable(
        host::variants::FORCE,
        "every tool of a portable build, `show-build`, `bench`, `doctor`",
        "the CPU variant to run, such as `haswell`; one that is missing or cannot run here is an error",
    ),
    variable(TEST_PYTHON, "tests", "python with upstream's `gguf` package; `cargo xtask test` sets it"),
    variable(TEST_HOME, "end-to-end tests", "a store with an installed build; `cargo xtask test` sets it"),
    variable(TEST_LAYOUT, "tests of pods", "a layout with the portable build; `cargo xtask test` sets it"),
];

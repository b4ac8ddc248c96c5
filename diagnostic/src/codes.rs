//! The table of error codes: name, exit number, meaning.
//!
//! Names and numbers are a promise to scripts: add rows, never renumber.

/// One kind of failure.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// Stable name, `area::what`.
    pub name: &'static str,
    /// Exit number of the process; 2 is left to the command line parser.
    pub exit: u8,
    /// One sentence for the documentation.
    pub meaning: &'static str,
}

macro_rules! codes {
    ($($ident:ident = $exit:literal $name:literal $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $ident: &Code = &Code { name: $name, exit: $exit, meaning: $meaning };)*
        /// Every code, in the order of the documentation.
        pub const CODES: &[&Code] = &[$($ident),*];
    };
}

codes! {
    IO = 10 "io::failed" "a file or directory could not be read or written";
    DISK_FULL = 11 "io::disk_full" "the disk or quota is full";
    NO_PERMISSION = 12 "io::no_permission" "permission denied, or the file system is read-only";
    PIN_INVALID = 20 "vendor::pin_invalid" "`vendor/llama.cpp.toml` cannot be read, or names a commit or tree that does not exist";
    UNREACHABLE = 21 "vendor::unreachable" "no mirror of the pinned source could be reached";
    TREE_MISMATCH = 22 "vendor::tree_mismatch" "a source tree is not the pinned one";
    ARCHIVE_INVALID = 23 "fetch::archive_invalid" "an archive is truncated, too large, or tries to write outside its directory";
    PATCH_FAILED = 24 "vendor::patch_failed" "a patch of ours no longer fits the pinned source";
    DIGEST_MISMATCH = 25 "fetch::digest_mismatch" "downloaded bytes do not have the expected digest";
    NOT_FOUND = 26 "fetch::not_found" "a server answered that it has no such file";
    REFERENCE_INVALID = 27 "oci::reference_invalid" "the name of an artefact is not a registry reference, a layout directory or a layout archive";
    REGISTRY_FAILED = 28 "oci::registry_failed" "a registry could not be reached, or kept failing after all tries; trying again later may help";
    REGISTRY_REFUSED = 29 "oci::registry_refused" "a registry refused our credentials, or asked for some that we do not have";
    TOOL_MISSING = 30 "build::tool_missing" "a tool that the build needs is missing or too old";
    TOOL_FETCH = 31 "build::tool_fetch" "a build tool could not be fetched";
    FLAG_REFUSED = 32 "build::flag_refused" "a build flag is refused because it gives a broken or dishonest build";
    COMPILE_FAILED = 33 "build::compile_failed" "llama.cpp did not compile";
    GATE_FAILED = 34 "build::gate_failed" "a finished build failed one of our checks";
    MANIFEST_INVALID = 35 "oci::manifest_invalid" "an index, manifest or layout is damaged, too large, or not one of ours";
    NO_PLATFORM = 36 "oci::no_platform" "an artefact has no build for this platform";
    UNSIGNED = 37 "oci::unsigned" "an artefact has no signature by a key that is trusted here";
    NOT_REPRODUCIBLE = 38 "package::not_reproducible" "two builds of the same source differ";
    KEY_UNUSABLE = 39 "sign::key_unusable" "a signing key is not one of minisign's, or its password is missing or wrong";
    NO_SUCH_BUILD = 40 "store::no_such_build" "no installed build has this id";
    BUILD_ACTIVE = 41 "store::build_active" "the build is the active one";
    BUILD_CORRUPT = 42 "store::build_corrupt" "an installed build, its `build_info.json` or its tuning is damaged";
    SCHEMA_NEWER = 43 "store::schema_newer" "a file was written by a newer Caravan";
    NO_ROLLBACK = 44 "store::no_rollback" "there is no earlier build to go back to";
    SMOKE_FAILED = 45 "store::smoke_failed" "a tool of a build does not run on this machine";
    MODEL_UNREADABLE = 50 "model::unreadable" "a model does not exist, is not a file or cannot be read";
    MODEL_INVALID = 51 "model::invalid" "a file is not a GGUF model, or is damaged or truncated";
    THREADS_INVALID = 52 "host::threads_invalid" "a thread count is zero or more than this machine can use";
    VARIANT_UNAVAILABLE = 53 "host::variant_unavailable" "a build lacks the CPU variant that is asked for, or this machine cannot run it";
    MODEL_TOO_LARGE = 54 "model::too_large" "a model does not fit into the memory that this process may take";
    CONTEXT_FULL = 55 "llama::context_full" "a text is longer than the context has room for";
    INFERENCE_FAILED = 56 "llama::failed" "llama.cpp failed to make a context, or to compute";
    LIBRARY_MISMATCH = 57 "llama::library_mismatch" "the llama.cpp that was loaded is another version than the program was made for";
    BENCH_FAILED = 60 "measure::bench_failed" "a benchmark run failed";
    PROCESS_FAILED = 61 "process::failed" "a child process could not be started, ran too long or failed";
    NOT_TUNED = 62 "measure::not_tuned" "nothing is known of how this build runs best on this machine with this class of model";
    CHECK_FAILED = 70 "check::failed" "generated files are stale or a test step failed";
    ADDRESS_UNUSABLE = 80 "serve::address_unusable" "an address cannot be listened on, most often because another process does";
    BASE_INVALID = 84 "image::base_invalid" "`images/base.toml` cannot be read, or a package in it does not hold what is to be taken of it";
    BASE_UNAVAILABLE = 85 "image::base_unavailable" "a package that images stand on cannot be fetched, or is not the pinned one";
    K8S_RENDER = 90 "k8s::render_failed" "kustomize could not render an overlay, or what it rendered cannot be read";
    K8S_UNFIT = 91 "k8s::unfit" "a rendered manifest breaks the Kubernetes API's schema or a rule of ours";
    DEGRADED = 95 "model::degraded" "a model can be run only when something is given up that was wanted, and nobody has agreed to that";
    CONFIGURATION_INVALID = 96 "configuration::invalid" "a configuration is not of any format that is known, damaged, too large, or cannot be said in the format that was asked for";
    CONFIGURATION_UNFIT = 97 "configuration::unfit" "a configuration does not run on this machine, or not well";
    HARDWARE_UNKNOWN = 98 "hardware::unknown" "a machine is neither a profile nor a file that describes one";
    MEMORY_LOW = 99 "watch::memory_low" "a server takes more of the memory than is good for it";
    INTERRUPTED = 130 "interrupted" "stopped by Ctrl-C or SIGTERM; nothing was left half-written";
}

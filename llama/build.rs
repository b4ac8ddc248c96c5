//! Lets the tests and examples of this crate find llama.cpp where it was linked; programs that are installed beside it set
//! their own path.

fn main() {
    let dir = std::env::var("DEP_LLAMA_LIB_DIR").unwrap_or_default();
    if !dir.is_empty() {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{dir}");
    }
    // For tests that compare with the tools of the same build.
    println!("cargo::rustc-env=DEP_LLAMA_LIB_DIR_OF_TESTS={dir}");
}

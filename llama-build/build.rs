//! Tells the crate which target it was compiled for: the `cc` crate wants to know, and outside build scripts only we can
//! say.

fn main() {
    let target = std::env::var("TARGET").expect("cargo sets TARGET for build scripts");
    println!("cargo::rustc-env=LLAMA_BUILD_TARGET={target}");
    println!("cargo::rerun-if-changed=build.rs");
}

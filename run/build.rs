//! It lies in the `bin/` of a build, and llama.cpp in the `lib/` beside it.

fn main() {
    println!("cargo::rustc-link-arg-bins=-Wl,-rpath,$ORIGIN/../lib");
}

//! Finds or compiles llama.cpp; everything is in `llama-build`, where it is tested.

fn main() {
    llama_build::build_script::main();
}

//! The crate against the real llama.cpp that `LLAMA_LIB_DIR` named when this was compiled, on a generated model.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[expect(dead_code, reason = "other users write other files")]
#[path = "../../../gguf/tests/common/file.rs"]
mod file;

mod generation;
mod lifetimes;
mod loading;
mod misuse;
mod sequences;
mod upstream;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use gguf::model::{Quant, Shape, plan, write_file};
use llama::{Context, ContextOptions, Model, ModelOptions, Sampler, SamplerOptions, Threads, Token};

/// The tiny model with this seed, written once.
fn model_file(seed: u64) -> &'static Path {
    static FILES: [OnceLock<PathBuf>; 2] = [OnceLock::new(), OnceLock::new()];
    FILES[seed as usize].get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = dir.join(format!("tiny-{seed}-{}.gguf", std::process::id()));
        write_file(&plan(Shape::Tiny, Quant::Q8_0, seed), &path, |_| Ok(())).unwrap();
        path
    })
}

fn load() -> Model {
    Model::load(model_file(0), &ModelOptions::default()).unwrap()
}

/// One thread, so that many tests side by side do not wait for one another.
fn small() -> ContextOptions {
    ContextOptions { n_ctx: 512, threads: Some(Threads::both(1)), ..ContextOptions::default() }
}

fn context(model: &Model) -> Context {
    Context::new(model, &small()).unwrap()
}

fn greedy(model: &Model) -> Sampler {
    Sampler::new(model, &SamplerOptions::greedy()).unwrap()
}

/// The `n` most likely tokens after a prompt, one after the other.
fn generate(context: &mut Context, prompt: &str, n: usize) -> Vec<Token> {
    let model = context.model().clone();
    let mut sampler = greedy(&model);
    let prompt = model.tokenize(prompt).unwrap();
    let mut generation = context.prefill(&prompt).unwrap();
    let mut tokens = Vec::new();
    for _ in 0..n {
        let token = generation.sample(&mut sampler).unwrap();
        tokens.push(token);
        generation.step(token).unwrap();
    }
    tokens
}

//! Nothing is lost. A program of its own with one test, because memory is counted for the whole process.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;

use gguf::model::{Quant, Shape, plan, write_file};
use llama::{Context, ContextOptions, Model, ModelOptions, Sampler, SamplerOptions, Threads};

#[test]
fn nothing_is_lost_over_a_thousand_cycles() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tiny.gguf");
    write_file(&plan(Shape::Tiny, Quant::Q8_0, 0), &file, |_| Ok(())).unwrap();
    let load = || Model::load(&file, &ModelOptions::default()).unwrap();

    let model = load();
    let prompt = model.tokenize("hello").unwrap();
    let compute = || {
        let threads = Some(Threads { generation: 1, prompt: 2 });
        let options = ContextOptions { n_ctx: 512, threads, ..ContextOptions::default() };
        let mut context = Context::new(&model, &options).unwrap();
        let mut sampler = Sampler::new(&model, &SamplerOptions::default()).unwrap();
        let mut generation = context.prefill(&prompt).unwrap();
        let token = generation.sample(&mut sampler).unwrap();
        generation.step(token).unwrap();
    };
    // A context of this size takes 2 MB, a model as much: what is lost of one in a hundred would show.
    check("contexts", 1000, compute);
    check("models", 1000, || drop(load()));
}

/// Runs it `times` times after a while, and looks whether memory grows.
fn check(what: &str, times: usize, mut run: impl FnMut()) {
    (0..100).for_each(|_| run());
    let before = resident_bytes();
    (0..times).for_each(|_| run());
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 20 << 20, "{what}: {grown} bytes more than before");
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() << 10
}

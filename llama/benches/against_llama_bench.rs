//! What the crate costs: the same prompt and the same generation by `llama-bench` and by this crate, with the same
//! libraries, in turn, each time in a process of its own.
//!
//! ```console
//! $ LLAMA_LIB_DIR=$PWD/.local/lib cargo bench -p llama -- MODEL [THREADS [ROUNDS]]
//! ```
//!
//! Prints one JSON object: tokens per second of both, every sample, and the largest resident set in bytes.

#![expect(clippy::unwrap_used, reason = "in a benchmark a panic is the report")]

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use llama::{Context, ContextOptions, Model, ModelOptions, Sampler, SamplerOptions, Threads, Token};
use serde_json::{Value, json};

const PROMPT: usize = 512;
const GENERATE: usize = 128;
const LIMIT: Duration = Duration::from_secs(600);

fn main() {
    // `cargo bench` adds a flag for its own harness.
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    match &words[..] {
        [word, model, threads] if word == "measure" => {
            print!("{}", measure(Path::new(model), threads.parse().unwrap()));
        }
        [model, rest @ ..] => {
            let number =
                |i: usize, otherwise: u32| rest.get(i).map_or(otherwise, |word: &String| word.parse().unwrap());
            compare(Path::new(model), number(0, 2), number(1, 7));
        }
        [] => eprintln!("name a model: `cargo bench -p llama -- MODEL [THREADS [ROUNDS]]`"),
    }
}

/// One process of ours: what `llama-bench -r 1` does, a warm-up included, and a token is also chosen.
fn measure(model: &Path, threads: u32) -> Value {
    let model = Model::load(model, &ModelOptions::default()).unwrap();
    // llama-bench's context has room for one test.
    let options =
        ContextOptions { n_ctx: PROMPT as u32, threads: Some(Threads::both(threads)), ..ContextOptions::default() };
    let mut context = Context::new(&model, &options).unwrap();
    let mut sampler = Sampler::new(&model, &SamplerOptions::greedy()).unwrap();
    let tokens: Vec<Token> = model.tokenize(&"a".repeat(PROMPT)).unwrap().into_iter().take(PROMPT).collect();
    assert_eq!(tokens.len(), PROMPT);
    let mut prompt_seconds = 0.0;
    for _warm_then_measured in 0..2 {
        context.clear();
        let began = Instant::now();
        context.prefill(&tokens).unwrap();
        prompt_seconds = began.elapsed().as_secs_f64();
    }
    context.clear();
    let mut generation = context.prefill(&tokens[..1]).unwrap();
    let began = Instant::now();
    for _ in 0..GENERATE {
        let token = generation.sample(&mut sampler).unwrap();
        generation.step(token).unwrap();
    }
    let generation_seconds = began.elapsed().as_secs_f64();
    json!({ "prompt": PROMPT as f64 / prompt_seconds, "generation": GENERATE as f64 / generation_seconds })
}

fn compare(model: &Path, threads: u32, rounds: u32) {
    let lib = PathBuf::from(env::var_os("LLAMA_LIB_DIR").expect("`LLAMA_LIB_DIR` names the build's `lib`"));
    let bench = lib.parent().unwrap().join("bin/llama-bench");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let mut us = || ours.push(this_crate(model, threads));
        let mut them = || theirs.push(llama_bench(&bench, model, threads));
        // Whoever runs second finds the machine warmer.
        if round % 2 == 0 {
            us();
            them();
        } else {
            them();
            us();
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    let figures = |what: &str| {
        let of = |samples: &[Value]| samples.iter().map(|sample| sample[what].as_f64().unwrap()).collect::<Vec<f64>>();
        let (ours, theirs) = (of(&ours), of(&theirs));
        let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        json!({
            "llama": median(&ours), "llama-bench": median(&theirs),
            "ratio": { "median": median(&ratios), "least": least, "most": most },
            "samples": { "llama": ours, "llama-bench": theirs },
        })
    };
    let report = json!({
        "prompt_tokens_per_second": figures("prompt"),
        "tokens_per_second": figures("generation"),
        "peak_rss_bytes": figures("memory"),
    });
    println!("{report:#}");
}

fn llama_bench(program: &Path, model: &Path, threads: u32) -> Value {
    let mut command = Command::new(program);
    command.args(["-r", "1", "-o", "jsonl", "-p", &PROMPT.to_string(), "-n", &GENERATE.to_string()]);
    command.args(["-t", &threads.to_string(), "-m"]).arg(model).env_remove("LD_LIBRARY_PATH");
    let done = process::run(&mut command, LIMIT).unwrap();
    assert!(done.status.success(), "{}", done.last_words());
    let rates: Vec<f64> = done
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["avg_ts"].as_f64().unwrap())
        .collect();
    json!({ "prompt": rates[0], "generation": rates[1], "memory": done.peak_rss_bytes })
}

fn this_crate(model: &Path, threads: u32) -> Value {
    let mut command = Command::new(env::current_exe().unwrap());
    command.arg("measure").arg(model).arg(threads.to_string());
    let done = process::run(&mut command, LIMIT).unwrap();
    assert!(done.status.success(), "{}", done.last_words());
    let mut figures: Value = serde_json::from_str(&done.stdout).unwrap();
    figures["memory"] = done.peak_rss_bytes.into();
    figures
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

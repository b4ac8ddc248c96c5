//! Measures with the real llama-bench.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use diagnostic::Result;
use process::interrupt;

use super::journal::{Sample, Sizes};
use super::search::Sampler;
use super::setup::{Launch, Setup};
use crate::llama_bench::{self, Call, Process, Test};
use crate::report::Phase;
use crate::text;

/// How many processes a search should be able to run in its time: one with no more than two gains needs about 70.
const PROCESSES: u32 = 72;
/// The sizes that are measured at most and at least.
const PROMPTS: (u32, u32) = (64, 512);
const GENERATIONS: (u32, u32) = (16, 64);
/// The sizes that tell how fast the machine is.
const FIRST_LOOK: Sizes = Sizes { prompt: 64, generation: 16 };

/// Runs llama-bench on a model.
#[derive(Debug)]
pub struct LlamaBench<F> {
    model: PathBuf,
    began: Instant,
    on_start: F,
}

impl<F: FnMut(&Launch)> LlamaBench<F> {
    /// Measures this GGUF file; `on_start` hears of every process before it runs.
    ///
    /// # Errors
    /// [`MODEL_UNREADABLE`](diagnostic::codes::MODEL_UNREADABLE): llama-bench cannot take its path.
    pub fn new(model: PathBuf, on_start: F) -> Result<LlamaBench<F>> {
        llama_bench::check_model(&model)?;
        Ok(LlamaBench { model, began: Instant::now(), on_start })
    }

    /// How many tokens to measure so that a search fits into `budget`: as many as llama-bench does by default on a fast
    /// machine, fewer on a slow one. Runs the baseline once, which also brings the model into memory.
    ///
    /// # Errors
    /// The baseline does not run.
    pub fn sizes(&mut self, baseline: &Setup, budget: Duration) -> Result<Sizes> {
        let mut per_token = |phase, tokens| -> Result<f64> {
            let samples = self.sample(&baseline.launch(phase), &[Test { phase, tokens, depth: 0 }])?;
            Ok(samples[0].seconds_per_token)
        };
        let prompt = per_token(Phase::Prompt, FIRST_LOOK.prompt)?;
        let generation = per_token(Phase::Generation, FIRST_LOOK.generation)?;
        // Two thirds of the time for prompts, which run twice (once to warm up), a sixth for generation, the rest to load.
        let each = budget.as_secs_f64() / f64::from(PROCESSES);
        let fitting = |seconds: f64, per_token: f64, (least, most): (u32, u32)| {
            let fits = (seconds / per_token).clamp(f64::from(least), f64::from(most)) as u32;
            // A power of two: batches are, and a prompt that fills them measures nothing else.
            1 << fits.ilog2()
        };
        Ok(Sizes {
            prompt: fitting(each / 3.0, prompt, PROMPTS),
            generation: fitting(each / 6.0, generation, GENERATIONS),
        })
    }

    /// The arguments of a process.
    fn args(&self, launch: &Launch, tests: &[Test]) -> Vec<std::ffi::OsString> {
        let tokens = |phase| tests.iter().find(|test| test.phase == phase).map_or(0, |test| test.tokens);
        let depth = tests.iter().map(|test| test.depth).max().unwrap_or(0);
        let numbers = [("-p", tokens(Phase::Prompt)), ("-n", tokens(Phase::Generation)), ("-d", depth), ("-r", 1)];
        let mut args = vec!["-m".into(), self.model.clone().into(), "-o".into(), "jsonl".into()];
        args.extend(numbers.into_iter().flat_map(|(option, value)| [option.into(), value.to_string().into()]));
        args.extend(launch.args());
        args
    }

    /// One process, whose tests are all at the same depth.
    fn run(&self, launch: &Launch, tests: &[Test]) -> Result<Vec<Sample>> {
        let run = &launch.run;
        let args = self.args(launch, tests);
        let call = Call { program: &run.llama_bench, environment: &run.environment, args };
        let process = Process { label: &run.build, call, tests, threads: launch.threads, repetitions: 1 };
        let mut samples = Vec::new();
        let peak = process.run(|test, record| {
            // What is read back from JSON must be the very same number.
            let seconds = text::round(record.samples_ns[0] as f64 / 1e9 / f64::from(test.tokens), 12);
            samples.push(Sample { launch: launch.clone(), test, seconds_per_token: seconds, peak_memory_bytes: None });
        })?;
        for sample in &mut samples {
            sample.peak_memory_bytes = peak;
        }
        Ok(samples)
    }
}

impl<F: FnMut(&Launch)> Sampler for LlamaBench<F> {
    fn sample(&mut self, launch: &Launch, tests: &[Test]) -> Result<Vec<Sample>> {
        let mut depths: Vec<u32> = tests.iter().map(|test| test.depth).collect();
        depths.sort_unstable();
        depths.dedup();
        let mut samples = Vec::new();
        for depth in depths {
            interrupt::check()?;
            (self.on_start)(launch);
            let at: Vec<Test> = tests.iter().copied().filter(|test| test.depth == depth).collect();
            samples.extend(self.run(launch, &at)?);
        }
        Ok(samples)
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

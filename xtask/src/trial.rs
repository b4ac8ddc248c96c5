//! The measurement before installation: the build as it will run, with and without OpenBLAS where that is the question.

use std::collections::BTreeMap;

use build_info::{Blas, BlasFigures, Rates};
use diagnostic::{Error, Result, codes};
use gguf::model::{Quant, Shape};
use host::Host;
use llama_build::blas::OpenBlas;
use measure::{Phase, Report, bench, compare_two};

use crate::image::Image;
use crate::models::Model;
use crate::openblas::Wish;
use crate::{machine, measuring, models, ui};

/// What the measurement gave.
pub(crate) struct Measured {
    pub(crate) blas: Blas,
    /// Of the build as it is installed.
    pub(crate) rates: Rates,
    pub(crate) threads: usize,
    pub(crate) model: String,
}

/// Enough for a verdict: five pairs, and short prompts; OpenBLAS takes over from 32 tokens on.
const ROUNDS: u32 = 5;
const PROMPT: u32 = 256;
const GENERATE: u32 = 32;
const WITHOUT: &str = "without openblas";
const WITH: &str = "with openblas";

/// Measures the image as it will run, with and without OpenBLAS in turn where that is the question, and takes the
/// plug-in out of the image when it lost, or does not work.
///
/// # Errors
/// llama-bench fails without OpenBLAS, or with it where it must be used; we were interrupted.
pub(crate) fn run(host: &Host, image: &Image, wish: Wish, blas: Result<OpenBlas, String>) -> Result<Measured> {
    let model = models::generated(Shape::OneB, Quant::Q4KM)?;
    let threads = machine::heuristic(host)?.generation;
    let measure = |sides: &[&str]| measure_sides(host, image, &model, threads, sides);
    let done = |blas: Blas, rates: Rates| Measured { blas, rates, threads, model: model.class.to_string() };
    let without = |vendor: Option<String>, version: Option<String>, reason: String| -> Result<Measured> {
        let mut rates = measure(&[WITHOUT])?;
        let blas = Blas { enabled: false, vendor, version, reason, measured: None, extra: Default::default() };
        Ok(done(blas, rates.rates.remove(0)))
    };
    let found = match blas {
        Ok(found) => found,
        Err(reason) => return without(None, None, reason),
    };
    let vendor = || Some("OpenBLAS".to_owned());
    let both = match measure(&[WITHOUT, WITH]) {
        Ok(both) => both,
        Err(error) if wish == Wish::Auto && error.code() != codes::INTERRUPTED => {
            ui::note(format!("openblas  left out: {error}"));
            image.drop_blas(&found)?;
            return without(vendor(), Some(found.version), format!("it does not work here: {error}"));
        }
        Err(error) => return Err(error),
    };
    let [off, on] = <[Rates; 2]>::try_from(both.rates).expect("two sides were measured");
    let verdict = compare_two(&both.report, WITH);
    let enabled = verdict.keep || wish == Wish::On;
    let reason = match wish {
        Wish::On => format!("switched on with `--blas on`; measured: {}", verdict.reason),
        _ => verdict.reason,
    };
    ui::note(format!("openblas  {}: {reason}", if enabled { "kept" } else { "left out" }));
    if !enabled {
        image.drop_blas(&found)?;
    }
    let rates = if enabled { on.clone() } else { off.clone() };
    let measured = Some(BlasFigures { on, off, extra: Default::default() });
    let blas =
        Blas { enabled, vendor: vendor(), version: Some(found.version), reason, measured, extra: Default::default() };
    Ok(done(blas, rates))
}

/// A report, and the medians of its sides in their order.
struct Sides {
    report: Report,
    rates: Vec<Rates>,
}

fn measure_sides(host: &Host, image: &Image, model: &Model, threads: usize, labels: &[&str]) -> Result<Sides> {
    let side = |&label: &&str| bench::Build {
        label: label.to_owned(),
        llama_bench: image.bin().join("llama-bench"),
        environment: BTreeMap::from([(
            "GGML_BACKEND_SKIP".to_owned(),
            if label == WITH { String::new() } else { "blas".to_owned() },
        )]),
        args: Vec::new(),
    };
    let report = measuring::run(&bench::Plan {
        builds: labels.iter().map(side).collect(),
        model: model.path.clone(),
        model_bytes: model.bytes,
        bytes_per_token: model.bytes_per_token(GENERATE),
        threads: vec![threads],
        n_prompt: PROMPT,
        n_gen: GENERATE,
        rounds: ROUNDS,
        repetitions: 1,
        bandwidth: None,
        machine: machine::description(host),
    })?;
    if report.interrupted {
        return Err(Error::new(codes::INTERRUPTED, "interrupted"));
    }
    let rates = labels.iter().map(|label| {
        let build = report.build(label);
        let speed = |phase| Some(build?.figure(phase, threads)?.tokens_per_second);
        let uses_blas = build.and_then(|build| build.backends.as_deref()).is_some_and(|all| all.contains("BLAS"));
        if *label == WITH && !uses_blas {
            return Err(Error::new(codes::GATE_FAILED, "llama.cpp does not load the OpenBLAS plug-in"));
        }
        match (speed(Phase::Prompt), speed(Phase::Generation)) {
            (Some(prompt), Some(generation)) => Ok(Rates { prompt, generation, extra: Default::default() }),
            _ => Err(Error::new(codes::BENCH_FAILED, format!("llama-bench gave no figures {label}"))),
        }
    });
    Ok(Sides { rates: rates.collect::<Result<_>>()?, report })
}

//! The portable build on processors that are not here: which CPU variant it takes, that it runs, and that every variant
//! computes the same.
//!
//! `qemu-x86_64` emulates a CPU model for one process, so an instruction that the model lacks ends it with a SIGILL. Its
//! TCG knows up to AVX2; AVX-512 variants run where the tests' own machine has AVX-512, and are compared like the others.
//!
//! Logits come from `llama-server`: `/completion` with `n_probs` gives the log-probability of every token as the 32-bit
//! number that it is, where `llama-perplexity --save-all-logits` rounds to 16 bits and cuts off below the maximum - 16.
//! A log-probability is the logit less a constant, so vectors are compared after their mean is taken off.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use gguf::model::{self, Quant, Shape};
use host::variants::{FORCE, X86_64};

use crate::installed::{Installed, Portable, output, text};
use crate::server::Server;

/// Emulated processor, and the variant that it must take, each variant once. QEMU 7.2 or later.
const MODELS: &[(&str, &str)] = &[
    ("core2duo", "x64"),
    ("Nehalem", "sse42"),
    ("SandyBridge", "sandybridge"),
    ("IvyBridge", "ivybridge"),
    ("Opteron_G5", "piledriver"),
    ("Haswell", "haswell"),
];

/// Processors that are something else than they look like.
const ODD_MODELS: &[(&str, &str)] = &[
    // All that the emulator can do, which is more than Haswell and less than any AVX-512.
    ("max", "haswell"),
    // The CPU reports AVX, and no operating system has enabled it: upstream's loader takes `haswell` and dies of it.
    ("max,-xsave", "sse42"),
    // -msse4.2 stands for more than SSE4.2.
    ("max,-popcnt", "x64"),
];

/// A quantisation, and how far the logits of a variant may be from those of `x64`, as normalised mean square error.
///
/// Variants sum in another order. Such a difference of 1e-7 moves an activation over a rounding border now and then, when
/// activations are rounded to the weights' kind (8 bits, or 16-bit floats), and through the layers that grows to the size
/// of the rounding itself and not beyond. Measured: F16 1.3e-7, Q8_0 1.2e-4, Q4_0 1.9e-4, Q4_K_M 1.4e-4; the bounds are ten
/// times the largest of their kind. Losing the last block of every row in one single matrix of the model is 1e-2 already.
const BOUNDS: &[(Quant, f64)] = &[(Quant::F16, 1.5e-6), (Quant::Q8_0, 2e-3), (Quant::Q4_0, 2e-3), (Quant::Q4KM, 2e-3)];

/// Longest prompt first: 41 tokens at once, which is how prompts run, then one more at a time on top of what is cached,
/// which is how generation runs.
const TEXT: &str = "The quick brown fox jumps over the lazy dog, and it";
const FIRST: usize = 40;
const STEPS: usize = 4;
/// Tokens of the tiny model.
const VOCABULARY: usize = 288;

/// A program on an emulated CPU.
fn emulated(cpu: &str, program: &Path) -> Command {
    let version = Command::new("qemu-x86_64").arg("--version").output();
    assert!(
        version.is_ok_and(|done| done.status.success()),
        "`qemu-x86_64` is missing: install it with `apt-get install qemu-user`"
    );
    let mut command = Command::new("nice");
    command.args(["-n", "10", "qemu-x86_64", "-cpu", cpu]).arg(program).env_remove(FORCE);
    command
}

struct Models {
    dir: tempfile::TempDir,
}

impl Models {
    fn new() -> Models {
        Models { dir: tempfile::tempdir().unwrap() }
    }

    fn tiny(&self, quant: Quant) -> PathBuf {
        let plan = model::plan(Shape::Tiny, quant, 1);
        let path = self.dir.path().join(plan.file_name());
        if !path.exists() {
            model::write_file(&plan, &path, |_| Ok(())).unwrap();
        }
        path
    }
}

/// What a server computed: the variant that it has loaded, and a vector of log-probabilities per step.
struct Run {
    variant: String,
    logits: Vec<Vec<f64>>,
}

fn run(server: Command, model: &Path) -> Run {
    let what = format!("{server:?}");
    let server = Server::spawn(server, model);
    let variant = server.loaded_variant();
    let logits = (0..STEPS).map(|step| {
        let request = serde_json::json!({
            "prompt": &TEXT[..FIRST + step], "n_predict": 1, "n_probs": VOCABULARY, "temperature": 0, "cache_prompt": true,
        });
        let (status, body) = server.post("/completion", &request.to_string());
        assert_eq!(status, 200, "{what}: {body}");
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        let processed = answer["timings"]["prompt_n"].as_u64().unwrap();
        assert_eq!(processed, if step == 0 { FIRST as u64 + 1 } else { 1 }, "{what}: step {step}");
        let all = answer["completion_probabilities"][0]["top_logprobs"].as_array().unwrap();
        let by_token: BTreeMap<u64, f64> = all
            .iter()
            .map(|token| (token["id"].as_u64().unwrap(), token["logprob"].as_f64().expect("a finite number")))
            .collect();
        assert!(by_token.keys().copied().eq(0..VOCABULARY as u64), "{what}: not every token has a probability");
        assert!(by_token.values().all(|value| value.is_finite() && *value > -200.0), "{what}: {by_token:?}");
        by_token.into_values().collect()
    });
    Run { logits: logits.collect(), variant }
}

/// What a variant computes, forced, where the server is given these words.
fn logits(portable: &Portable, variant: &str, words: &[&str], model: &Path) -> Vec<Vec<f64>> {
    let mut server = Command::new(portable.bin("llama-server"));
    server.args(words).env(FORCE, variant);
    let run = run(server, model);
    assert_eq!(run.variant, variant);
    run.logits
}

/// The mean square of the difference, over the mean square of what is right; every vector less its mean.
fn nmse(right: &[Vec<f64>], other: &[Vec<f64>]) -> f64 {
    let centred = |vector: &[f64]| {
        let mean = vector.iter().sum::<f64>() / vector.len() as f64;
        vector.iter().map(|value| value - mean).collect::<Vec<f64>>()
    };
    let (mut error, mut square) = (0.0, 0.0);
    for (right, other) in right.iter().zip(other) {
        for (right, other) in centred(right).iter().zip(centred(other)) {
            error += (right - other).powi(2);
            square += right * right;
        }
    }
    error / square
}

#[test]
fn every_cpu_takes_its_variant_and_computes_what_x64_computes() {
    let portable = Installed::find().portable();
    let models = Models::new();
    for &(quant, bound) in BOUNDS {
        let model = models.tiny(quant);
        let mut right = None;
        let odd = if quant == Quant::Q4_0 { ODD_MODELS } else { &[] };
        for &(cpu, variant) in MODELS.iter().chain(odd) {
            let run = run(emulated(cpu, &portable.bin("llama-server")), &model);
            assert_eq!(run.variant, variant, "{cpu}, {quant}");
            let right = right.get_or_insert_with(|| run.logits.clone());
            let error = nmse(right, &run.logits);
            println!("{quant} {cpu}: {variant}, nmse {error:.1e}");
            assert!(error < bound, "{cpu} ({variant}), {quant}: {error:e}");
        }
    }
}

#[test]
fn every_variant_that_runs_here_computes_what_x64_computes() {
    let portable = Installed::find().portable();
    let models = Models::new();
    let cpu = host::Host::probe().cpu;
    let choice = host::variants::choose(&cpu, &portable.variants(), None);
    for &(quant, bound) in BOUNDS {
        let model = models.tiny(quant);
        let forced = |variant: &str| logits(&portable, variant, &[], &model);
        let right = forced("x64");
        for variant in choice.runnable() {
            let error = nmse(&right, &forced(variant));
            println!("{quant} {variant}: nmse {error:.1e}");
            assert!(error < bound, "{variant}, {quant}: {error:e}");
        }
    }
}

/// Where weights are not rearranged, other kernels run, and which of them depends on how many tokens are read at once.
#[test]
fn weights_as_they_were_read_compute_the_same_in_batches_of_every_size() {
    let portable = Installed::find().portable();
    let models = Models::new();
    let cpu = host::Host::probe().cpu;
    let choice = host::variants::choose(&cpu, &portable.variants(), None);
    let taken = choice.taken().unwrap();
    for &(quant, bound) in BOUNDS {
        let model = models.tiny(quant);
        let batches =
            |variant: &str, size: &str| logits(&portable, variant, &["--no-repack", "--ubatch-size", size], &model);
        let right = batches("x64", "1");
        for variant in choice.runnable().filter(|variant| ["haswell", taken].contains(variant)) {
            // Of 41 tokens some are left over: 1, 6, 5, 11 and 9.
            for at_once in ["5", "7", "12", "15", "16"] {
                let error = nmse(&right, &batches(variant, at_once));
                println!("{quant} {variant}, {at_once} at once: nmse {error:.1e}");
                assert!(error < bound, "{variant}, {quant}, {at_once} at once: {error:e}");
            }
        }
    }
}

#[test]
fn show_build_names_the_variant_that_is_taken() {
    let installed = Installed::find();
    let portable = installed.portable();
    let shown = |mut command: Command| {
        let done = output(command.args(["show-build", &portable.id(), "--json"]).env("CARAVAN_HOME", installed.home()));
        assert!(done.status.success(), "{}", text(&done.stderr));
        let shown: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(shown["variants"].as_array().unwrap().len(), X86_64.variants.len());
        shown["variant"].as_str().unwrap().to_owned()
    };
    let xtask = Path::new(env!("CARGO_BIN_EXE_xtask"));
    for (cpu, variant) in MODELS.iter().chain(ODD_MODELS) {
        assert_eq!(shown(emulated(cpu, xtask)), *variant, "{cpu}");
    }
    // And without emulation, on whatever this machine is.
    let mut here = Command::new(xtask);
    here.env_remove(FORCE);
    let mut bench = Command::new(portable.bin("llama-bench"));
    let loaded = text(&output(bench.arg("--list-devices").env_remove(FORCE)).stderr);
    let variant = shown(here);
    assert!(loaded.contains(&format!("libggml-cpu-{variant}.so")), "{variant}: {loaded}");
}

#[test]
fn a_forced_variant_is_taken_or_the_program_ends() {
    let portable = Installed::find().portable();
    let models = Models::new();
    let model = models.tiny(Quant::Q4_0);
    let mut server = emulated("Haswell", &portable.bin("llama-server"));
    server.env(FORCE, "sse42");
    assert_eq!(run(server, &model).variant, "sse42");

    // Not there, not a name, or not for this CPU: one line, exit status 1, no crash later.
    for (variant, why) in
        [("granite", "does not exist"), ("../lib/libggml-cpu-x64", "does not exist"), ("zen4", "needs features")]
    {
        for tool in ["llama-server", "llama-bench", "llama-completion"] {
            let mut command = emulated("core2duo", &portable.bin(tool));
            let done = output(command.arg("-m").arg(&model).env(FORCE, variant));
            let said = text(&done.stderr);
            assert_eq!((done.status.code(), done.status.signal()), (Some(1), None), "{tool}, {variant}: {said}");
            let errors: Vec<&str> = said.lines().filter(|line| line.contains("error")).collect();
            let [error] = errors[..] else { panic!("{tool}, {variant}: {said}") };
            assert!(error.contains(&format!("'{variant}'")) && error.contains(why), "{tool}: {error}");
            assert!(error.contains("haswell, icelake"), "{tool} does not name what there is: {error}");
        }
    }
    // Empty is as good as not set.
    let mut bench = emulated("core2duo", &portable.bin("llama-bench"));
    let done = output(bench.arg("--list-devices").env(FORCE, ""));
    assert!(text(&done.stderr).contains("libggml-cpu-x64.so"), "{}", text(&done.stderr));
}

#[test]
fn variants_are_measured_side_by_side() {
    let installed = Installed::find();
    let portable = installed.portable();
    let bench = |variants: &str, build: &str| {
        let tiny = ["--shape", "tiny", "--rounds", "1", "--prompt", "32", "--generate", "8", "--threads", "1"];
        let mut command = installed.xtask(&["bench", "--builds", build, "--variant", variants, "--json", "-"]);
        output(command.args(tiny))
    };
    let done = bench("x64,sse42", &portable.id());
    assert!(done.status.success(), "{}", text(&done.stderr));
    let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    let labels: Vec<&str> =
        report["builds"].as_array().unwrap().iter().map(|build| build["label"].as_str().unwrap()).collect();
    assert_eq!(labels, [format!("{}@x64", portable.id()), format!("{}@sse42", portable.id())]);
    assert!(text(&done.stderr).contains("not kept"), "figures of a forced variant must not become tuning");

    assert_eq!(bench("granite", &portable.id()).status.code(), Some(53));
    // The native build of the same store has no variants.
    let native = fs::read_dir(installed.home().join("builds")).unwrap();
    let native = native.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let native = native.into_iter().find(|name| name.starts_with("native-")).expect("a native build");
    let refused = bench("x64", &native);
    assert_eq!(refused.status.code(), Some(53), "{}", text(&refused.stderr));
}

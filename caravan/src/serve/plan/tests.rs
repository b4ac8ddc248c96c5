//! The plan, through every rule that it follows.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use build_info::{BuildKind, ClassTuning, Figure, PhaseTuning};
use diagnostic::codes;
use gguf::Header;
use gguf::model::{Quant, Shape};
use host::{Cpu, CpuBudget, Memory, Sourced, Topology};

use super::*;

const GB: u64 = 1_000_000_000;

/// 8 cores, quota and memory of a pod, and the 1b model.
pub(in crate::serve) fn inputs() -> Inputs {
    let json = br#"{"schema_version":1,"build_type":"native_optimized","date":"2026-10-01T00:00:00Z","hostname":"h",
        "cpu_model":"Test CPU 9000","cpu_flags":["avx2","fma"],"cmake_flags":[],"llama_version":"0.5.0",
        "llama_commit":"0c1e57098bba43ac29e6e3b677cdceebdd22334f","llama_tree":"b2da53584951ec8aa40680229509a6646a637560",
        "patches":[],"compiler":"g++ 12","reproducible":false,"optimal_threads":6,"variants":[],"glibc_floor":null,
        "blas":{"enabled":false,"vendor":"OpenBLAS","version":"0.3.21","reason":"0.7x of prompts without it","measured":null},
        "lto":false,"openssl":null}"#;
    let plan = gguf::model::plan(Shape::OneB, Quant::Q4KM, 1);
    let header = Header {
        version: gguf::VERSION,
        metadata: plan.metadata,
        tensors: plan.tensors,
        data_offset: plan.data_offset,
    };
    Inputs {
        auto: Decided::default(),
        build: "/opt/caravan".into(),
        info: BuildInfo::from_json(json, std::path::Path::new("build_info.json")).unwrap(),
        host: host(8, None),
        measured: None,
        model: Some(Model { path: "/models/1b.gguf".into(), bytes: plan.file_bytes, header }),
        variables: Variables::new(),
        asked: Asked { threads: None, ctx: None, host: "127.0.0.1".to_owned(), port: 8080, force: false },
        arguments: Vec::new(),
    }
}

pub(in crate::serve) fn host(cpus: usize, quota: Option<f64>) -> Host {
    let quota = quota.map(|quota| Sourced::new(quota, "cpu.max"));
    Host {
        cpu: Cpu {
            model: Some("Test CPU 9000".to_owned()),
            features: vec!["avx2".to_owned(), "fma".to_owned()],
            ..Cpu::default()
        },
        topology: Topology::uniform(cpus, 1, "test"),
        budget: CpuBudget::new(Sourced::new(cpus, "affinity"), quota, None),
        memory: Memory { budget: Some(Sourced::new(4 * GB, "test")), ..Memory::default() },
        gpus: Vec::new(),
        os: None,
        kernel: None,
    }
}

fn measured(settings: &[(&str, &str)], environment: &[(&str, &str)]) -> Measured {
    let phase = |threads: u32| {
        let threads = NonZeroU32::new(threads).unwrap();
        PhaseTuning {
            threads,
            tokens_per_second: 50.0,
            tokens: threads,
            baseline: Figure { threads, tokens_per_second: 40.0, extra: Default::default() },
            trials: Vec::new(),
            extra: Default::default(),
        }
    };
    Measured {
        class: "1b/q4_k_m".parse().unwrap(),
        tuning: ClassTuning {
            date: "2026-11-20T10:00:00Z".parse().unwrap(),
            unstable: false,
            generation: phase(4),
            prompt: phase(8),
            settings: settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect(),
            environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            bytes_per_token: None,
            search: None,
            extra: Default::default(),
        },
    }
}

fn with(inputs: Inputs, variables: &[(&str, &str)], arguments: &str) -> Inputs {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Inputs { variables, arguments: arguments.split_whitespace().map(str::to_owned).collect(), ..inputs }
}

fn text(inputs: &Inputs) -> String {
    plan(inputs).unwrap().to_string()
}

fn value(plan: &Plan, name: &str) -> Option<String> {
    plan.settings.iter().find(|setting| setting.name == name)?.value.clone()
}

fn threads(inputs: &Inputs) -> (String, String) {
    let plan = plan(inputs).unwrap();
    let of = |name| value(&plan, name).unwrap_or_default();
    (of("--threads"), of("--threads-batch"))
}

fn pair(generation: usize, prompt: usize) -> (String, String) {
    (generation.to_string(), prompt.to_string())
}

#[test]
fn without_measurements_every_setting_says_why() {
    insta::assert_snapshot!(text(&inputs()), @"
    /opt/caravan/bin/llama-server
      --model          /models/1b.gguf  `--model`
      --host           127.0.0.1        `--host`
      --port           8080             `--port`
      --threads        6                chosen when the build was made: 6 for generation, 6 for prompts
      --threads-batch  6                chosen when the build was made: 6 for generation, 6 for prompts
      --ctx-size       4096             what the model was trained for
      --cache-ram      1485             MiB: half of the 3.1 GB that are left
      --batch-size     2048             as llama-server has it
      --ubatch-size    512              as llama-server has it
      --load-mode      mmap             processes share the weights, and the kernel may drop them
    ");
}

#[test]
fn what_was_measured_is_used_under_llama_servers_names() {
    let tuned = measured(
        &[("repack", "0"), ("ubatch-size", "256"), ("poll", "0"), ("flash-attn", "off")],
        &[("OMP_WAIT_POLICY", "active")],
    );
    insta::assert_snapshot!(text(&Inputs { measured: Some(tuned), ..inputs() }), @"
    /opt/caravan/bin/llama-server
      OMP_WAIT_POLICY  active           tuning of 1b/q4_k_m on 2026-11-20
      --model          /models/1b.gguf  `--model`
      --host           127.0.0.1        `--host`
      --port           8080             `--port`
      --threads        4                tuning of 1b/q4_k_m on 2026-11-20: 4 for generation, 8 for prompts
      --threads-batch  8                tuning of 1b/q4_k_m on 2026-11-20: 4 for generation, 8 for prompts
      --ctx-size       4096             what the model was trained for
      --cache-ram      1441             MiB: half of the 3.0 GB that are left
      --batch-size     2048             as llama-server has it
      --ubatch-size    256              tuning of 1b/q4_k_m on 2026-11-20
      --load-mode      mmap             processes share the weights, and the kernel may drop them
      --no-repack                       tuning of 1b/q4_k_m on 2026-11-20
      --flash-attn     off              tuning of 1b/q4_k_m on 2026-11-20
      --poll           0                tuning of 1b/q4_k_m on 2026-11-20
      --poll-batch     0                tuning of 1b/q4_k_m on 2026-11-20
    ");
}

#[test]
fn a_person_wins_and_nothing_is_set_twice() {
    let inputs = with(
        inputs(),
        &[("LLAMA_ARG_UBATCH", "64"), ("ENABLE_BLAS", "true")],
        "-t 3 -tb 5 -c 2048 --cache-ram 0 --alias mine",
    );
    insta::assert_snapshot!(text(&inputs), @"
    /opt/caravan/bin/llama-server
      --model       /models/1b.gguf  `--model`
      --host        127.0.0.1        `--host`
      --port        8080             `--port`
      --batch-size  2048             as llama-server has it
      --load-mode   mmap             processes share the weights, and the kernel may drop them
      -t 3 -tb 5 -c 2048 --cache-ram 0 --alias mine  passed on
    note: `--ubatch-size` is left to `LLAMA_ARG_UBATCH=64`
    note: `ENABLE_BLAS=true` changes nothing: this build has no BLAS (0.7x of prompts without it)
    ");
    let plan = plan(&inputs).unwrap();
    assert_eq!(plan.threads, None, "what a person has fixed does not change while the server runs");
    for name in ["--threads", "--threads-batch", "--ctx-size", "--cache-ram", "--ubatch-size"] {
        assert!(plan.settings.iter().all(|setting| setting.name != name), "{name}");
    }
    assert!(plan.args().collect::<Vec<_>>().ends_with(&["--cache-ram", "0", "--alias", "mine"]));
}

#[test]
fn threads_follow_job_measurement_build_and_bounds() {
    let job = |value: &str| {
        with(inputs(), &[("CARAVAN_THREAD_MODE", "auto"), ("CARAVAN_JOB", "coding"), ("CODING_THREADS", value)], "")
    };
    let tuned = || Inputs { measured: Some(measured(&[], &[])), ..inputs() };
    assert_eq!(threads(&inputs()), pair(6, 6), "the build's own choice");
    assert_eq!(threads(&tuned()), pair(4, 8));
    assert_eq!(
        threads(&Inputs { host: host(8, Some(2.9)), ..tuned() }),
        pair(2, 2),
        "a live budget caps a measurement"
    );
    assert_eq!(threads(&job("3")), pair(3, 3));
    assert_eq!(threads(&job("9999")), pair(8, 8));
    assert_eq!(threads(&with(tuned(), &[("OMP_NUM_THREADS", "5,2")], "")), pair(4, 5));
    for ignored in ["", "0", "many", "-4"] {
        assert_eq!(threads(&with(tuned(), &[("OMP_NUM_THREADS", ignored)], "")), pair(4, 8), "{ignored}");
    }
    for bad in ["0", "-1", "abc", ""] {
        assert_eq!(plan(&job(bad)).unwrap_err().code(), codes::THREADS_INVALID, "{bad}");
    }
    let mut explicit = with(inputs(), &[("OMP_NUM_THREADS", "1")], "");
    explicit.asked.threads = Some(7);
    assert_eq!(threads(&explicit), pair(7, 7), "`--threads` wins over all");
    assert_eq!(plan(&explicit).unwrap().threads, None);
}

#[test]
fn more_threads_than_the_budget_are_refused_unless_forced() {
    let mut asked = inputs();
    asked.asked.threads = Some(9);
    let refused = |inputs: &Inputs| {
        let error = plan(inputs).unwrap_err();
        assert_eq!(error.code(), codes::THREADS_INVALID);
        error.to_string()
    };
    insta::assert_snapshot!(refused(&asked), @"`--threads 9` is more than the CPU budget of 8");
    asked.asked.force = true;
    assert_eq!(threads(&asked), pair(9, 9));
    insta::assert_snapshot!(refused(&with(inputs(), &[], "-tb 64")), @"`-tb` after `--`: 64 threads are more than the CPU budget of 8");
    insta::assert_snapshot!(refused(&with(inputs(), &[], "--threads -1")), @"`--threads` after `--`: `-1` lets llama-server take every CPU of the machine");
    insta::assert_snapshot!(refused(&with(inputs(), &[("LLAMA_ARG_THREADS", "64")], "")), @"`LLAMA_ARG_THREADS`: 64 threads are more than the CPU budget of 8");
    insta::assert_snapshot!(refused(&with(inputs(), &[], "-t")), @"`-t` after `--`: `` is not a thread count");
}

#[test]
fn a_native_build_is_refused_on_another_cpu_and_a_portable_one_is_not() {
    let mut inputs = inputs();
    inputs.host.cpu = Cpu { model: Some("Old CPU".to_owned()), features: vec!["avx2".to_owned()], ..Cpu::default() };
    let error = plan(&inputs).unwrap_err();
    assert_eq!(error.code(), codes::VARIANT_UNAVAILABLE);
    insta::assert_snapshot!(error, @"this build was compiled for Test CPU 9000; Old CPU lacks `fma`");
    inputs.asked.force = true;
    assert!(plan(&inputs).is_ok());
    inputs.asked.force = false;
    inputs.info.build_type = BuildKind::Portable;
    assert!(plan(&inputs).is_ok());
}

#[test]
fn a_model_that_does_not_fit_is_refused_unless_forced() {
    let mut inputs = inputs();
    inputs.host.memory.budget = Some(Sourced::new(GB / 2, "memory.max"));
    assert_eq!(plan(&inputs).unwrap_err().code(), codes::MODEL_TOO_LARGE);
    inputs.asked.force = true;
    assert!(plan(&inputs).is_ok());
}

#[test]
fn blas_is_switched_where_the_build_has_it() {
    let mut inputs = with(inputs(), &[("ENABLE_BLAS", "false")], "");
    let environment = |inputs: &Inputs| -> BTreeMap<String, Option<String>> {
        plan(inputs).unwrap().environment.into_iter().map(|setting| (setting.name, setting.value)).collect()
    };
    assert_eq!(environment(&inputs), BTreeMap::new(), "there is none to switch off");
    inputs.info.blas.enabled = true;
    assert_eq!(environment(&inputs)["GGML_BACKEND_SKIP"].as_deref(), Some("blas"));
    inputs.measured = Some(measured(&[], &[("GGML_BACKEND_SKIP", "blas")]));
    inputs.variables.insert("ENABLE_BLAS".to_owned(), "true".to_owned());
    assert_eq!(environment(&inputs)["GGML_BACKEND_SKIP"].as_deref(), Some(""), "a person wins over a measurement");
}

//! What is written is read back as the same settings, in every format.

use gguf::model::{Quant, Shape};
use planner::configuration::{self, Configuration, Format, Metadata, Model, Setting, Value, can_say, make, options};
use planner::feasibility::{Question, UseCase, answer};
use proptest::prelude::*;

use super::{GB, header, machine};

/// What is planned for the reference model on a machine with a small card.
pub(crate) fn planned() -> Configuration {
    let header = header(Shape::Solar10B7, Quant::Q4KM);
    let hardware = machine(16 * GB, 6 * GB);
    let question = Question { header: &header, use_case: UseCase::LongContext, ctx: None, min_ctx: None };
    let found = answer(&question, &hardware).unwrap();
    let model = Model { path: "models/solar 10.7b.gguf", size: "10.7b", precision: "q4_k_m" };
    let measured = [configuration::Measured { name: "repack".into(), value: "0".into(), source: "a test".into() }];
    make(&found, &hardware, &model, &measured, "not measured yet")
}

/// Name and value of every setting that a format can say, sorted.
fn said(configuration: &Configuration, format: Format) -> Vec<(String, Value)> {
    let settings = configuration.settings.iter().filter(|setting| can_say(format, setting));
    let mut said: Vec<_> = settings.map(|setting| (setting.name.clone(), setting.value.clone())).collect();
    said.sort_by(|a, b| a.0.cmp(&b.0));
    said
}

fn written(format: Format) -> String {
    configuration::write(&planned(), format).unwrap()
}

#[test]
fn a_command_line() {
    insta::assert_snapshot!(written(Format::CommandLine), @r#"
    # hardware: a processor (a test)
    # use case: long-context
    # model: 10.7b q4_k_m
    # expected: not measured yet
    # memory: 8.6 GB, and 5.3 GB of GPUs
    llama-server \
      --model 'models/solar 10.7b.gguf' \
      --ctx-size 4096 \
      --parallel 1 \
      --threads 6 \
      --threads-batch 6 \
      --batch-size 2048 \
      --ubatch-size 512 \
      --n-gpu-layers 32 \
      --cache-ram 5533 \
      --load-mode mmap \
      --no-repack
    "#);
}

#[test]
fn variables() {
    insta::assert_snapshot!(written(Format::Environment), @r#"
    # hardware: a processor (a test)
    # use case: long-context
    # model: 10.7b q4_k_m
    # expected: not measured yet
    # memory: 8.6 GB, and 5.3 GB of GPUs
    LLAMA_ARG_MODEL=models/solar 10.7b.gguf
    LLAMA_ARG_CTX_SIZE=4096
    LLAMA_ARG_N_PARALLEL=1
    LLAMA_ARG_THREADS=6
    LLAMA_ARG_BATCH=2048
    LLAMA_ARG_UBATCH=512
    LLAMA_ARG_N_GPU_LAYERS=32
    LLAMA_ARG_CACHE_RAM=5533
    LLAMA_ARG_LOAD_MODE=mmap
    LLAMA_ARG_REPACK=0
    # no variable says this: --threads-batch 6
    "#);
}

#[test]
fn a_preset() {
    insta::assert_snapshot!(written(Format::Preset), @r#"
    ; hardware: a processor (a test)
    ; use case: long-context
    ; model: 10.7b q4_k_m
    ; expected: not measured yet
    ; memory: 8.6 GB, and 5.3 GB of GPUs
    [solar-10.7b]
    model = models/solar 10.7b.gguf
    ctx-size = 4096
    parallel = 1
    threads = 6
    threads-batch = 6
    batch-size = 2048
    ubatch-size = 512
    n-gpu-layers = 32
    cache-ram = 5533
    load-mode = mmap
    repack = false
    "#);
}

#[test]
fn yaml() {
    insta::assert_snapshot!(written(Format::Yaml), @r#"
    backend: llama.cpp
    model_path: models/solar 10.7b.gguf
    settings:
      n_ctx: 4096
      n_parallel: 1
      n_threads: 6
      n_threads_batch: 6
      n_batch: 2048
      n_ubatch: 512
      n_gpu_layers: 32
      cache_ram: 5533
      load_mode: mmap
      repack: false
    metadata:
      hardware: a processor (a test)
      use_case: long-context
      model_size: 10.7b
      precision: q4_k_m
      expected: not measured yet
      estimated_memory:
        ram_bytes: 8596648960
        vram_bytes: 5316872224
    "#);
}

#[test]
fn json() {
    insta::assert_snapshot!(written(Format::Json), @r#"
    {
      "backend": "llama.cpp",
      "model_path": "models/solar 10.7b.gguf",
      "settings": {
        "n_ctx": 4096,
        "n_parallel": 1,
        "n_threads": 6,
        "n_threads_batch": 6,
        "n_batch": 2048,
        "n_ubatch": 512,
        "n_gpu_layers": 32,
        "cache_ram": 5533,
        "load_mode": "mmap",
        "repack": false
      },
      "metadata": {
        "hardware": "a processor (a test)",
        "use_case": "long-context",
        "model_size": "10.7b",
        "precision": "q4_k_m",
        "expected": "not measured yet",
        "estimated_memory": {
          "ram_bytes": 8596648960,
          "vram_bytes": 5316872224
        }
      }
    }
    "#);
}

#[test]
fn a_modelfile() {
    insta::assert_snapshot!(written(Format::Modelfile), @r#"
    # hardware: a processor (a test)
    # use case: long-context
    # model: 10.7b q4_k_m
    # expected: not measured yet
    # memory: 8.6 GB, and 5.3 GB of GPUs
    FROM models/solar 10.7b.gguf
    PARAMETER num_ctx 4096
    # no parameter says this: --parallel 1
    PARAMETER num_thread 6
    # no parameter says this: --threads-batch 6
    PARAMETER num_batch 2048
    # no parameter says this: --ubatch-size 512
    PARAMETER num_gpu 32
    # no parameter says this: --cache-ram 5533
    # no parameter says this: --load-mode mmap
    # no parameter says this: --no-repack
    "#);
}

#[test]
fn a_format_is_known_by_what_it_looks_like() {
    for format in Format::ALL {
        assert_eq!(Format::of(&written(format)), format);
    }
    assert_eq!(Format::of("llama-server -m a.gguf"), Format::CommandLine);
    assert_eq!(Format::of(""), Format::CommandLine);
}

#[test]
fn what_people_write_is_read() {
    let read = |text: &str| configuration::read(text, Format::of(text)).unwrap().remove(0);
    let one = read("llama-server -m 'a b.gguf' -c 4096 \\\n  -nr --kv_unified # a comment\n");
    assert_eq!(one.model.as_deref(), Some("a b.gguf"));
    assert_eq!(one.get("ctx-size").unwrap().value(), "4096");
    assert_eq!(one.get("repack").unwrap().value, Value::Switch(false));
    assert_eq!(one.get("kv-unified").unwrap().value, Value::Switch(true));
    let two = read("export LLAMA_ARG_CTX_SIZE=4096\nPATH=/bin\nLLAMA_ARG_NO_REPACK=1\n");
    assert_eq!((two.settings.len(), two.get("repack").unwrap().value()), (2, "0"));
    let three =
        configuration::read("[*]\nc = 512\n[a]\nmodel = a.gguf ; here\n[b]\nc = 1024\n", Format::Preset).unwrap();
    assert_eq!(three.iter().map(|one| one.get("ctx-size").unwrap().value()).collect::<Vec<_>>(), ["512", "1024"]);
    assert_eq!(three[0].model.as_deref(), Some("a.gguf"));
    let four = read("FROM a.gguf\nSYSTEM \"\"\"\nbe\nkind\n\"\"\"\nPARAMETER num_ctx 4096\n");
    assert_eq!(four.get("ctx-size").unwrap().value(), "4096");
    let five = read("settings:\n  n_ctx: 4096\n  flash_attn: on\n  repack: false\n");
    assert_eq!(five.get("flash-attn").unwrap().value(), "on");
    assert_eq!(five.get("repack").unwrap().value, Value::Switch(false));
}

#[test]
fn what_was_given_up_is_read_back() {
    let mut degraded = planned();
    degraded.metadata.degraded = vec!["half of it".to_owned(), "the rest".to_owned()];
    for format in Format::ALL {
        let text = configuration::write(&degraded, format).unwrap();
        let read = configuration::read(&text, format).unwrap().remove(0);
        assert_eq!(read.metadata.degraded, degraded.metadata.degraded, "{format}");
    }
}

#[test]
fn bombs_do_not_go_off() {
    let aliases: String = (1..40).map(|n| format!("a{n}: &a{n} [*a{},*a{}]\n", n - 1, n - 1)).collect();
    let deep = "[".repeat(100_000);
    let many: String = (0..5000).map(|n| format!("--x{n} ")).collect();
    for text in
        [format!("a0: &a0 [x]\n{aliases}"), deep.clone(), format!("settings: {deep}"), format!("{{\"a\":{deep}"), many]
    {
        for format in Format::ALL {
            let _ = configuration::read(&text, format);
        }
    }
    assert!(configuration::read(&" ".repeat(configuration::MOST_BYTES + 1), Format::Json).is_err());
}

/// Any option with any value that stands on one line.
fn setting() -> impl Strategy<Value = Setting> {
    let all = options::all();
    let known =
        all.iter().filter(|option| option.name() != "model" && !option.name().starts_with("control-vector-layer"));
    // A preset's `version` is that of its format, and no program that serves prints one.
    let known: Vec<&options::Opt> = known.filter(|option| option.name() != "version").collect();
    (proptest::sample::select(known), "[ -~\u{e4}\u{4f60}]{0,20}", any::<bool>()).prop_map(|(option, text, on)| {
        // A switch that nothing turns off is there or it is not.
        let on = on || option.negated.is_empty();
        let value = if option.takes_value { Value::Text(text) } else { Value::Switch(on) };
        Setting { name: option.name().to_owned(), value, source: String::new() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_written_is_read_back_as_the_same_settings(
        settings in proptest::collection::vec(setting(), 0..12), model in "[ -~\u{e4}]{1,30}",
    ) {
        let mut settings = settings;
        settings.sort_by(|a, b| a.name.cmp(&b.name));
        settings.dedup_by(|a, b| a.name == b.name);
        let all = Configuration { name: None, model: Some(model), settings, metadata: Metadata::default() };
        for format in Format::ALL {
            // What a format has no way to say is refused, and never said wrongly.
            let Ok(text) = configuration::write(&all, format) else {
                prop_assert!([Format::Preset, Format::Modelfile].contains(&format), "{format}");
                continue;
            };
            let read = configuration::read(&text, format);
            prop_assert!(read.is_ok(), "{format}\n{text}\n{read:?}");
            let read = read.unwrap().remove(0);
            prop_assert_eq!(&read.model, &all.model, "{}\n{}", format, &text);
            prop_assert_eq!(said(&read, format), said(&all, format), "{}\n{}", format, &text);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes);
        let hardware = machine(8 * GB, 4 * GB);
        let header = header(Shape::Tiny, Quant::Q4KM);
        for format in Format::ALL.into_iter().chain([Format::of(&text)]) {
            for one in configuration::read(&text, format).unwrap_or_default() {
                let _ = configuration::check(&one, Some(&header), &hardware, Some(512)).unwrap();
            }
        }
    }

    #[test]
    fn no_values_make_the_check_panic(settings in proptest::collection::vec(setting(), 0..20), numbers in proptest::collection::vec("-?[0-9]{1,20}", 8)) {
        let mut all = Configuration { settings, ..Configuration::default() };
        for (name, value) in
            ["ctx-size", "parallel", "batch-size", "ubatch-size", "n-gpu-layers", "threads", "cache-ram", "ctx-checkpoints"]
                .iter()
                .zip(numbers)
        {
            all.settings.retain(|setting| setting.name != *name);
            all.settings.push(Setting { name: (*name).to_owned(), value: Value::Text(value), source: String::new() });
        }
        let header = header(Shape::Tiny, Quant::Q4KM);
        let _ = configuration::check(&all, Some(&header), &machine(8 * GB, 4 * GB), Some(512)).unwrap();
    }
}

//! The memory model against llama.cpp's own account of the build under test: seventeen models of thirteen architectures,
//! forty-odd settings each. Nothing is loaded but headers.

mod models;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use planner::memory::{FlashAttention, KvType, LogitsRows, Machine, Part, Repacks, Setting, breakdown};

/// `xtask/src/environment.rs` names it.
const HOME: &str = "CARAVAN_TEST_HOME";

/// What llama.cpp says of one setting, in bytes.
#[derive(Debug, Clone, Copy)]
struct Answer {
    weights: u64,
    context: u64,
    compute: u64,
}

impl Answer {
    fn total(&self) -> u64 {
        self.weights + self.context + self.compute
    }
}

/// The settings that each model is asked about.
fn settings() -> Vec<Setting> {
    let mut settings = Vec::new();
    for ctx in [4096, 32_768, 131_072] {
        for ubatch in [128, 512, 2048] {
            let plain = Setting { ubatch, ..Setting::single(ctx) };
            for kind in [KvType::F16, KvType::Q8_0, KvType::Q4_0] {
                settings.push(Setting { flash_attention: FlashAttention::On, ..plain.clone().with_kv(kind) });
            }
            settings.push(Setting { flash_attention: FlashAttention::Off, ..plain });
        }
        settings.push(Setting::server(ctx));
        settings.push(Setting { kv_unified: false, flash_attention: FlashAttention::Off, ..Setting::server(ctx) });
        settings.push(Setting { logits: LogitsRows::EveryToken, swa_full: true, ..Setting::single(ctx) });
    }
    settings
}

/// A setting as oracle.cpp reads it.
fn line(setting: &Setting) -> String {
    let flag = u8::from;
    let rows = if setting.logits == LogitsRows::EveryToken { 0 } else { setting.sequences };
    format!(
        "{} {} {} {} {} {} {} {} {rows}\n",
        setting.ctx,
        setting.kv_k.tensor_type().id(),
        setting.kv_v.tensor_type().id(),
        setting.ubatch,
        flag(setting.flash_attention != FlashAttention::Off),
        setting.sequences,
        flag(setting.kv_unified),
        flag(setting.swa_full),
    )
}

/// The little program, compiled against the headers of the pinned source and the libraries of the build.
fn oracle(home: &Path) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = here.join("../vendor/llama.cpp");
    assert!(source.join("include/llama.h").is_file(), "no source in `vendor/llama.cpp`: run `cargo xtask vendor`");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oracle");
    let libraries = home.join("lib");
    let mut compiler = Command::new("c++");
    compiler.args(["-std=c++17", "-O1"]);
    for headers in ["include", "ggml/include", "src"] {
        compiler.arg("-I").arg(source.join(headers));
    }
    compiler.arg(here.join("tests/oracle/oracle.cpp")).arg("-o").arg(&program);
    compiler.arg("-L").arg(&libraries).args(["-lllama", "-lggml", "-lggml-base"]);
    compiler.arg(format!("-Wl,-rpath,{}", libraries.display()));
    let done = compiler.output().expect("a C++ compiler is installed");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    program
}

fn ask(oracle: &Path, model: &Path, settings: &[Setting]) -> Vec<Option<Answer>> {
    let mut child = Command::new(oracle)
        .arg(model)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the oracle starts");
    let questions: String = settings.iter().map(line).collect();
    // A pipe holds all of them.
    child.stdin.take().expect("it is piped").write_all(questions.as_bytes()).expect("the oracle listens");
    let done = child.wait_with_output().expect("the oracle ends");
    assert!(done.status.success(), "llama.cpp does not load {}: {}", model.display(), done.status);
    let answers = String::from_utf8(done.stdout).expect("it prints numbers");
    answers
        .lines()
        .map(|line| {
            let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
            let &[weights, context, compute] = numbers.as_slice() else { return None };
            Some(Answer { weights, context, compute })
        })
        .collect()
}

/// Which weights llama.cpp rearranges on this machine.
fn repacks() -> Repacks {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return Repacks::Avx512;
        }
        if is_x86_feature_detected!("avx2") {
            return Repacks::Avx2;
        }
    }
    Repacks::Nothing
}

/// One row of the table: what was compared, and how far apart.
#[derive(Default)]
struct Row {
    cells: usize,
    /// Above llama.cpp's figure, in bytes and as a share of it.
    over: Vec<(u64, f64)>,
}

#[test]
fn the_memory_model_agrees_with_llama_cpp() {
    let Some(home) = std::env::var_os(HOME).map(PathBuf::from) else {
        panic!("`{HOME}` names no store with a build: run `cargo xtask test`");
    };
    let oracle = oracle(&home);
    let machine = Machine::cpu_only(None, repacks());
    let settings = settings();
    let mut wrong = String::new();
    let mut table = String::from(
        "| model | architecture | settings | KV cache and state | total above, mean | total above, most |\n|---|---|---|---|---|---|\n",
    );
    for model in models::all() {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oracle.gguf");
        model.sketch.write(&path).expect("there is room for a header");
        let answers = ask(&oracle, &path, &settings);
        std::fs::remove_file(&path).expect("it was written");
        assert_eq!(answers.len(), settings.len(), "{}", model.name);
        let header = model.sketch.header();
        let mut row = Row::default();
        for (setting, answer) in settings.iter().zip(answers) {
            let asked = line(setting);
            let ours = breakdown(&header, setting, &machine);
            let (Some(answer), Ok(ours)) = (answer, &ours) else {
                if answer.is_some() != ours.is_ok() {
                    writeln!(wrong, "{} {} llama.cpp {answer:?}, we {:?}", model.name, asked.trim(), ours.err()).unwrap();
                }
                continue;
            };
            let host = ours.host();
            let weights = host.bytes(Part::Weights) + host.bytes(Part::Repacked);
            let context = host.bytes(Part::KvCache) + host.bytes(Part::RecurrentState);
            let compute = host.bytes(Part::Compute);
            let (total, theirs) = (weights + context + compute, answer.total());
            let room = (theirs / 100 * 3).max(150 << 20);
            if weights != answer.weights || context != answer.context || total < theirs || total > theirs + room {
                writeln!(wrong, "{} {} {answer:?}, we {weights} {context} {compute}", model.name, asked.trim()).unwrap();
            }
            if std::env::var_os("ORACLE_DETAIL").is_some() && compute != answer.compute {
                println!("DETAIL {} | {} | {} {}", model.name, asked.trim(), answer.compute, compute as i64 - answer.compute as i64);
            }
            row.cells += 1;
            let over = total.saturating_sub(theirs);
            row.over.push((over, over as f64 / theirs as f64));
        }
        writeln!(table, "{}", row.print(model.name, header.metadata.architecture().unwrap())).unwrap();
    }
    assert!(wrong.is_empty(), "\n{wrong}\n{table}");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/fit.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    assert!(page.contains(&table), "docs/fit.md has another table than this one:\n{table}");
}

impl Row {
    fn print(&self, name: &str, architecture: &str) -> String {
        let mean = self.over.iter().map(|(_, share)| share).sum::<f64>() / self.over.len().max(1) as f64;
        let most = self.over.iter().copied().fold((0, 0.0), |most, over| if over.1 > most.1 { over } else { most });
        format!(
            "| {name} | `{architecture}` | {} | equal | {:.2} % | {:.2} % ({:.1} MiB) |",
            self.cells,
            mean * 100.0,
            most.1 * 100.0,
            most.0 as f64 / f64::from(1 << 20),
        )
    }
}

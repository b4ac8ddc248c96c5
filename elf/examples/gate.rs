//! `cargo run -p elf --example gate -- DIRECTORY [TEXT...]`: the gate over a finished, unstripped build of llama.cpp, as
//! it would be shipped. Each TEXT, such as the build directory, must not be in what is shipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use diagnostic::{Error, Result};
use elf::gate::{File, Forbidden, Reviewed, Role, Rules, check_all};
use elf::{Code, Facts};

/// ggml's variants for x86, each with its options.
const VARIANTS: &[(&str, &[&str])] = &[
    ("x64", &[]),
    ("sse42", &["SSE42"]),
    ("sandybridge", &["SSE42", "AVX"]),
    ("ivybridge", &["SSE42", "AVX", "F16C"]),
    ("piledriver", &["SSE42", "AVX", "F16C", "FMA"]),
    ("haswell", &["SSE42", "AVX", "F16C", "FMA", "AVX2", "BMI2"]),
    ("alderlake", &["SSE42", "AVX", "F16C", "FMA", "AVX2", "BMI2", "AVX_VNNI"]),
    ("skylakex", &["SSE42", "AVX", "F16C", "FMA", "AVX2", "BMI2", "AVX512"]),
    ("cannonlake", &["SSE42", "AVX", "F16C", "FMA", "AVX2", "BMI2", "AVX512", "AVX512_VBMI"]),
    ("cascadelake", &["SSE42", "AVX", "F16C", "FMA", "AVX2", "BMI2", "AVX512", "AVX512_VNNI"]),
    ("icelake", &["SSE42", "AVX", "F16C", "FMA", "AVX2", "BMI2", "AVX512", "AVX512_VBMI", "AVX512_VNNI"]),
    ("cooperlake", &["SSE42", "AVX", "F16C", "FMA", "AVX2", "BMI2", "AVX512", "AVX512_VNNI", "AVX512_BF16"]),
    ("zen4", &["SSE42", "AVX", "F16C", "FMA", "AVX2", "BMI2", "AVX512", "AVX512_VBMI", "AVX512_VNNI", "AVX512_BF16"]),
    (
        "sapphirerapids",
        &[
            "SSE42",
            "AVX",
            "F16C",
            "FMA",
            "AVX2",
            "BMI2",
            "AVX512",
            "AVX512_VBMI",
            "AVX512_VNNI",
            "AVX512_BF16",
            "AMX_TILE",
            "AMX_INT8",
        ],
    ),
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().unwrap_or_else(|| ".".to_owned());
    let texts: Vec<String> = arguments.collect();
    if let Err(error) = run(Path::new(&directory), &texts) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

struct Built {
    name: String,
    built: Vec<u8>,
    shipped: Vec<u8>,
}

fn run(directory: &Path, texts: &[String]) -> Result<()> {
    let fail = |error| Error::io("cannot read", directory, error);
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .map_err(fail)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let mut built = elf::read(&path)?;
        if elf::is_elf(&built) {
            elf::stamp(&mut built)?;
            let shipped = elf::strip(&built)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            describe(&name, &built, &shipped)?;
            all.push(Built { name, built, shipped });
        }
    }

    let files: Vec<File<'_>> = all.iter().map(file).collect();
    let forbidden: Vec<Forbidden<'_>> =
        texts.iter().map(|text| Forbidden { what: "a forbidden text", text: text.as_bytes() }).collect();
    let reviewed = [Reviewed {
        file: "*",
        symbol: "_ZL*ma_dr_flac*",
        isas: &["LZCNT"],
        reason: "miniaudio's FLAC decoder asks CPUID before it counts zeros",
    }];
    let start = Instant::now();
    let findings = check_all(&files, &Rules { forbidden: &forbidden, reviewed: &reviewed, ..Rules::llama_cpp() })?;
    println!("{} files, {} findings in {:.2?}", files.len(), findings.len(), start.elapsed());
    for finding in findings {
        println!("{finding}");
    }
    Ok(())
}

fn file(built: &Built) -> File<'_> {
    let stem = built.name.strip_prefix("libggml-cpu-").and_then(|rest| rest.strip_suffix(".so"));
    let role = match stem {
        Some(variant) => {
            let features = VARIANTS.iter().find(|(name, _)| *name == variant).map_or(&[][..], |(_, features)| features);
            Role::CpuBackend { variant, features }
        }
        None if built.name.ends_with(".so") => Role::Library,
        None => Role::Tool,
    };
    File { name: &built.name, role, built: &built.built, shipped: &built.shipped }
}

fn describe(name: &str, built: &[u8], shipped: &[u8]) -> Result<()> {
    let debug = elf::debug_file(built)?.len();
    println!("{name}: {} bytes; {} stripped, {debug} in the debug file", built.len(), shipped.len());
    let facts = Facts::of(built)?;
    println!("  needs {}; build id {:?}", facts.needed.join(", "), facts.build_id.map(|id| id.to_string()));
    for required in facts.required {
        let symbols = required.symbols.join(", ");
        println!("  {} {} {} for {symbols}", required.library, required.family, required.version);
    }
    let start = Instant::now();
    let code = Code::of(built)?;
    println!("  {} instructions, decoded in {:.2?}", code.instructions, start.elapsed());
    for (isa, (first, count)) in code.isas() {
        println!("  {isa}: {count}, first in {} at {:#x}", first.place(), first.address);
    }
    let reach = code.reach(&["ggml_backend_score"]);
    println!(
        "  {} functions can run early, {} calls through pointers among them, {} instructions beyond the baseline",
        reach.functions.len(),
        reach.indirect_calls,
        reach.uses.len()
    );
    Ok(())
}

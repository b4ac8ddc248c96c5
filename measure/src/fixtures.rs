//! Plans and reports for tests.

use std::collections::BTreeMap;

use crate::bandwidth::Bandwidth;
use crate::bench::{Build, Plan};
use crate::report::{Observed, Phase, Report, Run};

/// Label, threads, milliseconds per prompt, milliseconds per generation; each further one of a label and thread count
/// is a further round.
pub(crate) type Row = (&'static str, usize, u64, u64);

/// A row per round.
pub(crate) fn rounds(label: &'static str, threads: usize, prompt: &[u64], generation: &[u64]) -> Vec<Row> {
    prompt.iter().zip(generation).map(|(p, g)| (label, threads, *p, *g)).collect()
}

pub(crate) fn plan(labels: &[&str]) -> Plan {
    let build = |label: &&str| Build {
        label: (*label).to_owned(),
        llama_bench: format!("/opt/{label}/bin/llama-bench").into(),
        environment: BTreeMap::new(),
        args: Vec::new(),
    };
    Plan {
        builds: labels.iter().map(build).collect(),
        model: "/models/1b.gguf".into(),
        model_bytes: 667_000_000,
        bytes_per_token: Some(600_000_000),
        threads: vec![1, 2],
        n_prompt: 512,
        n_gen: 128,
        rounds: 3,
        repetitions: 1,
        bandwidth: None,
        machine: serde_json::json!({"cpu": "a CPU"}),
    }
}

pub(crate) fn observed(rows: &[Row]) -> Observed {
    let mut observed = Observed::default();
    for (i, &(label, threads, prompt, generation)) in rows.iter().enumerate() {
        let round = rows[..i].iter().filter(|row| row.0 == label && row.1 == threads).count() as u32;
        for (phase, tokens, ms) in [(Phase::Prompt, 512, prompt), (Phase::Generation, 128, generation)] {
            observed.runs.push(Run {
                build: label.to_owned(),
                round,
                threads,
                phase,
                tokens,
                samples_ns: vec![ms * 1_000_000],
                peak_memory_bytes: Some((800 + threads as u64) << 20),
            });
        }
        observed.records.entry(label.to_owned()).or_insert_with(|| {
            let line = r#"{"n_prompt": 512, "n_gen": 0, "n_threads": 1, "samples_ns": [1], "build_commit": "0c1e570",
                "build_number": 9, "backends": "CPU", "model_type": "llama 1B Q4_K - Medium", "model_n_params": 11}"#;
            serde_json::from_str(line).unwrap()
        });
    }
    observed.bandwidth =
        Some(Bandwidth { gb_s: 30.0, passes_gb_s: vec![29.0, 30.0], threads: 2, buffer_bytes: 256 << 20 });
    observed
}

/// A report of these rows; builds in the order of their first row.
pub(crate) fn report(rows: &[Row]) -> Report {
    let mut labels: Vec<&str> = Vec::new();
    for row in rows {
        if !labels.contains(&row.0) {
            labels.push(row.0);
        }
    }
    let mut report = Report::new(&plan(&labels), observed(rows));
    report.environment.clear();
    report
}

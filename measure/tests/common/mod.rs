//! A plan over the fake llama-bench.

use std::collections::BTreeMap;

use measure::bench::{Build, Plan};

/// A build whose llama-bench behaves as `fake` says; see `fake-llama-bench.sh`.
pub(crate) fn build(label: &str, fake: &str) -> Build {
    Build {
        label: label.to_owned(),
        llama_bench: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake-llama-bench.sh").into(),
        environment: BTreeMap::from([("FAKE".to_owned(), fake.to_owned())]),
        args: Vec::new(),
    }
}

/// Three rounds at one and two threads.
pub(crate) fn plan(builds: Vec<Build>) -> Plan {
    Plan {
        builds,
        model: "some model.gguf".into(),
        model_bytes: 1000,
        bytes_per_token: Some(1000),
        threads: vec![1, 2],
        n_prompt: 512,
        n_gen: 128,
        rounds: 3,
        repetitions: 1,
        bandwidth: None,
        machine: serde_json::json!({"cpu": "a CPU"}),
    }
}

//! One line of `llama-bench -o jsonl`.
//!
//! The fields are those of `jsonl_printer` in llama-bench.cpp at our pin. Fields that we do not need may come and go;
//! those that a figure is made from must be there.

use diagnostic::{Error, Result, codes};
use serde::Deserialize;

/// Longer lines are not results: one is about a kilobyte, plus twenty bytes per sample.
const MAX_LINE: usize = 1 << 20;
/// How much of a bad line is quoted.
const QUOTED: usize = 120;

/// What llama-bench says about one test.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Record {
    pub(crate) n_prompt: u32,
    pub(crate) n_gen: u32,
    #[serde(default)]
    pub(crate) n_depth: u32,
    pub(crate) n_threads: usize,
    /// Wall time of each repetition.
    pub(crate) samples_ns: Vec<u64>,
    #[serde(default)]
    pub(crate) build_commit: Option<String>,
    #[serde(default)]
    pub(crate) build_number: Option<i64>,
    #[serde(default)]
    pub(crate) backends: Option<String>,
    #[serde(default)]
    pub(crate) cpu_info: Option<String>,
    #[serde(default)]
    pub(crate) model_type: Option<String>,
    #[serde(default)]
    pub(crate) model_n_params: Option<u64>,
}

/// Reads a line of standard output; none for a line that is not a result, such as what a library prints.
pub(crate) fn parse(line: &str) -> Result<Option<Record>> {
    let line = line.trim();
    if !line.starts_with('{') {
        return Ok(None);
    }
    if line.len() > MAX_LINE {
        return Err(bad(line, "a line longer than 1 MiB"));
    }
    let record: Record = serde_json::from_str(line).map_err(|error| bad(line, &error.to_string()).source(error))?;
    if record.samples_ns.is_empty() || record.samples_ns.contains(&0) {
        return Err(bad(line, "samples that took no time"));
    }
    Ok(Some(record))
}

fn bad(line: &str, why: &str) -> Error {
    let start: String = line.chars().take(QUOTED).collect();
    let dots = if start.len() < line.len() { " ..." } else { "" };
    Error::new(codes::BENCH_FAILED, format!("llama-bench printed what cannot be read ({why}): `{start}{dots}`"))
        .hint("is it the llama-bench of a llama.cpp that Caravan supports?")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = r#"{"n_prompt": 512, "n_gen": 0, "n_threads": 2, "new_field": [1], "samples_ns": [ 5, 6 ]}"#;

    #[test]
    fn unknown_fields_are_ignored_and_noise_is_no_result() {
        let record = parse(GOOD).unwrap().unwrap();
        assert_eq!((record.n_prompt, record.n_gen, record.n_threads), (512, 0, 2));
        assert_eq!(record.samples_ns, [5, 6]);
        assert_eq!(record.build_commit, None);
        assert_eq!(parse("ggml_backend: loaded").unwrap(), None);
        assert_eq!(parse("").unwrap(), None);
    }

    #[test]
    fn a_missing_field_is_named_and_the_line_shown() {
        let error = parse(r#"{"n_prompt": 512, "n_gen": 0, "n_threads": 2}"#).unwrap_err();
        assert_eq!(error.code(), codes::BENCH_FAILED);
        insta::assert_snapshot!(error, @r#"llama-bench printed what cannot be read (missing field `samples_ns` at line 1 column 45): `{"n_prompt": 512, "n_gen": 0, "n_threads": 2}`"#);
    }

    #[test]
    fn zero_or_no_samples_are_refused() {
        for samples in ["[]", "[5, 0]", "[-1]", "[1.5]", "null"] {
            let line = GOOD.replace("[ 5, 6 ]", samples);
            assert!(parse(&line).is_err(), "{line}");
        }
    }

    #[test]
    fn an_endless_line_is_not_parsed() {
        let line = GOOD.replace("[ 5, 6 ]", &format!("[ 5{} ]", ", 5".repeat(MAX_LINE / 3)));
        assert!(parse(&line).unwrap_err().to_string().contains("longer than 1 MiB"));
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "\\PC{0,200}", cut in 0..GOOD.len()) {
            let _ = parse(&line);
            let _ = parse(&format!("{{{line}"));
            prop_assert!(cut == 0 || parse(&GOOD[..cut]).is_err());
        }
    }
}

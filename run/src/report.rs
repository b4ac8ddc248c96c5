//! Figures at the end.

use std::time::Duration;

use llama::Threads;
use serde_json::json;

use crate::answer::Answer;

/// For people, to standard error.
pub(crate) fn show(answer: &Answer) {
    let figures = &answer.figures;
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1} tokens/s"));
    anstream::eprintln!(
        "prompt      {} tokens in {:.2} s, {} (time to the first token)",
        figures.prompt_tokens,
        figures.prompt.as_secs_f64(),
        rate(figures.prompt_per_second()),
    );
    anstream::eprintln!("generation  {} tokens, {}", answer.tokens, rate(figures.generated_per_second()));
    if let (Some(median), Some(most)) = (figures.inter_token(0.5), figures.inter_token(0.95)) {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        anstream::eprintln!("per token   {:.1} ms, 95 % within {:.1} ms", ms(median), ms(most));
    }
}

/// For programs.
pub(crate) fn json(prompt: &str, answer: &Answer, threads: Threads) -> String {
    let figures = &answer.figures;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let object = json!({
        "prompt": prompt,
        "text": answer.text,
        "ended": answer.ended.name(),
        "prompt_tokens": figures.prompt_tokens,
        "tokens": answer.tokens,
        "prompt_tokens_per_second": figures.prompt_per_second(),
        "tokens_per_second": figures.generated_per_second(),
        "time_to_first_token_ms": ms(figures.prompt),
        "inter_token_ms": { "p50": figures.inter_token(0.5).map(ms), "p95": figures.inter_token(0.95).map(ms) },
        "threads": { "generation": threads.generation, "prompt": threads.prompt },
    });
    format!("{object:#}\n")
}

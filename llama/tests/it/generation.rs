//! Text, as llama.cpp's own tools make it.

use std::path::Path;
use std::process::{Command, Stdio};

use llama::{Context, Error, Sampler, SamplerOptions, Threads};

use crate::{context, generate, greedy, load, model_file, small};

#[test]
fn the_most_likely_tokens_are_those_of_llama_completion() {
    let lib = Path::new(env!("DEP_LLAMA_LIB_DIR_OF_TESTS"));
    let tool = lib.parent().unwrap().join("bin/llama-completion");
    let model = load();
    for prompt in ["hello", "The quick brown fox", "x"] {
        let theirs = Command::new(&tool)
            .args(["--no-conversation", "--temp", "0", "-n", "32", "-t", "1", "--no-warmup", "-p", prompt, "-m"])
            .arg(model_file(0))
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", tool.display()));
        assert!(theirs.status.success(), "{}", String::from_utf8_lossy(&theirs.stderr));
        let theirs = String::from_utf8_lossy(&theirs.stdout).into_owned();
        let ours = model.text(&generate(&mut context(&model), prompt, 32)).unwrap();
        let generated = theirs.trim_start().strip_prefix(prompt).expect("the prompt is echoed first");
        // It ends its text with blank lines.
        assert_eq!(ours.trim_end(), generated.trim_end(), "after `{prompt}`");
    }
}

#[test]
fn a_prompt_in_parts_is_the_prompt_at_once() {
    let model = load();
    let prompt = "a prompt that is longer than one part, and then some";
    let whole = generate(&mut context(&model), prompt, 8);
    let mut in_parts = Context::new(&model, &llama::ContextOptions { n_batch: 7, n_ubatch: 7, ..small() }).unwrap();
    assert_eq!(generate(&mut in_parts, prompt, 8), whole);
}

#[test]
fn a_seed_gives_the_same_text_and_reset_begins_again() {
    let model = load();
    let mut context = context(&model);
    let prompt = model.tokenize("hello").unwrap();
    let mut text = |sampler: &mut Sampler| -> Vec<i32> {
        context.clear();
        let mut generation = context.prefill(&prompt).unwrap();
        (0..24)
            .map(|_| {
                let token = generation.sample(sampler).unwrap();
                generation.step(token).unwrap();
                token.id()
            })
            .collect()
    };
    let sampler =
        |seed| Sampler::new(&model, &SamplerOptions { seed, temperature: 2.0, ..Default::default() }).unwrap();
    let mut first = sampler(1);
    let one = text(&mut first);
    assert_eq!(text(&mut sampler(1)), one);
    first.reset();
    assert_eq!(text(&mut first), one);
    assert_ne!(text(&mut sampler(2)), one);
    assert_eq!(text(&mut sampler(u32::MAX)), text(&mut sampler(u32::MAX)), "no seed is random");
}

#[test]
fn a_full_context_says_so_and_goes_on_after_it_was_cleared() {
    let model = load();
    let mut context = Context::new(&model, &llama::ContextOptions { n_ctx: 256, ..small() }).unwrap();
    let room = context.n_ctx() as usize;
    let token = model.tokenize("a").unwrap()[0];
    let too_long = vec![token; room + 1];
    assert_eq!(context.prefill(&too_long).unwrap_err(), Error::Full { capacity: room as u32 });
    assert_eq!(context.next_position(Default::default()).unwrap().index(), 0, "nothing was read");
    let mut generation = context.prefill(&too_long[..room - 1]).unwrap();
    let mut sampler = greedy(&model);
    let token = generation.sample(&mut sampler).unwrap();
    generation.step(token).unwrap();
    assert_eq!(generation.step(token).unwrap_err(), Error::Full { capacity: room as u32 });
    assert!(generation.sample(&mut sampler).is_ok(), "the text stays as it is");
    context.clear();
    assert!(context.prefill(&too_long[..room]).is_ok());
}

#[test]
fn figures_count_what_was_done() {
    let model = load();
    let mut context = context(&model);
    let prompt = model.tokenize("hello").unwrap();
    let mut generation = context.prefill(&prompt).unwrap();
    assert_eq!(generation.figures().inter_token(0.5), None);
    for _ in 0..5 {
        let token = generation.sample(&mut greedy(&model)).unwrap();
        generation.step(token).unwrap();
    }
    let figures = generation.figures();
    assert_eq!((figures.prompt_tokens, figures.steps.len()), (prompt.len(), 5));
    assert!(figures.prompt_per_second().unwrap() > 0.0 && figures.generated_per_second().unwrap() > 0.0);
    assert!(
        figures.inter_token(0.0) <= figures.inter_token(0.5) && figures.inter_token(0.5) <= figures.inter_token(1.0)
    );
}

#[test]
fn threads_change_at_any_time() {
    let model = load();
    let mut context = context(&model);
    let once = generate(&mut context, "hello", 8);
    for threads in [Threads { generation: 1, prompt: 2 }, Threads { generation: 2, prompt: 1 }, Threads::both(2)] {
        context.set_threads(threads).unwrap();
        assert_eq!(context.threads(), threads);
        context.clear();
        assert_eq!(generate(&mut context, "hello", 8), once);
    }
    // Pools that were never computed with are not lost, and not freed too early.
    for n in 1..20 {
        context.set_threads(Threads::both(1 + n % 3)).unwrap();
    }
    context.clear();
    assert_eq!(generate(&mut context, "hello", 8), once);
}

#[test]
fn threads_of_their_own_choice_stay_within_the_budget() {
    let chosen = Threads::for_model(&load());
    let budget = host::Host::probe().budget.cpus as u32;
    assert!((1..=budget).contains(&chosen.generation) && (1..=budget).contains(&chosen.prompt), "{chosen:?}");
}

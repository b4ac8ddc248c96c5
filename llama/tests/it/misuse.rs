//! What safe code may ask for, and llama.cpp would abort on.

use std::thread;
use std::time::Duration;

use llama::{
    Batch, Context, ContextOptions, Error, Model, ModelOptions, Pos, Sampler, SamplerOptions, SeqId, Threads, Token,
};

use crate::{context, generate, greedy, load, model_file, small};

fn is_invalid<T: std::fmt::Debug>(result: impl Into<Result<T, Error>>) {
    let result = result.into();
    assert!(matches!(result, Err(Error::Invalid { .. })), "{result:?}");
}

#[test]
fn tokens_that_do_not_exist_are_refused_everywhere() {
    let model = load();
    let mut context = context(&model);
    for id in [-1, i32::MIN, i32::MAX, model.n_vocab() as i32] {
        let token = Token::from_id(id);
        let none = || Error::NoSuchToken(token);
        assert_eq!(model.bytes(token).unwrap_err(), none());
        assert_eq!(greedy(&model).accept(token).unwrap_err(), none());
        assert_eq!(context.prefill(&[token]).unwrap_err(), none());
        let first = model.tokenize("a").unwrap();
        assert_eq!(context.prefill(&first).unwrap().step(token).unwrap_err(), none());
        assert!(!model.is_end(token));
        context.clear();
    }
}

#[test]
fn batches_that_make_no_sense_are_refused() {
    let model = load();
    let mut context = Context::new(&model, &ContextOptions { n_batch: 8, n_seq_max: 2, ..small() }).unwrap();
    let token = model.tokenize("a").unwrap()[0];
    let (zero, one) = (SeqId::new(0), SeqId::new(1));
    let batch = |tokens: &[(u32, &[SeqId])]| {
        let mut batch = Batch::new();
        for (position, sequences) in tokens {
            batch.push(token, Pos::new(*position), sequences, true);
        }
        batch
    };
    let mut refused = |batch: Batch| is_invalid(context.decode(&batch));
    refused(Batch::new());
    let first: (u32, &[SeqId]) = (0, &[zero]);
    refused(batch(&[first; 9]));
    refused(batch(&[(0, &[])]));
    refused(batch(&[(0, &[SeqId::new(2)])]));
    refused(batch(&[(0, &[SeqId::new(u32::MAX)])]));
    refused(batch(&[(0, &[zero, zero])]));
    refused(batch(&[(u32::MAX, &[zero])]));
    // A gap: llama.cpp itself says no.
    refused(batch(&[(0, &[zero]), (2, &[zero])]));
    // None of that has left anything behind.
    context.decode(&batch(&[(0, &[zero]), (0, &[one])])).unwrap();
    assert_eq!(context.logits(0).unwrap().len(), model.n_vocab() as usize);
    assert_eq!(context.next_position(one).unwrap(), Pos::new(1));
}

#[test]
fn outputs_that_were_not_asked_for_are_refused() {
    let model = load();
    let mut context = context(&model);
    let mut sampler = greedy(&model);
    assert_eq!(context.logits(0).unwrap_err(), Error::NoLogits(0), "nothing was computed yet");
    let mut batch = Batch::new();
    let tokens = model.tokenize("ab").unwrap();
    for (i, token) in tokens.iter().enumerate() {
        batch.push(*token, Pos::new(i as u32), &[SeqId::default()], i == 1);
    }
    context.decode(&batch).unwrap();
    assert!(context.logits(1).is_ok());
    for index in [0, tokens.len(), usize::MAX] {
        assert_eq!(context.logits(index).unwrap_err(), Error::NoLogits(index));
        assert_eq!(context.sample(&mut sampler, index).unwrap_err(), Error::NoLogits(index));
    }
    context.clear();
    assert_eq!(context.logits(1).unwrap_err(), Error::NoLogits(1), "what was cleared is gone");
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    let model = load();
    let refused = |options: ContextOptions| is_invalid(Context::new(&model, &options).map(drop));
    for n in [0, u32::MAX] {
        refused(ContextOptions { n_batch: n, ..small() });
        refused(ContextOptions { n_ubatch: n, ..small() });
        refused(ContextOptions { n_seq_max: n, ..small() });
        refused(ContextOptions { threads: Some(Threads::both(n)), ..small() });
    }
    refused(ContextOptions { n_seq_max: 257, ..small() });
    refused(ContextOptions { n_ctx: u32::MAX, ..small() });
    let mut context = context(&model);
    for n in [0, 513, u32::MAX] {
        is_invalid(context.set_threads(Threads::both(n)));
    }
    assert_eq!(generate(&mut context, "hello", 2).len(), 2);
}

#[test]
fn sequences_that_do_not_exist_are_refused() {
    let model = load();
    let mut context = context(&model);
    for n in [1, 256, u32::MAX] {
        let none = SeqId::new(n);
        is_invalid(context.next_position(none));
        is_invalid(context.remove(none, Pos::new(0)..));
        is_invalid(context.copy(SeqId::default(), none));
        is_invalid(context.copy(none, SeqId::default()));
        is_invalid(context.keep(none));
    }
    context.remove(SeqId::default(), Pos::new(u32::MAX)..).unwrap();
}

#[test]
fn a_sampler_of_another_model_is_refused() {
    let (one, other) = (load(), Model::load(model_file(1), &ModelOptions::default()).unwrap());
    let mut context = context(&one);
    let prompt = one.tokenize("hello").unwrap();
    let mut generation = context.prefill(&prompt).unwrap();
    assert_eq!(generation.sample(&mut greedy(&other)).unwrap_err(), Error::OtherModel);
    assert!(generation.sample(&mut greedy(&one)).is_ok());
}

#[test]
fn sampling_numbers_that_are_none_are_refused() {
    let model = load();
    let usual = SamplerOptions::default;
    for options in [
        SamplerOptions { temperature: f32::NAN, ..usual() },
        SamplerOptions { temperature: -1.0, ..usual() },
        SamplerOptions { top_p: f32::INFINITY, ..usual() },
        SamplerOptions { min_p: -0.1, ..usual() },
        SamplerOptions { repeat_penalty: 0.0, ..usual() },
    ] {
        is_invalid(Sampler::new(&model, &options).map(drop));
    }
    // Odd, but possible.
    let mut context = context(&model);
    let prompt = model.tokenize("hello").unwrap();
    for options in [
        SamplerOptions { top_k: 0, top_p: 0.0, min_p: 2.0, ..usual() },
        SamplerOptions { top_k: u32::MAX, temperature: f32::MAX, ..usual() },
        SamplerOptions { repeat_penalty: 1e9, penalty_last: u32::MAX, ..usual() },
    ] {
        context.clear();
        let mut generation = context.prefill(&prompt).unwrap();
        let token = generation.sample(&mut Sampler::new(&model, &options).unwrap()).unwrap();
        generation.step(token).unwrap();
    }
}

#[test]
fn an_empty_prompt_is_refused() {
    let model = load();
    is_invalid(context(&model).prefill(&[]).map(drop));
}

#[test]
fn what_is_computed_can_be_cancelled_and_goes_on_afterwards() {
    let model = load();
    let mut context = context(&model);
    let prompt = vec![model.tokenize("a").unwrap()[0]; 256];
    let canceller = context.canceller();
    canceller.cancel();
    assert_eq!(context.prefill(&prompt).unwrap_err(), Error::Cancelled);
    context.clear();
    assert!(context.prefill(&prompt).is_ok(), "it cancels once");

    // From another thread, at any time.
    for pause in 0..20 {
        context.clear();
        let canceller = canceller.clone();
        let other = thread::spawn(move || {
            thread::sleep(Duration::from_micros(pause * 100));
            canceller.cancel();
        });
        let result = context.prefill(&prompt).map(drop);
        assert!(matches!(result, Ok(()) | Err(Error::Cancelled)), "{result:?}");
        other.join().unwrap();
        // It may have come too late, and then holds for the next.
        let _ = context.prefill(&prompt[..1]).map(drop);
    }
    context.clear();
    assert_eq!(generate(&mut context, "hello", 4).len(), 4);
}

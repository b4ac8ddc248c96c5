//! Who outlives whom, and on which thread.

use std::thread;

use llama::{Canceller, Context, Model, Sampler};

use crate::{context, generate, greedy, load};

#[test]
fn everything_can_be_sent_and_what_is_read_only_is_shared() {
    fn send<T: Send + 'static>() {}
    fn share<T: Sync>() {}
    send::<Model>();
    share::<Model>();
    send::<Context>();
    send::<Sampler>();
    send::<Canceller>();
    share::<Canceller>();
}

#[test]
fn drops_may_come_in_any_order() {
    for order in 0..6 {
        let model = load();
        let context = context(&model);
        let sampler = greedy(&model);
        let (mut model, mut context, mut sampler) = (Some(model), Some(context), Some(sampler));
        let mut drops: Vec<Box<dyn FnOnce() + '_>> =
            vec![Box::new(|| drop(model.take())), Box::new(|| drop(context.take())), Box::new(|| drop(sampler.take()))];
        drops.rotate_left(order % 3);
        if order >= 3 {
            drops.reverse();
        }
        for drop in drops {
            drop();
        }
    }
    // A context that is all that is left still computes, also after it was moved.
    let mut contexts: Vec<Context> = vec![context(&load())];
    contexts.extend([context(&load())]);
    let mut moved = contexts.remove(0);
    assert_eq!(generate(&mut moved, "hello", 4).len(), 4);
}

#[test]
fn a_hundred_contexts_share_a_model() {
    let model = load();
    let mut contexts: Vec<Context> = (0..100).map(|_| context(&model)).collect();
    let first = generate(&mut contexts[0], "hello", 4);
    for context in &mut contexts[1..] {
        assert_eq!(generate(context, "hello", 4), first);
    }
}

#[test]
fn sixty_four_threads_share_a_model() {
    let model = load();
    let expected = generate(&mut context(&model), "hello", 16);
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let model = model.clone();
                assert_eq!(model.text(&model.tokenize("grüße").unwrap()).unwrap().trim_start(), "grüße");
                assert_eq!(generate(&mut context(&model), "hello", 16), expected);
            });
        }
    });
}

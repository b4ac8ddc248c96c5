//! Several texts in one context.

use llama::{Batch, Context, ContextOptions, Pos, SeqId, Token};

use crate::{context, generate, load, small};

fn most_likely(logits: &[f32]) -> Token {
    let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
    Token::from_id(best as i32)
}

#[test]
fn texts_side_by_side_are_those_of_contexts_of_their_own() {
    let model = load();
    let prompts = ["hello", "The quick brown fox"];
    let expected: Vec<Vec<Token>> = prompts.iter().map(|prompt| generate(&mut context(&model), prompt, 6)).collect();

    let mut shared = Context::new(&model, &ContextOptions { n_seq_max: 2, ..small() }).unwrap();
    let mut batch = Batch::new();
    let mut outputs = Vec::new();
    for (n, prompt) in prompts.iter().enumerate() {
        let tokens = model.tokenize(prompt).unwrap();
        for (i, token) in tokens.iter().enumerate() {
            batch.push(*token, Pos::new(i as u32), &[SeqId::new(n as u32)], i + 1 == tokens.len());
        }
        outputs.push(batch.len() - 1);
    }
    let mut texts = vec![Vec::new(); 2];
    for _ in 0..6 {
        shared.decode(&batch).unwrap();
        let tokens: Vec<Token> = outputs.iter().map(|index| most_likely(shared.logits(*index).unwrap())).collect();
        batch.clear();
        outputs.clear();
        for (n, token) in tokens.into_iter().enumerate() {
            texts[n].push(token);
            let sequence = SeqId::new(n as u32);
            batch.push(token, shared.next_position(sequence).unwrap(), &[sequence], true);
            outputs.push(n);
        }
    }
    assert_eq!(texts, expected);
}

#[test]
fn a_copy_goes_its_own_way_and_shares_its_beginning() {
    let model = load();
    let mut context = Context::new(&model, &ContextOptions { n_seq_max: 3, ..small() }).unwrap();
    let prompt = model.tokenize("a common beginning").unwrap();
    context.prefill(&prompt).unwrap();
    let (first, copy) = (SeqId::default(), SeqId::new(1));
    context.copy(first, copy).unwrap();
    let end = Pos::new(prompt.len() as u32);
    assert_eq!(context.next_position(copy).unwrap(), end);

    let mut one = Batch::new();
    one.push(prompt[0], end, &[copy], true);
    context.decode(&one).unwrap();
    assert_eq!(context.next_position(copy).unwrap().index(), end.index() + 1);
    assert_eq!(context.next_position(first).unwrap(), end);

    context.remove(copy, Pos::new(3)..).unwrap();
    assert_eq!(context.next_position(copy).unwrap(), Pos::new(3));
    context.keep(copy).unwrap();
    assert_eq!(context.next_position(first).unwrap(), Pos::new(0));
    assert_eq!(context.next_position(copy).unwrap(), Pos::new(3));
}

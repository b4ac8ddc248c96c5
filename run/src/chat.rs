//! A conversation: lines from standard input, answers to standard output.

use std::io::{BufRead, IsTerminal};

use diagnostic::{Error, Result, codes};
use llama::{Context, Message, Sampler, Token};
use planner::run::Run;

use crate::answer::{self, Ended, Show};
use crate::{print, report};

/// What was said, and by whom.
struct Said {
    role: &'static str,
    content: String,
}

/// Talks until the input ends.
///
/// # Errors
/// The model has no chat template; a turn does not fit; llama.cpp fails; we were interrupted.
pub(crate) fn talk(context: &mut Context, sampler: &mut Sampler, order: &Run) -> Result<()> {
    let mut said: Vec<Said> = Vec::new();
    said.extend(order.system.iter().map(|text| Said { role: "system", content: text.clone() }));
    // Found out before a person has typed anything.
    rendered(context, &said, true)?;
    let on_terminal = std::io::stdin().is_terminal();
    let mut input = order.prompt.clone();
    loop {
        let line = match input.take() {
            Some(prompt) => prompt,
            None => match read_line(on_terminal)? {
                Some(line) if line.is_empty() => continue,
                Some(line) => line,
                None => return Ok(()),
            },
        };
        said.push(Said { role: "user", content: line });
        let tokens = next_tokens(context, &said)?;
        let answer = answer::generate(context, sampler, &tokens, order.tokens, Show::Stream)?;
        print("\n")?;
        if order.stats {
            report::show(&answer);
        }
        match answer.ended {
            Ended::Interrupted => return Err(Error::new(codes::INTERRUPTED, "interrupted")),
            Ended::Full => return Err(llama::Error::Full { capacity: context.n_ctx() }.into()),
            Ended::End | Ended::Length => {}
        }
        said.push(Said { role: "assistant", content: answer.text });
    }
}

/// What the context has not read yet of the conversation; read anew as a whole when the template wants it otherwise.
fn next_tokens(context: &mut Context, said: &[Said]) -> Result<Vec<Token>> {
    let model = context.model().clone();
    let whole = rendered(context, said, true)?;
    let first = said.iter().all(|message| message.role != "assistant");
    if !first {
        let before = rendered(context, &said[..said.len() - 1], false)?;
        if let Some(new) = whole.strip_prefix(before.as_str()) {
            return Ok(model.tokenize_template(new, false)?);
        }
        context.clear();
    }
    Ok(model.tokenize_template(&whole, true)?)
}

fn rendered(context: &Context, said: &[Said], to_answer: bool) -> Result<String> {
    let messages: Vec<Message<'_>> =
        said.iter().map(|said| Message { role: said.role, content: &said.content }).collect();
    context
        .model()
        .chat(&messages, to_answer)
        .map_err(|error| diagnostic::Error::from(error).hint("without `--chat` the text is taken as it is"))
}

/// A line, without its end; `None` at the end of the input.
fn read_line(on_terminal: bool) -> Result<Option<String>> {
    if on_terminal {
        print("> ")?;
    }
    process::interrupt::check()?;
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    process::interrupt::check()?;
    match read {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned())),
        Err(error) => Err(Error::new(codes::IO, format!("cannot read standard input: {}", diagnostic::plain(&error)))),
    }
}

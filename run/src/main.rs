//! The program behind `caravan run`: it links llama.cpp, takes its order as JSON, and decides nothing.
//!
//! | module | job |
//! |---|---|
//! | `answer` | generates one answer, and shows it as it comes |
//! | `chat` | a conversation, turn by turn |
//! | `report` | figures at the end |
#![forbid(unsafe_code)]

mod answer;
mod chat;
mod report;

use std::env;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use diagnostic::{Error, Result, codes};
use llama::{Canceller, Context, ContextOptions, LoadMode, Model, ModelOptions, Sampler, SamplerOptions, Threads};
use planner::run::Run;

use answer::Show;

/// The longest prompt that is read from standard input, in bytes.
const LONGEST: u64 = 64 << 20;

fn main() -> ExitCode {
    process::interrupt::install();
    let arguments: Vec<String> = env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let done = match &arguments[..] {
        [word] if word == "--version" => say_version(),
        [order] => serde_json::from_str(order).map_err(|_| not_by_hand()).and_then(|order| run(&order)),
        _ => Err(not_by_hand()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprint!("{}", error.report());
            ExitCode::from(error.code().exit)
        }
    }
}

/// Says also that llama.cpp was found: without it this program does not even start.
fn say_version() -> Result<()> {
    print(&format!("caravan-run {}, llama.cpp {}\n", env!("CARGO_PKG_VERSION"), llama::version()?))
}

fn not_by_hand() -> Error {
    Error::new(codes::IO, "`caravan-run` is started by `caravan run`, with an order as JSON")
        .hint("`caravan run --help` says what can be asked for")
}

fn run(order: &Run) -> Result<()> {
    let options = ModelOptions {
        load: if order.mmap { LoadMode::Mmap } else { LoadMode::Read },
        repack: order.repack,
        ..ModelOptions::default()
    };
    let model = Model::load(&order.model, &options)?;
    let mut context = Context::new(
        &model,
        &ContextOptions {
            n_ctx: order.ctx,
            n_ubatch: order.ubatch,
            threads: Some(Threads { generation: order.threads, prompt: order.threads_batch }),
            flash_attention: order.flash_attention,
            ..ContextOptions::default()
        },
    )?;
    let sampling = &order.sampling;
    let mut sampler = Sampler::new(
        &model,
        &SamplerOptions {
            repeat_penalty: sampling.repeat_penalty,
            top_k: sampling.top_k,
            top_p: sampling.top_p,
            min_p: sampling.min_p,
            temperature: sampling.temperature,
            seed: sampling.seed,
            ..SamplerOptions::default()
        },
    )?;
    cancel_on_signal(context.canceller());
    if order.chat {
        return chat::talk(&mut context, &mut sampler, order);
    }
    let prompt = match &order.prompt {
        Some(prompt) => prompt.clone(),
        None => read_prompt()?,
    };
    let tokens = model.tokenize(&prompt)?;
    let show = if order.json { Show::Nothing } else { Show::Stream };
    let answer = answer::generate(&mut context, &mut sampler, &tokens, order.tokens, show)?;
    if order.json {
        return print(&report::json(&prompt, &answer, context.threads()));
    }
    print("\n")?;
    if order.stats {
        report::show(&answer);
    }
    if answer.ended == answer::Ended::Interrupted {
        return Err(Error::new(codes::INTERRUPTED, "interrupted"));
    }
    Ok(())
}

/// The prompt from standard input, without the line break at its end.
fn read_prompt() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().take(LONGEST).read_to_string(&mut text).map_err(|error| {
        Error::new(codes::IO, format!("cannot read the prompt from standard input: {}", diagnostic::plain(&error)))
    })?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

/// Ctrl-C ends what is being computed; a second one ends the process.
fn cancel_on_signal(canceller: Canceller) {
    thread::spawn(move || {
        while !process::interrupt::requested() {
            thread::sleep(Duration::from_millis(20));
        }
        canceller.cancel();
    });
}

/// Text for whoever reads it, at once. A closed pipe (`| head`) is no error.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("cannot write", std::path::Path::new("standard output"), error))
        }
        _ => Ok(()),
    }
}

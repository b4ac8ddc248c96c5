//! `caravan run`: a text or a conversation in the terminal.
//!
//! Everything is decided here; then this process becomes `caravan-run`, which links llama.cpp. This program does not, so that
//! it starts at once, and can say on the wrong CPU that it is the wrong one.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Args;
use diagnostic::{Error, Result, codes};
use host::Host;
use planner::memory as fit;
use planner::run::{Run, Sampling};
use store::Measured;

use crate::memory::{self, Model};
use crate::setting::{Setting, Table};
use crate::threads::{self, Known};
use crate::{environment, installed, ui};

/// The program that links llama.cpp.
const PROGRAM: &str = "caravan-run";
/// Tokens that are computed at once, unless something else was measured.
const UBATCH: u32 = 512;

/// Generate a text, or talk, in the terminal
///
/// Without `--prompt` the text is read from standard input; on a terminal that is a conversation.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A GGUF file
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// The text to go on from
    #[arg(long, short, value_name = "TEXT")]
    prompt: Option<String>,
    /// Use the model's chat template, and go on after the first answer
    #[arg(long)]
    chat: bool,
    /// How the assistant is to behave
    #[arg(long, value_name = "TEXT", requires = "chat")]
    system: Option<String>,
    /// At most so many tokens per answer
    #[arg(long, short = 'n', value_name = "N")]
    tokens: Option<u32>,
    /// Tokens of the context; otherwise what the model was trained for, as far as the memory goes
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    ctx: Option<u32>,
    /// Threads of both phases; otherwise the job's, those measured, or a heuristic; never more than the CPU budget
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Start also what does not fit this machine
    #[arg(long)]
    force: bool,
    /// 0 always takes the most likely token
    #[arg(long, default_value_t = 0.8, value_name = "X", value_parser = number)]
    temperature: f32,
    /// Only the N most likely tokens; 0 for all
    #[arg(long, default_value_t = 40, value_name = "N")]
    top_k: u32,
    /// Only the most likely tokens that together have this probability
    #[arg(long, default_value_t = 0.95, value_name = "X", value_parser = number)]
    top_p: f32,
    /// Only tokens that have this share of the most likely one's probability
    #[arg(long, default_value_t = 0.05, value_name = "X", value_parser = number)]
    min_p: f32,
    /// Make what was just said less likely; 1 turns it off
    #[arg(long, default_value_t = 1.0, value_name = "X", value_parser = number)]
    repeat_penalty: f32,
    /// Of the random numbers: the same seed gives the same text
    #[arg(long, default_value_t = 0)]
    seed: u32,
    /// Print figures at the end
    #[arg(long)]
    stats: bool,
    /// Print one JSON object with the text and the figures at the end
    #[arg(long, conflicts_with = "chat")]
    json: bool,
    /// Print what would be run and stop
    #[arg(long)]
    print: bool,
}

/// A number that makes sense for sampling.
fn number(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        _ => Err("it must be a number, zero or more".to_owned()),
    }
}

/// Everything that was decided, and why.
struct Plan {
    program: PathBuf,
    run: Run,
    environment: Vec<(String, String)>,
    reasons: Vec<Setting>,
}

impl Flags {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let plan = self.plan()?;
        if self.print {
            let reasons = Table(plan.reasons.iter().collect());
            ui::print(format!("{}\n{reasons}", plan.program.display()))?;
            return Ok(ExitCode::SUCCESS);
        }
        let order = serde_json::to_string(&plan.run).expect("an order holds only strings and numbers");
        let error = Command::new(&plan.program).arg(order).envs(plan.environment).env_remove("LD_LIBRARY_PATH").exec();
        let message = format!("cannot start `{}`: {}", plan.program.display(), diagnostic::plain(&error));
        Err(Error::new(codes::PROCESS_FAILED, message).hint("install the build again"))
    }

    fn plan(&self) -> Result<Plan> {
        let of_process = environment::of_process();
        let directory = environment::directory(&of_process);
        let variables = environment::with_directory(&of_process, directory.as_deref());
        let host = Host::probe();
        let build = installed::find(&variables)?;
        if !self.force {
            installed::runs_on(&build.info, &host.cpu)?;
        }
        let model = Model::open(&self.model)?;
        let measured = installed::measured(&build, &host, &model.header, &variables);
        let known = Known::of(&build.info, measured.as_ref());
        let threads = threads::choose(&host, self.threads, self.force, known.as_ref(), &variables)?;
        let available = host.memory.budget.as_ref().filter(|_| !self.force).map(|bytes| bytes.value);
        let share = memory::share(&model, available, self.ctx.map(u64::from), &fit::Setting::single(0))?;
        let ctx = share.ctx.as_ref().map_or(u64::from(self.ctx.unwrap_or(0)), |ctx| ctx.value);
        let tuned = Tuned::of(measured.as_ref());

        let mut reasons = vec![
            Setting::new("threads", threads.generation, &threads.why),
            Setting::new("threads-batch", threads.prompt, &threads.why),
            Setting::new("ctx-size", ctx, share.ctx.as_ref().map_or("`--ctx`", |ctx| ctx.why.as_str())),
        ];
        if let Some(measured) = &measured {
            let source = threads::source(measured);
            reasons.extend(measured.tuning.options().map(|(name, value)| Setting::new(name, value, &source)));
        }
        let environment = measured.map(|measured| measured.tuning.environment).unwrap_or_default();
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(Plan {
            program: build.dir.join("bin").join(PROGRAM),
            run: Run {
                model: self.model.clone(),
                prompt: self.prompt.clone(),
                chat: self.chat || (self.prompt.is_none() && !self.json && std::io::stdin().is_terminal()),
                system: self.system.clone(),
                tokens: self.tokens,
                ctx: u32::try_from(ctx).unwrap_or(u32::MAX),
                ubatch: tuned.ubatch,
                threads: small(threads.generation),
                threads_batch: small(threads.prompt),
                repack: tuned.repack,
                mmap: tuned.mmap,
                flash_attention: tuned.flash_attention,
                sampling: Sampling {
                    temperature: self.temperature,
                    top_k: self.top_k,
                    top_p: self.top_p,
                    min_p: self.min_p,
                    repeat_penalty: self.repeat_penalty,
                    seed: self.seed,
                },
                stats: self.stats,
                json: self.json,
            },
            environment: environment.into_iter().filter(|(name, _)| !variables.contains_key(name)).collect(),
            reasons,
        })
    }
}

/// What was measured, of all that a context can be told.
struct Tuned {
    ubatch: u32,
    repack: bool,
    mmap: bool,
    flash_attention: Option<bool>,
}

impl Tuned {
    fn of(measured: Option<&Measured>) -> Tuned {
        let settings: BTreeMap<&str, String> = measured.iter().flat_map(|measured| measured.tuning.options()).collect();
        let text = |name: &str| settings.get(name);
        Tuned {
            ubatch: text("ubatch-size").and_then(|tokens| tokens.parse().ok()).unwrap_or(UBATCH),
            repack: text("repack").is_none_or(|repack| repack != "0"),
            mmap: text("load-mode").is_none_or(|mode| mode != "none"),
            flash_attention: match text("flash-attn").map(String::as_str) {
                Some("off" | "0") => Some(false),
                Some("on" | "1") => Some(true),
                _ => None,
            },
        }
    }
}

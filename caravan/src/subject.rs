//! The model that is asked about, how it is wanted, and what was measured of it: what `doctor` and `plan` have in common.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use diagnostic::{Error, Result, codes};
use gguf::{Header, ModelFiles};
use planner::class;
use planner::configuration::Measured;
use planner::described::Described;
use planner::feasibility::{self, Answer, Question, UseCase};

use crate::hardware::{self, Machine};
use crate::memory::Model;
use crate::speed::{self, Known, Speed};
use crate::{environment, installed, threads};

/// In place of a file's name: standard input.
const STREAM: &str = "-";
/// What stands in configurations for a file whose name is not known.
const UNNAMED: &str = "model.gguf";

/// What is asked about.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// A GGUF file; `-` reads the header of one from standard input, of which no more is taken than that, such as from
    /// `curl -sL URL |`
    #[arg(long, value_name = "FILE|-", conflicts_with = "model_size")]
    pub(crate) model: Option<PathBuf>,
    /// A model that is not there, by its size, such as `8B`: the usual shape of that size in `q4_k_m`
    #[arg(long, value_name = "SIZE")]
    pub(crate) model_size: Option<Described>,
    /// What it is for: `general`, `long-context`, `speed`, `quality`, `coding-assistant`
    #[arg(long, default_value = "general", value_name = "USE")]
    pub(crate) use_case: UseCase,
    /// Tokens of the context; otherwise what the use case wants
    #[arg(long, value_name = "TOKENS")]
    pub(crate) ctx: Option<u64>,
    /// Allow a shorter context, and none below this; of a coding assistant it is 32768
    #[arg(long, value_name = "TOKENS")]
    pub(crate) min_ctx: Option<u64>,
    /// `auto` for this machine, a profile such as `rtx-4090` or `apple-m2-max:64`, or what `cargo xtask doctor --save` or
    /// `--json` has written
    #[arg(long, default_value = "auto", value_name = "auto|PROFILE|FILE")]
    pub(crate) hardware: String,
}

/// The model, real or described.
pub(crate) struct Subject {
    pub(crate) header: Header,
    /// Its file, or what stands for it.
    pub(crate) path: String,
    pub(crate) size: String,
    pub(crate) precision: String,
    /// Whether there is no such file.
    pub(crate) described: bool,
}

/// What was found out.
pub(crate) struct Found {
    pub(crate) subject: Subject,
    pub(crate) machine: Machine,
    pub(crate) answer: Answer,
    pub(crate) speed: Speed,
    /// What was measured here, as options.
    pub(crate) measured: Vec<Measured>,
}

impl Wanted {
    /// Reads the model and answers.
    ///
    /// # Errors
    /// The model or the description of a machine cannot be read.
    pub(crate) fn answer(&self) -> Result<Found> {
        self.answer_for(hardware::find(&self.hardware)?)
    }

    /// The same for a llama.cpp that computes on the CPU.
    ///
    /// # Errors
    /// As [`Wanted::answer`].
    pub(crate) fn answer_on_cpu(&self) -> Result<Found> {
        let mut machine = hardware::find(&self.hardware)?;
        machine.hardware = machine.hardware.without_gpus();
        self.answer_for(machine)
    }

    fn answer_for(&self, mut machine: Machine) -> Result<Found> {
        let subject = self.subject()?;
        let question =
            Question { header: &subject.header, use_case: self.use_case, ctx: self.ctx, min_ctx: self.min_ctx };
        let (known, measured) = measured(&subject.header, &mut machine);
        let answer = feasibility::answer(&question, &machine.hardware);
        let mut answer = answer.map_err(|error| error.context(format_args!("model `{}`", subject.path)))?;
        let speed = speed::of(&subject.header, &answer, &known);
        if !machine.hardware.machine.gpus.is_empty() {
            answer.notes.push(
                "Caravan's own builds compute on the CPU: this needs a llama.cpp that was built for the GPU".to_owned(),
            );
        }
        answer.notes.extend(machine.notes.iter().cloned());
        if subject.described {
            answer.notes.push("the model is only described: its real file may take a little more or less".to_owned());
        }
        Ok(Found { subject, machine, answer, speed, measured })
    }

    fn subject(&self) -> Result<Subject> {
        match (&self.model, self.model_size) {
            (Some(path), _) if path == Path::new(STREAM) => from_stream(),
            (Some(path), _) => {
                let model = Model::open(path)?;
                Subject::of(model.header, model.path.display().to_string())
            }
            (None, Some(described)) => Ok(Subject {
                header: described.header(),
                path: UNNAMED.to_owned(),
                size: format!("{}B", described.billions),
                precision: described.quant.to_string(),
                described: true,
            }),
            (None, None) => Err(Error::new(codes::MODEL_UNREADABLE, "no model is named")
                .hint("give a file with `--model FILE`, or a size with `--model-size 8B`")),
        }
    }
}

impl Subject {
    fn of(header: Header, path: String) -> Result<Subject> {
        let class = class::of(&header).map_err(|error| error.context(format_args!("model `{path}`")))?;
        let (size, precision) = (class.size().to_owned(), class.quant().to_owned());
        Ok(Subject { header, path, size, precision, described: false })
    }
}

/// A model whose beginning comes through standard input.
fn from_stream() -> Result<Subject> {
    let stream = std::io::stdin();
    if stream.is_terminal() {
        return Err(Error::new(codes::MODEL_UNREADABLE, "standard input is a terminal, and no model")
            .hint("`curl -sL URL | caravan doctor --model -`"));
    }
    let files = ModelFiles::from_stream("standard input", stream.lock())?;
    files.check_loadable("standard input")?;
    Subject::of(files.header, UNNAMED.to_owned())
}

/// What is known of the machine that has to do with speed, and the options that were measured with models like this one; the
/// threads that were found go into `machine`.
fn measured(header: &Header, machine: &mut Machine) -> (Known, Vec<Measured>) {
    let data_sheet = machine.data_sheet;
    let Some(host) = &machine.here else { return (Known { tuning: None, data_sheet, here: false }, Vec::new()) };
    let nothing = Known { tuning: None, data_sheet, here: true };
    let variables = environment::of_process();
    let Ok(build) = installed::find(&variables) else { return (nothing, Vec::new()) };
    let known = Known { tuning: installed::tuning(&build, host, &variables), ..nothing };
    let class = class::of(header).ok();
    let found = known.tuning.as_ref().zip(class).and_then(|(tuning, class)| store::Measured::of(tuning, &class));
    let Some(found) = found else { return (known, Vec::new()) };
    let source = threads::source(&found);
    let threads = threads::Known::of(&build.info, Some(&found));
    if let Ok(choice) = threads::choose(host, None, false, threads.as_ref(), &variables) {
        let (generation, prompt, why) = (choice.generation, choice.prompt, choice.why);
        machine.hardware.threads = Some(planner::hardware::Threads { generation, prompt, why });
    }
    let option = |(name, value): (&str, String)| Measured { name: name.to_owned(), value, source: source.clone() };
    let options = found.tuning.options().map(option).collect();
    (known, options)
}

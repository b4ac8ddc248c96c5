//! The model that is asked about, how it is wanted, and what was measured of it: what `doctor` and `plan` have in common.

use std::path::PathBuf;

use clap::Args;
use diagnostic::{Error, Result, codes};
use gguf::Header;
use planner::class;
use planner::configuration::Measured;
use planner::described::Described;
use planner::feasibility::{self, Answer, Question, UseCase};
use planner::memory::Part;
use planner::speed::{self, Origin};

use crate::hardware::{self, Machine};
use crate::memory::Model;
use crate::{environment, installed, threads};

/// What is asked about.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// A GGUF file
    #[arg(long, value_name = "FILE", conflicts_with = "model_size")]
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

/// What is known of its speed.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(crate) struct Speed {
    /// How the figures came about: `measured`, `catalogue`, or `unknown`.
    pub(crate) label: &'static str,
    /// Tokens per second, prompts.
    pub(crate) prompt: Option<f64>,
    /// Tokens per second, generation.
    pub(crate) generation: Option<f64>,
    /// How far they may be off, in percent. Measured: half of what lies between the fastest and the slowest run, of the phase
    /// that scattered more. Catalogue: what machines differ by in how much of their bandwidth they reach.
    pub(crate) error_percent: Option<f64>,
    /// In words.
    pub(crate) text: String,
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
        let (speed, measured) = measured(&subject, &mut machine);
        let answer = feasibility::answer(&question, &machine.hardware);
        let mut answer = answer.map_err(|error| error.context(format_args!("model `{}`", subject.path)))?;
        let speed = machine.data_sheet_gb_s.map_or(speed, |gb_s| by_data_sheet(gb_s, &subject.header, &answer));
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
            (Some(path), _) => {
                let model = Model::open(path)?;
                let class = class::of(&model.header)
                    .map_err(|error| error.context(format_args!("model `{}`", path.display())))?;
                Ok(Subject {
                    header: model.header,
                    path: model.path.display().to_string(),
                    size: class.size().to_owned(),
                    precision: class.quant().to_owned(),
                    described: false,
                })
            }
            (None, Some(described)) => Ok(Subject {
                header: described.header(),
                path: "model.gguf".to_owned(),
                size: format!("{}B", described.billions),
                precision: described.quant.to_string(),
                described: true,
            }),
            (None, None) => Err(Error::new(codes::MODEL_UNREADABLE, "no model is named")
                .hint("give a file with `--model FILE`, or a size with `--model-size 8B`")),
        }
    }
}

/// What was measured of models like this one with the active build, and the threads that it found. Nothing is known of other
/// machines, and of builds that are not there.
fn measured(subject: &Subject, machine: &mut Machine) -> (Speed, Vec<Measured>) {
    let unknown = |text: &str| {
        let text = text.to_owned();
        (Speed { label: "unknown", prompt: None, generation: None, error_percent: None, text }, Vec::new())
    };
    let Some(host) = &machine.here else { return unknown("unknown: nothing was measured on that machine") };
    let not_yet = "not measured yet: `cargo xtask bench --model FILE` does it";
    let variables = environment::of_process();
    let Ok(build) = installed::find(&variables) else { return unknown(not_yet) };
    let Some(found) = installed::measured_of(&build, host, &subject.header, &variables) else {
        return unknown(not_yet);
    };
    let source = threads::source(&found);
    let known = threads::Known::of(&build.info, Some(&found));
    if let Ok(choice) = threads::choose(host, None, false, known.as_ref(), &variables) {
        let (generation, prompt, why) = (choice.generation, choice.prompt, choice.why);
        machine.hardware.threads = Some(planner::hardware::Threads { generation, prompt, why });
    }
    let option = |(name, value): (&str, String)| Measured { name: name.to_owned(), value, source: source.clone() };
    let options = found.tuning.options().map(option).collect();
    let tuning = &found.tuning;
    let (prompt, generation) = (tuning.prompt.tokens_per_second, tuning.generation.tokens_per_second);
    if found.class.size() != subject.size {
        let text = format!(
            "not measured yet with this size (with {} it was): `cargo xtask bench --model FILE` does it",
            found.class
        );
        return (Speed { label: "unknown", prompt: None, generation: None, error_percent: None, text }, options);
    }
    let error = scatter(&tuning.prompt).max(scatter(&tuning.generation));
    let text = format!(
        "measured ({source}): prompts {prompt:.1}, generation {generation:.1} tokens/s, \u{b1} {error:.0} %; in a short context, \
         a full one is slower"
    );
    let speed = Speed {
        label: "measured",
        prompt: Some(prompt),
        generation: Some(generation),
        error_percent: Some(error),
        text,
    };
    (speed, options)
}

/// What the data sheet of another machine lets expect of generation, where one memory is read alone.
fn by_data_sheet(gb_s: f64, header: &Header, answer: &Answer) -> Speed {
    let unknown = |text: String| Speed { label: "unknown", prompt: None, generation: None, error_percent: None, text };
    let breakdown = &answer.breakdown;
    if breakdown.gpu_layers > 0 && breakdown.gpu_layers < breakdown.layers {
        let rest = breakdown.layers - breakdown.gpu_layers;
        return unknown(format!(
            "unknown: {rest} layers are read from main memory, and no profile knows how fast that is"
        ));
    }
    let expected = |context: u64| {
        let bytes = header.bytes_per_token().ok()?.saturating_add(context);
        speed::from_bandwidth(gb_s, bytes, Origin::Catalogue)
    };
    let (Some(empty), Some(full)) = (expected(0), expected(breakdown.bytes(Part::KvCache))) else {
        return unknown("unknown: the model's file does not say what a token reads".to_owned());
    };
    let range = |speed: speed::Speed| {
        let (least, most) = speed.range();
        format!("{least:.1} to {most:.1}")
    };
    let text = format!(
        "catalogue, from {gb_s} GB/s of the data sheet: generation {} tokens/s in a short context, {} in a full one",
        range(empty),
        range(full),
    );
    Speed {
        label: "catalogue",
        prompt: None,
        generation: Some(empty.tokens_per_second),
        error_percent: Some(empty.error_above * 100.0),
        text,
    }
}

/// Half of what lies between the fastest and the slowest run of the winner, in percent of the median.
fn scatter(phase: &build_info::PhaseTuning) -> f64 {
    let winner = phase.trials.iter().find(|trial| trial.threads == phase.threads);
    let samples = winner.map(|trial| trial.samples.as_slice()).unwrap_or_default();
    let (least, most) =
        samples.iter().fold((f64::MAX, f64::MIN), |(low, high), speed| (low.min(*speed), high.max(*speed)));
    if samples.is_empty() || phase.tokens_per_second <= 0.0 {
        return 0.0;
    }
    (most - least) / 2.0 / phase.tokens_per_second * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of 8B on a machine of the catalogue.
    fn said(profile: &str, use_case: UseCase) -> Speed {
        let machine = hardware::find(profile).unwrap();
        let header = "8B".parse::<Described>().unwrap().header();
        let question = Question { header: &header, use_case, ctx: None, min_ctx: None };
        let answer = feasibility::answer(&question, &machine.hardware).unwrap();
        by_data_sheet(machine.data_sheet_gb_s.unwrap(), &header, &answer)
    }

    #[test]
    fn a_data_sheet_gives_a_range_and_no_prompt_speed() {
        let speed = said("rtx-4090", UseCase::General);
        assert_eq!((speed.label, speed.prompt), ("catalogue", None));
        insta::assert_snapshot!(speed.text, @"catalogue, from 1008 GB/s of the data sheet: generation 87.3 to 207.4 tokens/s in a short context, 70.8 to 168.3 in a full one");
    }

    #[test]
    fn of_a_split_nothing_is_said() {
        let speed = said("rtx-4060", UseCase::CodingAssistant);
        assert_eq!((speed.label, speed.generation), ("unknown", None));
        insta::assert_snapshot!(speed.text, @"unknown: 9 layers are read from main memory, and no profile knows how fast that is");
    }
}

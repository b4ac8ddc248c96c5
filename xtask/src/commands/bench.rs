//! `bench`: measured figures of the installed builds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use build_info::{BuildId, ClassTuning, Figure, PhaseTuning, Trial};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use diagnostic::{Error, Result, codes};
use gguf::model::Shape;
use host::variants::FORCE;
use host::{Cpu, Host};
use measure::{Phase, Report, bench, table};
use store::Store;

use crate::models::{Model, ModelFlags};
use crate::{machine, measuring, tuning, ui, variants, workspace};

/// Measure installed builds with llama-bench: threads, both phases, spread, read bandwidth
///
/// The best thread count per phase is kept as tuning of the build on this host. Several builds are measured in turn
/// (A B B A ...) and compared with the first; so are CPU variants of a portable build.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    model: ModelFlags,
    /// Thread counts; otherwise 1, powers of two, the heuristic's value and the CPU budget
    #[arg(long, value_delimiter = ',', value_name = "N,..")]
    threads: Vec<usize>,
    /// Builds: `active`, `all`, or ids separated by commas; the first is what the others are compared with
    #[arg(long, value_delimiter = ',', default_value = "active", value_name = "ID,..")]
    builds: Vec<String>,
    /// CPU variants of portable builds, each measured as a build of its own; otherwise the one that a build takes
    #[arg(long, value_delimiter = ',', value_name = "NAME,..", value_parser = NonEmptyStringValueParser::new())]
    variant: Vec<String>,
    /// How often everything is run in turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Tokens of the prompt
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=131_072))]
    prompt: u32,
    /// Tokens generated
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=131_072))]
    generate: u32,
    /// Also measure each build as `cargo xtask tune` would have it run
    #[arg(long, conflicts_with = "variant")]
    tuned: bool,
    /// Write the raw samples and the machine's description; `-` is standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write one page with plots: threads and speed, builds side by side, what tuning found
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print the plan and stop
    #[arg(long)]
    dry_run: bool,
}

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        let host = Host::probe();
        machine::explicit(&host, &self.threads)?;
        let store = workspace::store();
        let builds = chosen(&store, &self.builds)?;
        let mut sides = sides(&store, &builds, &self.variant, &host.cpu)?;
        let model = self.model.look()?;
        model.fits(&host, self.prompt.max(self.generate))?;
        let tunings = if self.tuned { tunings(&store, &host, &builds, &model)? } else { Vec::new() };
        for (id, tuning) in &tunings {
            let plain = sides.iter().find(|side| side.label == id.to_string());
            let tuned = plain.map(|side| tuning::side(side, tuning));
            sides.extend(tuned);
        }
        let plan = plan(&self, &host, sides, &model, &tunings)?;
        if self.dry_run {
            return ui::print(plan.to_string());
        }
        workspace::check_report(self.json.as_deref())?;
        workspace::check_report(self.html.as_deref())?;
        model.ensure()?;
        let report = measuring::run(&plan)?;
        self.show(&report)?;
        if let Some(path) = &self.html {
            let outcome = tuning::found(&store, &machine::fingerprint(&host), &model.class);
            build_info::write_atomic(path, measure::page::render(&report, outcome.as_ref()).as_bytes())?;
            ui::note(format!("wrote     {}", workspace::short(path)));
        }
        if report.interrupted {
            return Err(Error::new(
                codes::INTERRUPTED,
                "interrupted; what was measured until then is shown, and not kept as tuning",
            ));
        }
        if let Some(why) = self.says_little(&host) {
            ui::note(format!("not kept  as tuning: {why}"));
            return Ok(());
        }
        remember(&store, &host, &builds, &model, &report)
    }

    /// Why the figures must not decide how many threads are used from now on.
    fn says_little(&self, host: &Host) -> Option<&'static str> {
        if !self.threads.is_empty() {
            Some("only the thread counts that were asked for were measured")
        } else if self.tuned {
            Some("tuned settings were measured too")
        } else if !self.variant.is_empty() || variants::forced().is_some() {
            Some("the CPU variant was forced")
        } else if self.rounds < 3 {
            Some("fewer than three rounds")
        } else if self.model.model.is_none() && self.model.shape == Shape::Tiny {
            Some("a tiny model measures overhead")
        } else if host.budget.cpus < host.topology.logical_cpus.value {
            Some("this process may use only a part of the machine")
        } else {
            None
        }
    }

    fn show(&self, report: &Report) -> Result<()> {
        let json = serde_json::to_string_pretty(report).expect("a report holds only strings and finite numbers");
        match &self.json {
            Some(path) if path == Path::new("-") => ui::print(json)?,
            Some(path) => {
                ui::print(table::render(report))?;
                build_info::write_atomic(path, json.as_bytes())?;
                ui::note(format!("wrote     {}", workspace::short(path)));
            }
            None => ui::print(table::render(report))?,
        }
        Ok(())
    }
}

/// The builds that were asked for, each once.
pub(crate) fn chosen(store: &Store, wanted: &[String]) -> Result<Vec<BuildId>> {
    let mut ids = Vec::new();
    for text in wanted {
        match text.as_str() {
            "active" => ids.push(store.active()?.ok_or_else(nothing_installed)?),
            "all" => {
                // The active one first: it is what the others are compared with.
                ids.extend(store.active()?);
                ids.extend(store.ids()?);
            }
            id => ids.push(store.find(id)?),
        }
    }
    let mut unique = Vec::new();
    for id in ids {
        if !unique.contains(&id) {
            unique.push(id);
        }
    }
    if unique.is_empty() { Err(nothing_installed()) } else { Ok(unique) }
}

fn nothing_installed() -> Error {
    Error::new(codes::NO_SUCH_BUILD, "no build is installed").hint("install one with `cargo xtask install-fast`")
}

/// What is measured side by side: every build, or every one of these variants of every build, each once.
fn sides(store: &Store, builds: &[BuildId], variants: &[String], cpu: &Cpu) -> Result<Vec<bench::Build>> {
    let mut sides: Vec<bench::Build> = Vec::new();
    for id in builds {
        let llama_bench = store.build(id).join("bin/llama-bench");
        let side = |label: String, environment| bench::Build {
            label,
            llama_bench: llama_bench.clone(),
            environment,
            args: Vec::new(),
        };
        if variants.is_empty() {
            sides.push(side(id.to_string(), BTreeMap::new()));
            continue;
        }
        let info = store.info(id)?;
        for variant in variants {
            variants::require(id, &info, cpu, variant)?;
            let label = format!("{id}@{variant}");
            if sides.iter().all(|side| side.label != label) {
                sides.push(side(label, BTreeMap::from([(FORCE.to_owned(), variant.clone())])));
            }
        }
    }
    Ok(sides)
}

/// The tuning of each build; at least one must have some.
fn tunings(store: &Store, host: &Host, builds: &[BuildId], model: &Model) -> Result<Vec<(BuildId, ClassTuning)>> {
    let fingerprint = machine::fingerprint(host);
    let mut found = Vec::new();
    let mut missing = None;
    for id in builds {
        match tuning::find(store, &fingerprint, id, &model.class) {
            Ok(tuning) => found.push((id.clone(), tuning)),
            Err(error) if error.code() == codes::NOT_TUNED => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

fn plan(
    flags: &Flags,
    host: &Host,
    builds: Vec<bench::Build>,
    model: &Model,
    tunings: &[(BuildId, ClassTuning)],
) -> Result<bench::Plan> {
    let heuristic = machine::heuristic(host)?.generation;
    let mut threads = match (flags.threads.is_empty(), flags.tuned) {
        (false, _) => flags.threads.clone(),
        (true, false) => host::threads::sweep(host.budget.cpus, heuristic),
        // What is run without tuning, and what with it; the live budget caps both.
        (true, true) => {
            let of = |(_, tuning): &(BuildId, ClassTuning)| [tuning.generation.threads, tuning.prompt.threads];
            let tuned = tunings.iter().flat_map(of).map(|threads| (threads.get() as usize).min(host.budget.cpus));
            tuned.chain([heuristic]).collect()
        }
    };
    threads.sort_unstable();
    threads.dedup();
    Ok(bench::Plan {
        builds,
        model: model.path.clone(),
        model_bytes: model.bytes,
        bytes_per_token: model.bytes_per_token(flags.generate),
        threads,
        n_prompt: flags.prompt,
        n_gen: flags.generate,
        rounds: flags.rounds,
        repetitions: 1,
        bandwidth: Some(machine::bandwidth(host)),
        machine: machine::description(host),
    })
}

/// Keeps the winners of each build as its tuning on this host.
fn remember(store: &Store, host: &Host, builds: &[BuildId], model: &Model, report: &Report) -> Result<()> {
    let fingerprint = machine::fingerprint(host);
    let baseline = machine::heuristic(host)?.generation;
    let writer = store.lock(ui::waiting("with the store"))?;
    for id in builds {
        let tuned = tuning::find(store, &fingerprint, id, &model.class);
        if tuned.is_ok_and(|known| known.search.is_some()) {
            ui::note(format!("kept      what `cargo xtask tune` has found for {id}, in place of these threads"));
            continue;
        }
        if let Some(tuning) = tuning_of(report, &id.to_string(), baseline) {
            writer.record_tuning(&fingerprint, id, model.class.clone(), tuning)?;
        }
    }
    ui::note(format!("kept      as tuning for {} on this host", model.class));
    Ok(())
}

fn tuning_of(report: &Report, label: &str, baseline: usize) -> Option<ClassTuning> {
    let winners = measure::winner(report, label)?;
    let build = report.build(label)?;
    let unstable = build.figures.iter().any(|figure| figure.unstable);
    Some(ClassTuning {
        date: build_info::now(),
        unstable,
        generation: phase_of(report, label, Phase::Generation, winners.generation.threads, baseline)?,
        prompt: phase_of(report, label, Phase::Prompt, winners.prompt.threads, baseline)?,
        settings: Default::default(),
        environment: Default::default(),
        bytes_per_token: report.model.bytes_per_token,
        search: None,
        extra: Default::default(),
    })
}

fn phase_of(report: &Report, label: &str, phase: Phase, winner: usize, baseline: usize) -> Option<PhaseTuning> {
    let build = report.build(label)?;
    let figure = |threads: usize| build.figure(phase, threads);
    let best = figure(winner)?;
    let base = figure(baseline)?;
    let count = |threads: usize| u32::try_from(threads).ok().and_then(std::num::NonZeroU32::new);
    let mut trials = Vec::new();
    for figure in build.figures.iter().filter(|figure| figure.phase == phase) {
        let samples = report
            .runs
            .iter()
            .filter(|run| run.build == label && run.phase == phase && run.threads == figure.threads)
            .flat_map(|run| run.samples_ns.iter().map(|&ns| f64::from(run.tokens) * 1e9 / ns as f64))
            .collect();
        trials.push(Trial { threads: count(figure.threads)?, samples, extra: Default::default() });
    }
    Some(PhaseTuning {
        threads: count(winner)?,
        tokens_per_second: best.tokens_per_second,
        tokens: std::num::NonZeroU32::new(best.tokens)?,
        baseline: Figure {
            threads: count(base.threads)?,
            tokens_per_second: base.tokens_per_second,
            extra: Default::default(),
        },
        trials,
        extra: Default::default(),
    })
}

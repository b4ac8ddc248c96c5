//! `tune`: finds the best settings of this machine by measuring.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use build_info::{BuildId, BuildKind};
use clap::{Args, ValueEnum};
use diagnostic::{Error, Result, codes};
use host::Host;
use host::variants::Verdict;
use measure::tune::{self, Event, Goal, Journal, Outcome, Sizes, Stop, Wish, llama};
use process::Lock;
use serde_json::json;
use store::Store;

use crate::commands::bench::chosen;
use crate::models::{Model, ModelFlags};
use crate::tuning::Kept;
use crate::ui::{Progress, Unit};
use crate::{machine, tuning, ui, variants, workspace};

/// Search for the best settings of this machine: kernels, threads, batches, memory, scheduling
///
/// Every choice runs in turn with what is best so far, at least five times, and is kept only when it is faster beyond
/// doubt, twice. Only settings that change results by rounding at most are tried. Ctrl-C loses nothing: the same command
/// goes on, and is instant once everything is known.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    model: ModelFlags,
    /// Builds to choose from: `all` of the active one's llama.cpp commit, `active`, or ids; the first is the baseline
    #[arg(long, value_delimiter = ',', default_value = "all", value_name = "ID,..")]
    builds: Vec<String>,
    /// What to make faster
    #[arg(long, value_enum, default_value_t = GoalFlag::NoHarm)]
    goal: GoalFlag,
    /// How long it may take, such as `90s`, `5m` or `1h30m`
    #[arg(long, default_value = "10m", value_parser = duration, value_name = "TIME")]
    budget: Duration,
    /// Also measure flash attention with so many tokens in the KV cache
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=131_072), value_name = "N")]
    depth: u32,
    /// Measure everything again
    #[arg(long)]
    fresh: bool,
    /// Write what was found and every sample; `-` is standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print what would be tried and stop
    #[arg(long)]
    dry_run: bool,
}

/// What to make faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum GoalFlag {
    /// Either phase, neither more than 2 % slower
    NoHarm,
    /// Prompts, whatever generation loses
    Prompt,
    /// Generation, whatever prompts lose
    Generation,
    /// The time of a request of 512 tokens and an answer of 128
    Balanced,
}

impl From<GoalFlag> for Goal {
    fn from(flag: GoalFlag) -> Goal {
        match flag {
            GoalFlag::NoHarm => Goal::NoHarm,
            GoalFlag::Prompt => Goal::Prompt,
            GoalFlag::Generation => Goal::Generation,
            GoalFlag::Balanced => Goal::Balanced,
        }
    }
}

/// The sizes on a fast machine; what `--dry-run` assumes.
const USUAL: Sizes = Sizes { prompt: 512, generation: 64 };

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        let host = Host::probe();
        let store = workspace::store();
        let builds = self.candidates(&store)?;
        let model = self.model.look()?;
        model.fits(&host, self.depth + USUAL.prompt + USUAL.generation)?;
        let facts = facts(&store, &host, &builds, self.depth)?;
        if self.dry_run {
            return ui::print(listed(&llama::space(&facts, USUAL)));
        }
        workspace::check_report(self.json.as_deref())?;
        model.ensure()?;
        let fingerprint = machine::fingerprint(&host);
        let path = store.search_path(&fingerprint, &model.class);
        let dir = path.parent().expect("a search is kept in a directory");
        fs::create_dir_all(dir).map_err(|error| Error::io("cannot create", dir, error))?;
        let _lock = Lock::acquire(&path.with_extension("lock"), ui::waiting("its own search"))?;
        let mut journal = self.journal(&path, &host, &model)?;
        let outcome = self.search(&facts, &model, &path, &mut journal, &host)?;
        save(&path, &journal, Some(&outcome))?;
        self.show(&outcome, &journal, &host, &model)?;
        if outcome.stopped == Some(Stop::Interrupted) {
            return Err(Error::new(codes::INTERRUPTED, "interrupted; the same command goes on from here"));
        }
        keep(&store, &host, &model, &outcome, &journal)
    }

    /// The builds to choose from, of one llama.cpp commit.
    fn candidates(&self, store: &Store) -> Result<Vec<BuildId>> {
        let ids = chosen(store, &self.builds)?;
        let commit = store.info(&ids[0])?.llama_commit;
        let (same, other): (Vec<BuildId>, Vec<BuildId>) =
            ids.into_iter().partition(|id| store.info(id).is_ok_and(|info| info.llama_commit == commit));
        for id in other {
            ui::note(format!("left out  {id}: of another llama.cpp commit, or damaged"));
        }
        Ok(same)
    }

    /// What was measured before, as far as it still counts.
    fn journal(&self, path: &Path, host: &Host, model: &Model) -> Result<Journal> {
        let subject = json!({
            "machine": host.fingerprint(),
            "cpu_budget": host.budget.cpus,
            "model": { "class": model.class, "bytes": model.bytes },
        });
        let new = Journal::new(subject);
        if self.fresh || !path.exists() {
            return Ok(new);
        }
        let text = fs::read(path).map_err(|error| Error::io("cannot read", path, error))?;
        match serde_json::from_slice::<Kept>(&text).map(|kept| kept.journal) {
            Ok(old) if old.schema_version == new.schema_version && old.subject == new.subject => Ok(old),
            Ok(_) => {
                ui::note(
                    "anew      the machine, what we may use of it, the model, or Caravan is another than last time",
                );
                Ok(new)
            }
            Err(error) => {
                ui::note(format!("anew      `{}` cannot be read: {error}", workspace::short(path)));
                Ok(new)
            }
        }
    }

    fn search(
        &self,
        facts: &llama::Facts,
        model: &Model,
        path: &Path,
        journal: &mut Journal,
        host: &Host,
    ) -> Result<Outcome> {
        if journal.rounds.is_empty() {
            if tuned_elsewhere(facts, host) {
                ui::note(
                    "anew      what was measured on another machine, or with another CPU in this one, is not used",
                );
            }
            if let Some(why) = machine::busy(host) {
                ui::note(format!("warning   {why}: what is measured now may not hold later"));
            }
        }
        let progress = std::cell::RefCell::new(Progress::new("tuning", Unit::Steps));
        let budget = self.budget;
        let began = std::time::Instant::now();
        let usual = llama::space(facts, USUAL);
        let before = tune::spent_before(journal, self.goal.into(), &usual.builds()).as_secs();
        let mut sampler = tune::LlamaBench::new(model.path.clone(), |launch| {
            let spent = (before + began.elapsed().as_secs()).min(budget.as_secs());
            let options: Vec<String> =
                launch.run.options.iter().map(|(name, value)| format!("--{name} {value}")).collect();
            let what = format!("{} -t {} {}", launch.run.build, launch.threads, options.join(" "));
            progress.borrow_mut().set(spent, budget.as_secs(), &what);
        })?;
        let sizes = match journal.sizes {
            Some(sizes) => sizes,
            None => *journal.sizes.insert(sampler.sizes(&usual.baseline, self.budget)?),
        };
        let space = llama::space(facts, sizes);
        let wish = Wish { goal: self.goal.into(), request: tune::Request::default(), budget };
        tune::search(&space, &wish, sizes, journal, &mut sampler, &mut |event| {
            match event {
                Event::Stage { name, choices } => {
                    progress.borrow().note(&format!("stage     {name}, {choices} to try"));
                }
                Event::Round(journal) => {
                    save(path, journal, None)?;
                }
                Event::Tried(tried) => progress.borrow().note(&format!("tried     {}", tune::tried(tried))),
            }
            Ok(())
        })
    }

    fn show(&self, outcome: &Outcome, journal: &Journal, host: &Host, model: &Model) -> Result<()> {
        let json = json!({
            "date": build_info::now(),
            "machine": machine::description(host),
            "model": model.class,
            "outcome": outcome,
            "journal": journal,
        });
        let json = json.to_string();
        match &self.json {
            Some(path) if path == Path::new("-") => ui::print(json),
            Some(path) => {
                ui::print(tune::render(outcome))?;
                build_info::write_atomic(path, json.as_bytes())?;
                ui::note(format!("wrote     {}", workspace::short(path)));
                Ok(())
            }
            None => ui::print(tune::render(outcome)),
        }
    }
}

/// Writes everything that is known so far; a run that is killed loses one round at most.
fn save(path: &Path, journal: &Journal, outcome: Option<&Outcome>) -> Result<()> {
    let kept = json!({ "journal": journal, "outcome": outcome });
    build_info::write_atomic(path, kept.to_string().as_bytes())
}

/// Keeps what was found as the tuning of the build that won.
fn keep(store: &Store, host: &Host, model: &Model, outcome: &Outcome, journal: &Journal) -> Result<()> {
    let Some((id, found)) = tuning::of(outcome, journal, model) else {
        ui::note(match outcome.stopped {
            Some(_) => "not kept  as tuning: the time ran out before anything was certain",
            None => "not kept  as tuning: llama.cpp's own settings are as good as any",
        });
        return Ok(());
    };
    let writer = store.lock(ui::waiting("with the store"))?;
    writer.record_tuning(&machine::fingerprint(host), &id, model.class.clone(), found)?;
    ui::note(format!("kept      as tuning of {id} for {} on this host", model.class));
    if store.active()?.as_ref() != Some(&id) {
        ui::note(format!("hint      it is not the active build: `cargo xtask use {id}`"));
    }
    Ok(())
}

/// Whether a build was tuned on another host.
fn tuned_elsewhere(facts: &llama::Facts, host: &Host) -> bool {
    let (store, fingerprint) = (workspace::store(), machine::fingerprint(host));
    let ids = facts.builds.iter().filter_map(|build| build.label.parse().ok());
    ids.into_iter().any(|id| store.tuned_elsewhere(&fingerprint, &id) > 0)
}

/// What there is to choose from.
fn facts(store: &Store, host: &Host, ids: &[BuildId], depth: u32) -> Result<llama::Facts> {
    let threads = machine::heuristic(host)?.generation;
    let builds = ids.iter().map(|id| build(store, host, id)).collect::<Result<Vec<_>>>()?;
    Ok(llama::Facts {
        builds,
        threads,
        thread_counts: host::threads::sweep(host.budget.cpus, threads),
        cores: fast_cores(host),
        numa_nodes: host.topology.numa_nodes.unwrap_or(1),
        huge_pages: host.memory.huge_pages.transparent.as_ref().map(|setting| setting.value.to_string()),
        may_raise_priority: machine::is_root(),
        depth,
    })
}

/// One CPU of each fast core; none where we may not use all of them, since a mask must not leave our affinity.
fn fast_cores(host: &Host) -> Vec<u32> {
    let topology = &host.topology;
    if host.budget.affinity.value < topology.logical_cpus.value {
        return Vec::new();
    }
    topology.cpus.one_per_core.intersection(&topology.cpus.performance).iter().collect()
}

fn build(store: &Store, host: &Host, id: &BuildId) -> Result<llama::Build> {
    let info = store.info(id)?;
    let choice = variants::of(&info, &host.cpu, None);
    let native = info.build_type == BuildKind::Native;
    Ok(llama::Build {
        label: id.to_string(),
        llama_bench: store.build(id).join("bin/llama-bench"),
        openmp: native && !info.cmake_flags.iter().any(|flag| flag == "-DGGML_OPENMP=OFF"),
        blas: info.blas.enabled,
        variants: choice.map(|choice| runners_up(&choice)).unwrap_or_default(),
    })
}

/// The variants below the one that a build takes, where wider vectors are known to lose at times: AVX-512 can lower the
/// clock, and AMX has been measured slower than AVX-512 on some processors.
fn runners_up(choice: &host::variants::Choice) -> Vec<String> {
    const WIDE: [&str; 9] = [
        "skylakex",
        "cannonlake",
        "cascadelake",
        "icelake",
        "cooperlake",
        "zen4",
        "sapphirerapids",
        "armv9.2_1",
        "armv9.2_2",
    ];
    if !choice.taken.as_deref().is_some_and(|taken| WIDE.contains(&taken)) {
        return Vec::new();
    }
    let others = choice.reasons.iter().filter(|reason| matches!(reason.verdict, Verdict::Outscored { .. }));
    others.rev().take(2).map(|reason| reason.name.clone()).collect()
}

/// What `--dry-run` prints.
fn listed(space: &tune::Space) -> String {
    let mut lines = vec![format!("baseline   {}: {}", space.baseline.run.build, space.baseline)];
    for stage in &space.stages {
        for knob in &stage.knobs {
            let choices: Vec<&str> = knob.choices.iter().map(|choice| choice.label.as_str()).collect();
            lines.push(format!("{:<10} {}: {}", stage.name, knob.name, choices.join("; ")));
        }
    }
    lines.extend(space.skipped.iter().map(|skipped| format!("not tried  {}: {}", skipped.knob, skipped.why)));
    lines.join("\n")
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| "give a time such as `90s`, `5m` or `1h30m`")?;
    match Duration::try_from(parsed) {
        Ok(time) if time >= Duration::from_secs(1) => Ok(time),
        _ => Err("a search needs at least a second, and some minutes to find anything".to_owned()),
    }
}

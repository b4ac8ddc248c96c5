//! `show-build`: what the active build is, how it was made, and what was measured.

use std::fmt::Write as _;

use build_info::{BuildId, BuildInfo, BuildKind, Tuning};
use clap::Args;
use diagnostic::{Error, Result, codes};
use host::Host;
use host::threads::{Measured, ThreadChoice};
use serde_json::json;
use store::Verification;

use crate::{machine, ui, workspace};

/// Show the active build: how it was made, what was measured, which threads it runs with here
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Another build: its id, or the beginning of it
    id: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Compare every file with its digest
    #[arg(long)]
    verify: bool,
}

/// All that is shown.
struct View {
    id: BuildId,
    active: bool,
    info: BuildInfo,
    tuning: Result<Option<Tuning>>,
    threads: Result<ThreadChoice>,
    cpu_budget: usize,
    verification: Option<Verification>,
}

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        let store = workspace::store();
        // A damaged `current` must not hide a build that is asked for by its id.
        let (id, active) = match &self.id {
            Some(text) => {
                let id = store.find(text)?;
                let active = store.active().is_ok_and(|active| active.as_ref() == Some(&id));
                (id, active)
            }
            None => (store.active()?.ok_or_else(nothing_active)?, true),
        };
        let host = Host::probe();
        let info = store.info(&id)?;
        // Trouble with what was measured, or with the job variables, is shown beside the rest.
        let tuning = store.tuning(&machine::fingerprint(&host), &id);
        let measured = tuning.as_ref().ok().and_then(|tuning| tuning.as_ref()).and_then(measured);
        let view = View {
            active,
            threads: machine::choice(&host, measured.or(optimal(&info))),
            info,
            cpu_budget: host.budget.cpus,
            verification: self.verify.then(|| store.verify(&id)).transpose()?,
            tuning,
            id,
        };
        ui::print(if self.json { as_json(&view) } else { as_text(&view) })?;
        match &view.verification {
            Some(found) if !found.is_intact() => {
                Err(Error::new(codes::BUILD_CORRUPT, format!("`{}` is damaged: {found}", view.id))
                    .hint("install it again, or go back with `cargo xtask rollback`"))
            }
            _ => Ok(()),
        }
    }
}

fn nothing_active() -> Error {
    Error::new(codes::NO_SUCH_BUILD, "no build is active").hint("install one with `cargo xtask install-fast`")
}

/// What the build itself recommends, for the machine that it was built on.
fn optimal(info: &BuildInfo) -> Option<Measured> {
    let threads = info.optimal_threads?.get() as usize;
    Some(Measured { generation: threads, prompt: threads })
}

/// The measured thread counts of the class that was measured last.
fn measured(tuning: &Tuning) -> Option<Measured> {
    let latest = tuning.classes.values().max_by_key(|class| class.date)?;
    Some(Measured {
        generation: latest.generation.threads.get() as usize,
        prompt: latest.prompt.threads.get() as usize,
    })
}

fn as_json(view: &View) -> String {
    let value = json!({
        "id": view.id.to_string(),
        "active": view.active,
        "build_info": view.info,
        "tuning": view.tuning.as_ref().ok(),
        "tuning_error": view.tuning.as_ref().err().map(ToString::to_string),
        "cpu_budget": view.cpu_budget,
        "optimal_threads": view.threads.as_ref().ok().map(|threads| threads.generation),
        "threads": view.threads.as_ref().ok(),
        "threads_error": view.threads.as_ref().err().map(ToString::to_string),
        "intact": view.verification.as_ref().map(Verification::is_intact),
    });
    serde_json::to_string_pretty(&value).expect("a view holds only strings and finite numbers")
}

fn as_text(view: &View) -> String {
    let info = &view.info;
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        writeln!(text, "{name:<12} {value}").expect("a String takes any text");
    };
    line("build", &format!("{}{}", view.id, if view.active { " (active)" } else { "" }));
    line(
        "kind",
        match info.build_type {
            BuildKind::Native => "native: compiled for this CPU model, runs on no lesser one",
            BuildKind::Portable => "portable: chooses among its CPU variants when it starts",
        },
    );
    line("llama.cpp", &format!("{}, commit {}", info.llama_version, info.llama_commit));
    line("source", &format!("tree {}", info.llama_tree));
    for patch in &info.patches {
        line("", &format!("patch {}", patch.name));
    }
    let place = info.hostname.as_ref().map(|hostname| format!(" on {hostname}")).unwrap_or_default();
    line("built", &format!("{}{place}", info.date));
    if let Some(model) = &info.cpu_model {
        line("cpu", model);
    }
    line("compiler", &info.compiler);
    line("link-time", if info.lto { "optimised" } else { "not optimised" });
    line(
        "https",
        match (&info.openssl, info.build_type) {
            (Some(_), _) => "yes",
            (None, BuildKind::Native) => "no: OpenSSL was not there",
            (None, BuildKind::Portable) => "no: a portable build has no OpenSSL",
        },
    );
    let blas = &info.blas;
    let name = [blas.vendor.as_deref(), blas.version.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let state = if blas.enabled { "on" } else { "off" };
    line("blas", &format!("{state}{}: {}", if name.is_empty() { name } else { format!(", {name}") }, blas.reason));
    if let Some(figures) = &blas.measured {
        for (label, rates) in [("without", &figures.off), ("with", &figures.on)] {
            line("", &format!("{label:<8} prompt {:.1}, generation {:.1} tokens/s", rates.prompt, rates.generation));
        }
    }
    match &view.threads {
        Ok(threads) => line("threads", &format!("-t {} -tb {}: {}", threads.generation, threads.prompt, threads.why)),
        Err(error) => line("threads", &format!("unknown: {error}")),
    }
    if let Err(error) = &view.tuning {
        line("measured", &format!("unknown: {error}"));
    }
    for (class, tuning) in view.tuning.iter().flatten().flat_map(|tuning| &tuning.classes) {
        let phase = |name: &str, phase: &build_info::PhaseTuning| {
            format!("{name} {:.1} tokens/s with {} threads", phase.tokens_per_second, phase.threads)
        };
        let mark = if tuning.unstable { " (unstable)" } else { "" };
        line(
            "measured",
            &format!("{class}: {}, {}{mark}", phase("prompt", &tuning.prompt), phase("generation", &tuning.generation)),
        );
    }
    if let Some(found) = &view.verification {
        line("files", if found.is_intact() { "all as installed" } else { "damaged" });
    }
    text
}

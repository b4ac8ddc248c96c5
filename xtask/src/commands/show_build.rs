//! `show-build`: what the active build is, how it was made, and what was measured.

use std::fmt::Write as _;

use build_info::{BuildId, BuildInfo, BuildKind, Tuning};
use clap::Args;
use diagnostic::{Error, Result, codes};
use host::Host;
use host::threads::{Measured, ThreadChoice};
use host::variants::{Choice, FORCE};
use serde_json::json;
use store::Verification;

use crate::{machine, tuning, ui, variants, workspace};

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
    /// What if this CPU variant were forced; `GGML_CPU_VARIANT` does it
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
}

/// All that is shown.
struct View {
    id: BuildId,
    active: bool,
    info: BuildInfo,
    tuning: Result<Option<Tuning>>,
    /// Other hosts that have measured it.
    tuned_elsewhere: usize,
    threads: Result<ThreadChoice>,
    cpu_budget: usize,
    /// Of a portable build, or where one is forced.
    variants: Option<Choice>,
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
        let by_environment = self.variant.is_none();
        let forced = self.variant.or_else(variants::forced);
        let view = View {
            active,
            variants: variants::of(&info, &host.cpu, forced.as_deref()),
            threads: machine::choice(&host, measured.or(optimal(&info))),
            info,
            cpu_budget: host.budget.cpus,
            verification: self.verify.then(|| store.verify(&id)).transpose()?,
            tuned_elsewhere: store.tuned_elsewhere(&machine::fingerprint(&host), &id),
            tuning,
            id,
        };
        ui::print(if self.json { as_json(&view) } else { as_text(&view) })?;
        let taken = view.variants.as_ref().map_or(Ok(()), |choice| choice.taken().map(drop));
        let taken = taken.map_err(|error| match forced {
            Some(_) if by_environment => {
                error.hint(format!("`{FORCE}` is set: no tool of this build starts like this"))
            }
            _ => error,
        });
        match &view.verification {
            Some(found) if !found.is_intact() => {
                Err(Error::new(codes::BUILD_CORRUPT, format!("`{}` is damaged: {found}", view.id))
                    .hint("install it again, or go back with `cargo xtask rollback`"))
            }
            _ => taken,
        }
    }
}

fn nothing_active() -> Error {
    Error::new(codes::NO_SUCH_BUILD, "no build is active").hint("install one with `cargo xtask install-fast`")
}

/// What the build itself recommends, for the machine that it was built on.
pub(super) fn optimal(info: &BuildInfo) -> Option<Measured> {
    let threads = info.optimal_threads?.get() as usize;
    Some(Measured { generation: threads, prompt: threads })
}

/// The measured thread counts of the class that was measured last.
pub(super) fn measured(tuning: &Tuning) -> Option<Measured> {
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
        "variant": view.variants.as_ref().and_then(|choice| choice.taken.as_ref()),
        "variants": view.variants.as_ref().map(|choice| &choice.reasons),
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
    for (n, text) in view.variants.iter().flat_map(variants::lines).enumerate() {
        line(if n == 0 { "variant" } else { "" }, &text);
    }
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
        if let Some(search) = &tuning.search {
            let settings = tuning::settings(tuning);
            let settings = if settings.is_empty() { "threads only".to_owned() } else { settings };
            let speed = format!("prompt {:.2}x, generation {:.2}x", search.prompt_ratio, search.generation_ratio);
            line("tuned", &format!("{class}: {settings}; {speed} of {} (goal: {})", search.baseline, search.goal));
        }
    }
    if view.tuned_elsewhere > 0 {
        let n = view.tuned_elsewhere;
        let others = if n == 1 { "one other machine".to_owned() } else { format!("{n} other machines") };
        line("", &format!("measured on {others} too, or on this one with another CPU: not used here"));
    }
    if let Some(found) = &view.verification {
        line("files", if found.is_intact() { "all as installed" } else { "damaged" });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variants::tests::{all, build, cpu};

    fn view(cpu: &host::Cpu, forced: Option<&str>) -> View {
        let info = build("portable", &all());
        let why = "`balanced` on 2 cores: all (1 or 2) = 2".to_owned();
        View {
            id: "portable-0.5.0-0c1e5709-8f14e45f".parse().unwrap(),
            active: true,
            variants: variants::of(&info, cpu, forced),
            info,
            tuning: Ok(None),
            threads: Ok(ThreadChoice { generation: 2, prompt: 2, why }),
            tuned_elsewhere: 0,
            cpu_budget: 2,
            verification: None,
        }
    }

    #[test]
    fn a_portable_build_says_which_variant_runs_and_why_no_other() {
        let avx512_off = ["avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw", "avx512vbmi", "avx512_vnni"];
        insta::assert_snapshot!(as_text(&view(&cpu(&["icelake"], &avx512_off), None)), @r"
        build        portable-0.5.0-0c1e5709-8f14e45f (active)
        kind         portable: chooses among its CPU variants when it starts
        variant      haswell runs here
                     x64             could run, but haswell ranks higher
                     sse42           could run, but haswell ranks higher
                     sandybridge     could run, but haswell ranks higher
                     ivybridge       could run, but haswell ranks higher
                     piledriver      could run, but haswell ranks higher
                     skylakex        the operating system does not enable avx512f avx512cd avx512vl avx512dq avx512bw
                     cannonlake      the operating system does not enable avx512f avx512cd avx512vl avx512dq avx512bw avx512vbmi
                     cascadelake     the operating system does not enable avx512f avx512cd avx512vl avx512dq avx512bw avx512_vnni
                     icelake         the operating system does not enable avx512f avx512cd avx512vl avx512dq avx512bw avx512vbmi avx512_vnni
                     cooperlake      the CPU lacks avx512_bf16
                     zen4            the CPU lacks avx512_bf16
                     alderlake       the CPU lacks avx_vnni
                     sapphirerapids  the CPU lacks avx512_bf16 amx_tile amx_int8
        llama.cpp    0.5.0, commit 0c1e57098bba43ac29e6e3b677cdceebdd22334f
        source       tree b2da53584951ec8aa40680229509a6646a637560
        built        2026-10-01T00:00:00Z
        compiler     zig 0.15.2
        link-time    not optimised
        https        no: a portable build has no OpenSSL
        blas         off: portable
        threads      -t 2 -tb 2: `balanced` on 2 cores: all (1 or 2) = 2
        ");
    }

    #[test]
    fn json_carries_the_variant_and_the_reasons() {
        let parsed = |view: &View| serde_json::from_str::<serde_json::Value>(&as_json(view)).unwrap();
        let free = parsed(&view(&cpu(&["haswell"], &[]), None));
        assert_eq!(free["variant"], "haswell");
        assert_eq!(free["variants"][0], serde_json::json!({"name": "x64", "verdict": "outscored", "by": "haswell"}));
        let forced = parsed(&view(&cpu(&["sse42"], &[]), Some("ivybridge")));
        assert_eq!(forced["variant"], serde_json::Value::Null);
        assert_eq!(
            forced["variants"][3],
            serde_json::json!({"name": "ivybridge", "verdict": "missing", "features": ["avx", "f16c"]})
        );
    }
}

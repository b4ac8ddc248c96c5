//! `docs/performance.md`, from the reports in `docs/figures/`: no figure is typed by hand.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use diagnostic::{Error, Result, codes};
use measure::ratio::Ratio;
use measure::tune::{self, Outcome, Together, Verdict};
use measure::{BuildReport, Phase, Report};
use serde::Deserialize;

const TEMPLATE: &str = include_str!("performance.md");

/// What `tune --json` writes, as far as the page needs it.
#[derive(Debug, Deserialize)]
struct Tune {
    outcome: Outcome,
    model: String,
    machine: serde_json::Value,
}

/// A report and the name of its file.
struct Named<T> {
    file: String,
    report: T,
}

/// The page.
///
/// # Errors
/// [`codes::CHECK_FAILED`]: a file in the directory is no report of `tune` or `bench`.
pub(crate) fn page(figures: &Path) -> Result<String> {
    let (mut tunes, mut benches) = (Vec::new(), Vec::new());
    for path in files(figures)? {
        let text = fs::read(&path).map_err(|error| Error::io("cannot read", &path, error))?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Ok(report) = serde_json::from_slice::<Tune>(&text) {
            tunes.push(Named { file, report });
        } else {
            let report = serde_json::from_slice::<Report>(&text).map_err(|error| {
                let message = format!("`{}` is no report of `tune` or `bench`: {error}", path.display());
                Error::new(codes::CHECK_FAILED, message)
            })?;
            benches.push(Named { file, report });
        }
    }
    Ok(TEMPLATE
        .replace("{{tuned}}", tuned(&tunes).trim_end())
        .replace("{{tried}}", tried(&tunes).trim_end())
        .replace("{{builds}}", builds(&benches).trim_end()))
}

/// The reports, in the order of their names.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let fail = |error| Error::io("cannot read", dir, error);
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What was measured together, a row per search, under the machine that it was measured on.
fn tuned(tunes: &[Named<Tune>]) -> String {
    let mut text = String::new();
    let mut machine = String::new();
    for Named { file, report } in tunes {
        let here = describe(&report.machine);
        if here != machine {
            if !text.is_empty() {
                text.push('\n');
            }
            let head = "| model | goal | prompt, tokens/s | generation, tokens/s | memory | settings | raw |\n\
                        |---|---|--:|--:|--:|---|---|\n";
            write!(text, "On {here}:\n\n{head}").expect("a String takes any text");
            machine = here;
        }
        let outcome = &report.outcome;
        let goal = crate::tuning::name(outcome.goal);
        let raw = format!("[json](figures/{file})");
        let row = match &outcome.together {
            Some(together) if together.held => {
                let (prompt, generation, memory) = compared(together);
                let settings = settings(outcome);
                format!("| {} | {goal} | {prompt} | {generation} | {memory} | {settings} | {raw} |", report.model)
            }
            _ => format!("| {} | {goal} | - | - | - | llama.cpp's own are as good as any | {raw} |", report.model),
        };
        writeln!(text, "{row}").expect("a String takes any text");
    }
    text
}

fn compared(together: &Together) -> (String, String, String) {
    let phase = |from: f64, to: f64, ratio: &Option<Ratio>| {
        let ratio = ratio.as_ref().map(times).unwrap_or_default();
        format!("{from:.1} -> {to:.1}, {ratio}")
    };
    let (before, after) = (&together.baseline, &together.tuned);
    let megabytes =
        |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{} MB", bytes / 1_000_000));
    (
        phase(before.prompt, after.prompt, &together.speed.prompt),
        phase(before.generation, after.generation, &together.speed.generation),
        format!("{} -> {}", megabytes(before.peak_memory_bytes), megabytes(after.peak_memory_bytes)),
    )
}

fn times(ratio: &Ratio) -> String {
    format!("**{:.2}x** ({:.2} to {:.2})", ratio.estimate, ratio.low, ratio.high)
}

fn settings(outcome: &Outcome) -> String {
    let tuned = &outcome.tuned;
    if tuned.run.build == outcome.baseline.run.build {
        return format!("`{tuned}`");
    }
    format!("{} build, `{tuned}`", kind(&tuned.run.build))
}

/// Everything that was tried, folded away.
fn tried(tunes: &[Named<Tune>]) -> String {
    let mut text = String::new();
    for Named { report, .. } in tunes {
        let outcome = &report.outcome;
        let goal = crate::tuning::name(outcome.goal);
        let title = format!("What was tried for {}, goal `{goal}`, on {}", report.model, describe(&report.machine));
        let head = "| knob | choice | prompt | generation | verdict |\n|---|---|--:|--:|---|\n";
        write!(text, "<details><summary>{title}</summary>\n\n{head}").expect("a String takes any text");
        for tried in &outcome.tried {
            let ratio = |phase| tried.speed.of_phase(phase).map_or_else(|| "-".to_owned(), times);
            let choice = tried.choice.replace("portable-", "portable ").replace("native-", "native ");
            let verdict = match &tried.verdict {
                Verdict::Kept => "**kept**".to_owned(),
                other => tune::verdict(other),
            };
            let (prompt, generation) = (ratio(Phase::Prompt), ratio(Phase::Generation));
            writeln!(text, "| {} | {choice} | {prompt} | {generation} | {verdict} |", tried.knob)
                .expect("a String takes any text");
        }
        text.push_str("\n</details>\n\n");
    }
    text
}

/// One table per benchmark: each build at its best threads.
fn builds(benches: &[Named<Report>]) -> String {
    let mut text = String::new();
    for Named { file, report } in benches {
        // llama.cpp's own description guesses the size from the number of layers.
        let model = Path::new(&report.model.path).file_stem().unwrap_or_default().display();
        let gb_s = report.bandwidth_gb_s.map(|gb_s| format!(", read bandwidth {gb_s:.1} GB/s")).unwrap_or_default();
        write!(
            text,
            "{model} ({} MB) on {}{gb_s}; prompts of {} tokens, {} generated, {} rounds in turn \
             ([json](figures/{file})):\n\n\
             | build | prompt, tokens/s | generation, tokens/s | share of the bandwidth | peak memory |\n\
             |---|--:|--:|--:|--:|\n",
            report.model.bytes / 1_000_000,
            describe(&report.machine),
            report.n_prompt,
            report.n_gen,
            report.rounds,
        )
        .expect("a String takes any text");
        for build in &report.builds {
            writeln!(text, "{}", row(report, build)).expect("a String takes any text");
        }
        if report.builds.iter().any(BuildReport::beats_bandwidth) {
            text.push_str("\nMore than 100 %: others used the memory while its bandwidth was measured.\n");
        }
        text.push('\n');
    }
    text
}

fn row(report: &Report, build: &BuildReport) -> String {
    let best = |phase| {
        let threads = build.winners.as_ref().map(|winners| match phase {
            Phase::Prompt => winners.prompt.threads,
            Phase::Generation => winners.generation.threads,
        })?;
        let figure = build.figure(phase, threads)?;
        let ratio = report.ratios.iter().find(|c| c.build == build.label && c.phase == phase && c.threads == threads);
        let ratio = ratio.map(|comparison| format!(", {}", times(&comparison.speed))).unwrap_or_default();
        Some((format!("{:.1}{ratio}", figure.tokens_per_second), figure))
    };
    let dash = || "-".to_owned();
    let (prompt, generation) = (best(Phase::Prompt), best(Phase::Generation));
    let share = generation.as_ref().and_then(|(_, figure)| figure.bandwidth_share);
    let memory = build.figures.iter().filter_map(|figure| figure.peak_memory_bytes).max();
    format!(
        "| {} | {} | {} | {} | {} |",
        name(build),
        prompt.map_or_else(dash, |(text, _)| text),
        generation.map_or_else(dash, |(text, _)| text),
        share.map_or_else(dash, |share| format!("{:.0} %", share * 100.0)),
        memory.map_or_else(dash, |bytes| format!("{} MB", bytes / 1_000_000)),
    )
}

/// `native`, `native + OpenBLAS`, `portable, tuned`: what tells builds apart on this page.
fn name(build: &BuildReport) -> String {
    let kind = kind(&build.label);
    let blas = if build.backends.as_deref().is_some_and(|all| all.contains("BLAS")) { " + OpenBLAS" } else { "" };
    let tuned = if build.label.ends_with(" tuned") { ", tuned" } else { "" };
    format!("{kind}{blas}{tuned}")
}

/// `native` or `portable`: what the id of a build begins with.
fn kind(id: &str) -> &str {
    id.split('-').next().unwrap_or(id)
}

fn describe(machine: &serde_json::Value) -> String {
    let cpu = machine.pointer("/cpu/model").and_then(serde_json::Value::as_str).unwrap_or("an unknown CPU");
    let cpus = machine.pointer("/cpu_budget").and_then(serde_json::Value::as_u64).unwrap_or(0);
    let features = machine.pointer("/cpu/features").and_then(serde_json::Value::as_array);
    let has = |name: &str| features.is_some_and(|all| all.iter().any(|feature| feature == name));
    let vectors = match (has("avx512_vnni"), has("avx512f"), has("avx2")) {
        (true, _, _) => ", AVX-512 VNNI",
        (_, true, _) => ", AVX-512",
        (_, _, true) => ", AVX2",
        _ => "",
    };
    format!("{cpus} CPUs of {cpu}{vectors}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_report_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("broken.json"), "{}").unwrap();
        let error = page(dir.path()).unwrap_err();
        assert_eq!(error.code(), codes::CHECK_FAILED);
        assert!(error.to_string().contains("broken.json"), "{error}");
    }

    #[test]
    fn nothing_of_the_template_is_left_over() {
        let page = page(&crate::workspace::root().join("docs/figures")).unwrap();
        assert!(!page.contains("{{"), "{page}");
    }
}

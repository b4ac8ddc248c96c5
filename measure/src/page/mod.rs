//! A report as one page that needs nothing else: no script, no font, no network.

mod charts;
mod svg;

use crate::report::{Phase, Report};
use crate::table;
use crate::tune::{Outcome, Verdict};
use crate::verdict::times;

use svg::escaped;

const STYLE: &str = include_str!("style.css");
/// Colours of the style sheet; builds beyond these share them.
const COLOURS: usize = 6;

/// The page: threads against speed, builds side by side, the share of the read bandwidth, what tuning tried and kept.
pub fn render(report: &Report, outcome: Option<&Outcome>) -> String {
    let model = report.model.description.clone().unwrap_or_else(|| report.model.path.clone());
    let title = format!("llama.cpp on this machine: {model}");
    let mut body = format!("<h1>{}</h1>\n<p>{}</p>\n", escaped(&title), escaped(&machine(report)));
    if report.interrupted {
        body += "<p class=\"slower\">Stopped early: not everything was measured.</p>\n";
    }
    body += &section(
        "Threads and speed",
        "Tokens per second by number of threads. Dots are medians, bars reach from the slowest to the fastest sample.",
        &(key(report) + &charts::threads(report)),
    );
    if !report.ratios.is_empty() {
        let baseline = report.builds.first().map(|build| build.label.as_str()).unwrap_or_default();
        let text = format!(
            "Speed against {baseline}, measured in turn. Above 1 is faster; an interval that holds 1 shows no difference."
        );
        body += &section("Builds side by side", &text, &charts::builds(report));
    }
    if let (Some(gb_s), true) = (report.bandwidth_gb_s, charts::has_shares(report)) {
        let text = format!(
            "Generating a token reads all weights once. The best generation of each build, as a share of the {gb_s:.1} \
             GB/s at which this machine reads memory."
        );
        body += &section("Share of the read bandwidth", &text, &charts::bandwidth(report));
    }
    if let Some(outcome) = outcome {
        let text = format!("Goal: {}. Every choice ran in turn with the best so far.", outcome.goal);
        body += &section("What tuning tried and kept", &text, &(charts::tried(outcome) + &tried(outcome)));
    }
    body += &section("Figures", "", &format!("<pre>{}</pre>\n", escaped(&table::render(report))));
    let commands: Vec<String> = report.commands.iter().map(|command| escaped(command)).collect();
    body += &format!("<details><summary>Commands</summary><pre>{}</pre></details>\n", commands.join("\n"));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escaped(&title)
    )
}

fn section(title: &str, text: &str, content: &str) -> String {
    let text = if text.is_empty() { String::new() } else { format!("<p>{}</p>\n", escaped(text)) };
    format!("<section>\n<h2>{}</h2>\n{text}{content}</section>\n", escaped(title))
}

/// CPU, operating system, and how many CPUs the runs could use, as far as the report says.
fn machine(report: &Report) -> String {
    let of = |path: &str| report.machine.pointer(path);
    let text = |path| of(path).and_then(serde_json::Value::as_str).map(str::to_owned);
    let budget = of("/cpu_budget").and_then(serde_json::Value::as_u64).map(|cpus| format!("{cpus} CPUs may be used"));
    let facts: Vec<String> = [text("/cpu/model"), budget, text("/os")].into_iter().flatten().collect();
    if facts.is_empty() { "the machine is not described".to_owned() } else { facts.join(", ") }
}

/// Which colour is which build.
fn key(report: &Report) -> String {
    let item = |(n, build): (usize, &crate::BuildReport)| {
        format!("<li style=\"{}\">{}</li>", colour(n), escaped(&build.label))
    };
    let items: Vec<String> = report.builds.iter().enumerate().map(item).collect();
    format!("<ul class=\"key\">{}</ul>\n", items.concat())
}

fn colour(n: usize) -> String {
    format!("--of: var(--c{})", n % COLOURS)
}

fn tried(outcome: &Outcome) -> String {
    let mut rows = String::new();
    for tried in &outcome.tried {
        let class = match tried.verdict {
            Verdict::Kept => "kept",
            Verdict::Slower | Verdict::Fails(_) => "slower",
            _ => "",
        };
        let ratio = |phase| tried.speed.of_phase(phase).map_or_else(|| "-".to_owned(), times);
        rows += &format!(
            "<tr><td>{}</td><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"{class}\">{}</td></tr>\n",
            escaped(&tried.knob),
            escaped(&tried.choice),
            ratio(Phase::Prompt),
            ratio(Phase::Generation),
            escaped(&crate::tune::verdict(&tried.verdict)),
        );
    }
    format!(
        "<div class=\"scroll\"><table><thead><tr><th>Knob</th><th>Choice</th><th class=\"number\">Prompt</th>\
         <th class=\"number\">Generation</th><th>Verdict</th></tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
    )
}

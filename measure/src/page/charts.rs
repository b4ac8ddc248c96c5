//! The charts of the page.

use crate::ratio::Ratio;
use crate::report::{BuildReport, Figure, Phase, Report};
use crate::text;
use crate::tune::Outcome;
use crate::verdict::times;

use super::colour;
use super::svg::{Svg, ticks};

const WIDTH: f64 = 900.0;
/// Room for the names of rows.
const NAMES: f64 = 320.0;
/// Room for the figures at the end of rows.
const VALUES: f64 = 150.0;
const ROW: f64 = 30.0;
/// Characters of a name that fit into [`NAMES`], with the phase after it.
const LONGEST_NAME: usize = 29;
/// Where the axis of ratios ends at the latest: one wild interval must not press all others together.
const LARGEST_RATIO: f64 = 3.0;

/// Speed by threads: prompts on the left, generation on the right, each with a scale of its own.
pub(super) fn threads(report: &Report) -> String {
    const HEIGHT: f64 = 300.0;
    let mut svg = Svg::new(WIDTH, HEIGHT);
    let half = WIDTH / 2.0;
    for (phase, left, title) in [
        (Phase::Prompt, 0.0, format!("prompts of {} tokens, tokens/s", report.n_prompt)),
        (Phase::Generation, half, format!("generating {} tokens, tokens/s", report.n_gen)),
    ] {
        panel(&mut svg, report, phase, (left + 56.0, left + half - 24.0), (HEIGHT - 46.0, 34.0));
        svg.text("name", "start", (left + 8.0, 16.0), &title);
        svg.text("", "middle", (left + half / 2.0 + 16.0, HEIGHT - 6.0), "threads");
    }
    svg.finish("tokens per second by number of threads, for prompts and for generation")
}

fn panel(svg: &mut Svg, report: &Report, phase: Phase, (left, right): (f64, f64), (bottom, top): (f64, f64)) {
    let of_phase = |build: &BuildReport| -> Vec<Figure> {
        build.figures.iter().filter(|figure| figure.phase == phase).cloned().collect()
    };
    let mut counts: Vec<usize> = report.builds.iter().flat_map(of_phase).map(|figure| figure.threads).collect();
    counts.sort_unstable();
    counts.dedup();
    let highest = report.builds.iter().flat_map(of_phase).map(|figure| fastest(&figure)).fold(0.0, f64::max);
    let scale = ticks(highest);
    let most = scale.last().copied().unwrap_or(1.0);
    let y = |rate: f64| bottom - rate / most * (bottom - top);
    // Equal steps for thread counts that double: it is what they mostly do.
    let x = |threads: usize| {
        let place = counts.iter().position(|&count| count == threads).unwrap_or(0) as f64;
        left + (place + 0.5) / counts.len().max(1) as f64 * (right - left)
    };
    for tick in scale {
        svg.line("grid", (left, y(tick)), (right, y(tick)));
        svg.text("", "end", (left - 8.0, y(tick) + 4.0), &number(tick));
    }
    for &count in &counts {
        svg.text("", "middle", (x(count), bottom + 18.0), &count.to_string());
    }
    let builds = report.builds.len() as f64;
    for (n, build) in report.builds.iter().enumerate() {
        let figures = of_phase(build);
        // Side by side, so that equal builds do not hide one another.
        let shift = (n as f64 - (builds - 1.0) / 2.0) * 7.0;
        let at = |figure: &Figure| (x(figure.threads) + shift, y(figure.tokens_per_second));
        svg.polyline(&colour(n), &figures.iter().map(at).collect::<Vec<_>>());
        for figure in &figures {
            let (x, dot) = at(figure);
            let class = format!("spread\" style=\"{}", colour(n));
            svg.line(&class, (x, y(slowest(figure))), (x, y(fastest(figure))));
            let says = format!(
                "{}: {} with {}",
                build.label,
                text::rate(figure.tokens_per_second),
                text::threads(figure.threads)
            );
            svg.dot(&colour(n), (x, dot), &says);
        }
    }
}

fn fastest(figure: &Figure) -> f64 {
    f64::from(figure.tokens) / figure.seconds.min
}

fn slowest(figure: &Figure) -> f64 {
    f64::from(figure.tokens) / figure.seconds.max
}

/// Every build against the first, at its best thread count of each phase.
pub(super) fn builds(report: &Report) -> String {
    let mut rows = Vec::new();
    for (n, build) in report.builds.iter().enumerate().skip(1) {
        for (phase, name) in [(Phase::Prompt, "prompts"), (Phase::Generation, "generation")] {
            let of_build = report.ratios.iter().filter(|c| c.build == build.label && c.phase == phase);
            // The most threads: what is run when nothing is said.
            if let Some(comparison) = of_build.max_by_key(|comparison| comparison.threads) {
                rows.push((format!("{} {name}", short(&build.label)), comparison.speed.clone(), n));
            }
        }
    }
    ratios(&rows, "speed of the other builds over that of the first")
}

/// Every choice that tuning tried.
pub(super) fn tried(outcome: &Outcome) -> String {
    let mut rows = Vec::new();
    for tried in &outcome.tried {
        for (n, (phase, name)) in
            [(Phase::Prompt, "prompts"), (Phase::Generation, "generation")].into_iter().enumerate()
        {
            if let Some(ratio) = tried.speed.of_phase(phase) {
                rows.push((format!("{} {name}", short(&format!("{} {}", tried.knob, tried.choice))), ratio.clone(), n));
            }
        }
    }
    if rows.is_empty() { String::new() } else { ratios(&rows, "speed of each choice over the best so far") }
}

/// One row per ratio: an interval, a dot, the figure.
fn ratios(rows: &[(String, Ratio, usize)], label: &str) -> String {
    let height = rows.len() as f64 * ROW + 34.0;
    let mut svg = Svg::new(WIDTH, height);
    let most = rows.iter().map(|(_, ratio, _)| ratio.high).fold(1.0, f64::max).min(LARGEST_RATIO);
    let scale = ticks(most);
    let most = scale.last().copied().unwrap_or(1.0);
    let (left, right) = (NAMES, WIDTH - VALUES);
    let x = |ratio: f64| left + ratio.clamp(0.0, most) / most * (right - left);
    for &tick in &scale {
        svg.line("grid", (x(tick), 6.0), (x(tick), height - 26.0));
        svg.text("", "middle", (x(tick), height - 8.0), &format!("{}x", number(tick)));
    }
    svg.line("one", (x(1.0), 6.0), (x(1.0), height - 26.0));
    for (n, (name, ratio, of)) in rows.iter().enumerate() {
        let y = n as f64 * ROW + 22.0;
        svg.text("name", "end", (left - 12.0, y + 4.0), name);
        svg.line(&format!("spread\" style=\"{}", colour(*of)), (x(ratio.low), y), (x(ratio.high), y));
        svg.dot(&colour(*of), (x(ratio.estimate), y), &format!("{name}: {}", times(ratio)));
        svg.text("value", "start", (right + 12.0, y + 4.0), &times(ratio));
    }
    svg.finish(label)
}

pub(super) fn has_shares(report: &Report) -> bool {
    report.builds.iter().any(|build| share(build).is_some())
}

/// The largest share of a build's generations.
fn share(build: &BuildReport) -> Option<f64> {
    build.figures.iter().filter_map(|figure| figure.bandwidth_share).max_by(f64::total_cmp)
}

pub(super) fn bandwidth(report: &Report) -> String {
    let shares: Vec<(usize, &BuildReport, f64)> =
        report.builds.iter().enumerate().filter_map(|(n, build)| Some((n, build, share(build)?))).collect();
    let mut svg = Svg::new(WIDTH, shares.len() as f64 * ROW + 8.0);
    let (left, right) = (NAMES, WIDTH - VALUES);
    for (row, (n, build, share)) in shares.into_iter().enumerate() {
        let y = row as f64 * ROW + 6.0;
        svg.text("name", "end", (left - 12.0, y + 15.0), &short(&build.label));
        svg.bar("track", "", (left, y), (right - left, ROW - 10.0));
        svg.bar("bar", &colour(n), (left, y), ((right - left) * share.clamp(0.0, 1.0), ROW - 10.0));
        svg.text("value", "start", (right + 12.0, y + 15.0), &text::share(share));
    }
    svg.finish("share of the read bandwidth that generation uses, by build")
}

/// A tick: no more decimals than it has.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The end of a name that is too long: what tells builds apart stands there.
fn short(name: &str) -> String {
    let length = name.chars().count();
    if length <= LONGEST_NAME {
        return name.to_owned();
    }
    format!("…{}", name.chars().skip(length - LONGEST_NAME + 1).collect::<String>())
}

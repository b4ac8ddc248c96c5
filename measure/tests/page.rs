//! The page in a real browser: nothing outside its chart, no text over another, readable in light and dark.

mod common;

use std::fs;
use std::process::Command;
use std::time::Duration;

use common::{build, plan};
use diagnostic::Result;
use measure::tune::{
    Change, Choice, Goal, Journal, Knob, Launch, Outcome, Request, Run, Sample, Sampler, Setup, Sizes, Space, Stage,
    Wish, search,
};
use measure::{Report, Test, bench, page};

const BROWSER: &str = "chromium-headless-shell";

/// Looks at every chart after the browser has laid it out, and leaves what it sees in the document.
const LOOK: &str = r#"<script>
const wrong = [];
const charts = document.querySelectorAll("svg");
for (const chart of charts) {
  const box = chart.getBoundingClientRect();
  const texts = [...chart.querySelectorAll("text")].map(text => [text.textContent, text.getBoundingClientRect()]);
  texts.forEach(([name, r], i) => {
    if (r.left < box.left - 1 || r.right > box.right + 1 || r.top < box.top - 1 || r.bottom > box.bottom + 1)
      wrong.push("outside: " + name);
    for (const [other, o] of texts.slice(i + 1))
      if (r.left < o.right - 1 && o.left < r.right - 1 && r.top < o.bottom - 1 && o.top < r.bottom - 1)
        wrong.push("overlap: " + name + " / " + other);
  });
}
const channel = value => { value /= 255; return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4; };
const light = css => {
  const [r, g, b] = css.match(/[\d.]+/g).map(Number).map(channel);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
const paper = light(getComputedStyle(document.body).backgroundColor);
const ratio = (element, property) => contrast(light(getComputedStyle(element)[property]), paper);
const texts = [...document.querySelectorAll("h1, p, td, th")].map(text => ratio(text, "color"));
const marks = [...document.querySelectorAll("svg .dot")].map(dot => ratio(dot, "fill"));
const seen = { charts: charts.length, dots: marks.length, rows: document.querySelectorAll("tbody tr").length, wrong,
  paper, text: Math.min(...texts), mark: Math.min(...marks), wide: document.documentElement.scrollWidth - innerWidth };
document.documentElement.dataset.seen = btoa(unescape(encodeURIComponent(JSON.stringify(seen))));
</script></body>"#;

/// Lays the page out and returns what [`LOOK`] saw.
fn look(page: &str, dark: bool, width: u32) -> serde_json::Value {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("page.html");
    fs::write(&file, page.replace("</body>", LOOK)).expect("the page is written");
    let mut command = Command::new(BROWSER);
    command
        .args(["--headless", "--disable-gpu", "--no-sandbox", "--dump-dom", "--log-level=3"])
        .arg(format!("--window-size={width},1200"))
        .arg(format!("--user-data-dir={}", dir.path().join("profile").display()))
        .arg(format!("--blink-settings=preferredColorScheme={}", if dark { 0 } else { 1 }))
        .arg(format!("file://{}", file.display()));
    let mut seen = None;
    let done = process::run_lines(&mut command, Duration::from_secs(120), |line| {
        if let Some((_, rest)) = line.split_once("data-seen=\"") {
            seen = rest.split_once('"').map(|(text, _)| text.to_owned());
        }
    });
    let done = done
        .unwrap_or_else(|error| panic!("`{BROWSER}` must be installed, `cargo xtask test` does it as root: {error}"));
    let seen = seen.unwrap_or_else(|| panic!("the browser says nothing of the page: {}", done.last_words()));
    serde_json::from_slice(&decoded(&seen)).expect("what the script wrote")
}

/// Base64, as `btoa` writes it.
fn decoded(text: &str) -> Vec<u8> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u32> = text.bytes().filter(|c| *c != b'=').map(|c| value(c).into()).collect();
    let mut bytes = Vec::new();
    for four in digits.chunks(4) {
        let bits = four.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - four.len()));
        bytes.extend(&bits.to_be_bytes()[1..four.len()]);
    }
    bytes
}

/// Four builds with the longest names there are, measured with the fake llama-bench.
fn report() -> Report {
    let builds = (0..4).map(|n| {
        let mut build = build(&format!("portable-0.5.0-0c1e5709-7945d3d{n}@sapphirerapids"), "ok");
        build.environment.insert("FAKE_PROMPT_NS".to_owned(), (4_000_000_000_u64 / (n + 1)).to_string());
        build
    });
    let mut plan = plan(builds.collect());
    plan.threads = vec![1, 2, 4, 8, 12, 16, 32];
    plan.bandwidth = Some(measure::bandwidth::Plan { threads: 1, buffer_bytes: 1 << 20 });
    bench::run(&plan, |_| {}).expect("the fake llama-bench runs")
}

struct Twice;

impl Sampler for Twice {
    fn sample(&mut self, launch: &Launch, tests: &[Test]) -> Result<Vec<Sample>> {
        let seconds_per_token = if launch.run.options.is_empty() { 0.02 } else { 0.01 };
        let sample = |&test| Sample { launch: launch.clone(), test, seconds_per_token, peak_memory_bytes: None };
        Ok(tests.iter().map(sample).collect())
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

fn outcome() -> Outcome {
    let choices = ["0", "an option with a value of a very long name <b>indeed</b>"];
    let choices = choices.map(|value| Choice::new(value, Change::option("repack", value)));
    let run = Run {
        build: "a".to_owned(),
        llama_bench: "llama-bench".into(),
        environment: Default::default(),
        options: Default::default(),
    };
    let space = Space {
        baseline: Setup { run, threads: 2, threads_batch: 2 },
        stages: vec![Stage { name: "kernels".to_owned(), knobs: vec![Knob::of_both("repack", choices.into())] }],
        skipped: Vec::new(),
    };
    let wish = Wish { goal: Goal::Prompt, request: Request::default(), budget: Duration::from_secs(60) };
    let sizes = Sizes { prompt: 64, generation: 16 };
    search(&space, &wish, sizes, &mut Journal::new("x".into()), &mut Twice, &mut |_| Ok(()))
        .expect("the fake machine runs")
}

#[test]
fn a_browser_shows_all_of_it_in_light_and_dark() {
    let page = page::render(&report(), Some(&outcome()));
    let mut papers = Vec::new();
    for dark in [false, true] {
        for width in [1280, 700] {
            let seen = look(&page, dark, width);
            assert_eq!(seen["wrong"], serde_json::json!([]), "dark: {dark}, {width} wide");
            assert_eq!((&seen["charts"], &seen["rows"]), (&4.into(), &2.into()));
            // Seven thread counts of four builds in two phases; three builds against the first; two choices.
            assert_eq!(seen["dots"], 7 * 4 * 2 + 3 * 2 + 2);
            assert!(seen["text"].as_f64().unwrap() >= 4.5, "text of too little contrast: {seen}");
            assert!(seen["mark"].as_f64().unwrap() >= 3.0, "dots of too little contrast: {seen}");
            assert!(seen["wide"].as_f64().unwrap() <= 0.0, "it must not scroll sideways: {seen}");
            papers.push(seen["paper"].as_f64().unwrap());
        }
    }
    assert!(papers[0] > 0.9 && papers[2] < 0.05, "{papers:?}");
}

#[test]
fn it_needs_nothing_else_and_runs_nothing() {
    let mut hostile = report();
    hostile.builds[0].label = "<script>alert(1)</script>\" onload=\"alert(2)".to_owned();
    hostile.model.description = Some("</title><img src=x onerror=alert(3)>".to_owned());
    hostile.machine = serde_json::json!({"cpu": {"model": "<b>"}, "os": "&", "cpu_budget": 2});
    let page = page::render(&hostile, Some(&outcome()));
    for forbidden in ["<script", "<img", "<b>", "\" onload", "http:", "https:", "url(", "@import"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.contains("&lt;b&gt;, 2 CPUs may be used, &amp;"));
    assert!(page.len() < 200_000, "{}", page.len());
}

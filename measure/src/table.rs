//! A report as text: aligned on a terminal without colour, and a table in Markdown as well.

use std::fmt::Write as _;

use crate::report::{BuildReport, Comparison, Figure, Phase, Report};
use crate::stats::UNSTABLE_SPREAD;
use crate::text;
use crate::verdict::times;
use crate::winner::best;

/// Marks the best thread count of a phase.
const MARK: &str = "*";

/// The tables of all builds, how they compare, and what to keep in mind when reading them.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    for build in &report.builds {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}\n\n{}", title(build), thread_table(report, build));
    }
    if !report.ratios.is_empty() {
        let _ = writeln!(out, "speed against {}\n\n{}", report.builds[0].label, ratio_table(report));
    }
    for note in notes(report) {
        let _ = writeln!(out, "{note}");
    }
    out
}

fn title(build: &BuildReport) -> String {
    let facts = [build.llama_commit.as_ref().map(|commit| format!("llama.cpp {commit}")), build.backends.clone()];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    if facts.is_empty() { build.label.clone() } else { format!("{} ({})", build.label, facts.join(", ")) }
}

fn thread_table(report: &Report, build: &BuildReport) -> String {
    let mut threads: Vec<usize> = build.figures.iter().map(|figure| figure.threads).collect();
    threads.dedup();
    let column = |phase: Phase| {
        let best = best(build, phase).map(|best| best.threads);
        phase_column(&threads.iter().map(|&t| (build.figure(phase, t), best == Some(t))).collect::<Vec<_>>())
    };
    let (prompt, generation) = (column(Phase::Prompt), column(Phase::Generation));
    let mut header = vec![
        "Threads".to_owned(),
        format!("PP-{}", report.n_prompt),
        format!("TG-{}", report.n_gen),
        "Total".to_owned(),
        "Peak memory".to_owned(),
    ];
    let shares = build.figures.iter().any(|figure| figure.bandwidth_share.is_some());
    if shares {
        header.push("Bandwidth".to_owned());
    }
    let rows: Vec<Vec<String>> = threads
        .iter()
        .enumerate()
        .map(|(i, &t)| {
            let phases = [build.figure(Phase::Prompt, t), build.figure(Phase::Generation, t)];
            let total: Option<f64> = phases.iter().map(|figure| figure.map(|f| f.seconds.median)).sum();
            let memory = phases.iter().filter_map(|figure| figure.as_ref()?.peak_memory_bytes).max();
            let mut row = vec![
                t.to_string(),
                prompt[i].clone(),
                generation[i].clone(),
                or_dash(total.map(text::seconds)),
                or_dash(memory.map(text::mebibytes)),
            ];
            if shares {
                row.push(or_dash(phases[1].and_then(|figure| figure.bandwidth_share).map(text::share)));
            }
            row
        })
        .collect();
    grid(&header, &rows)
}

/// `4.10 s  125 t/s ±1.0 % *`, its parts aligned among the rows.
fn phase_column(cells: &[(Option<&Figure>, bool)]) -> Vec<String> {
    let parts = |(figure, best): &(Option<&Figure>, bool)| {
        let figure = (*figure)?;
        Some([
            text::seconds(figure.seconds.median),
            format!(" {}", text::rate(figure.tokens_per_second)),
            figure.seconds.spread.map(|spread| format!("±{}", text::percent(spread))).unwrap_or_default(),
            if *best { MARK.to_owned() } else { String::new() },
        ])
    };
    let rows: Vec<Option<[String; 4]>> = cells.iter().map(parts).collect();
    let widths: [usize; 4] =
        std::array::from_fn(|part| rows.iter().flatten().map(|row| row[part].chars().count()).max().unwrap_or(0));
    let line = |row: &[String; 4]| {
        let columns = row.iter().zip(widths).filter(|(_, width)| *width > 0);
        columns.map(|(part, width)| format!("{part:>width$}")).collect::<Vec<_>>().join(" ")
    };
    rows.iter().map(|row| or_dash(row.as_ref().map(line))).collect()
}

fn ratio_table(report: &Report) -> String {
    let header =
        ["Build".to_owned(), "Threads".to_owned(), format!("PP-{}", report.n_prompt), format!("TG-{}", report.n_gen)];
    let mut settings: Vec<(&str, usize)> = report.ratios.iter().map(|c| (c.build.as_str(), c.threads)).collect();
    settings.dedup();
    let cell = |build: &str, threads: usize, phase: Phase| {
        let this = |c: &&Comparison| c.build == build && c.threads == threads && c.phase == phase;
        or_dash(report.ratios.iter().find(this).map(|comparison| times(&comparison.speed)))
    };
    let rows: Vec<Vec<String>> = settings
        .into_iter()
        .map(|(build, t)| {
            let [prompt, generation] = [Phase::Prompt, Phase::Generation].map(|phase| cell(build, t, phase));
            vec![build.to_owned(), t.to_string(), prompt, generation]
        })
        .collect();
    grid(&header, &rows)
}

fn notes(report: &Report) -> Vec<String> {
    let mut notes = vec![format!("marked {MARK}: best of its phase, ties within noise go to fewer threads")];
    notes.push("medians; ± is the scaled median absolute deviation".to_owned());
    if let Some(ratio) = report.ratios.iter().map(|c| &c.speed).min_by_key(|speed| speed.pairs) {
        let rounds = text::count_of(ratio.pairs, "round");
        let confidence = text::percent(ratio.confidence);
        notes.push(match ratio.pairs {
            1 => "one round: no confidence interval".to_owned(),
            _ => format!("intervals: {confidence} confidence from {rounds} (signed-rank)"),
        });
    }
    if let Some(bandwidth) = &report.bandwidth {
        let size = text::mebibytes(bandwidth.buffer_bytes);
        let threads = text::threads(bandwidth.threads);
        notes.push(format!("read bandwidth {:.1} GB/s ({threads}, {size})", bandwidth.gb_s));
    }
    if report.interrupted {
        let planned = report.rounds as usize;
        notes.push(format!("warning: stopped early, not all of {} were measured", text::count_of(planned, "round")));
    }
    for build in &report.builds {
        notes.extend(build.figures.iter().filter(|figure| figure.unstable).map(|figure| unstable(build, figure)));
        if build.beats_bandwidth() {
            let label = &build.label;
            let why = "the model fits into the cache, or others used memory while bandwidth was measured";
            notes.push(format!("warning: `{label}` beats the read bandwidth: {why}"));
        }
        if build.figures.iter().any(|figure| figure.seconds.samples == 1) {
            notes.push(format!("warning: single samples of `{}`: how far they can be trusted is unknown", build.label));
        }
    }
    notes
}

fn unstable(build: &BuildReport, figure: &Figure) -> String {
    let phase = match figure.phase {
        Phase::Prompt => "PP",
        Phase::Generation => "TG",
    };
    let seconds = &figure.seconds;
    let why = if seconds.outliers > 0 {
        let of = text::count_of(seconds.samples, "sample");
        format!("{} of {of} far off the median, none left out", seconds.outliers)
    } else {
        format!("spread above {}", text::share(UNSTABLE_SPREAD))
    };
    format!(
        "warning: {phase}-{} with {} of `{}` is unstable: {} to {}, {why}",
        figure.tokens,
        text::threads(figure.threads),
        build.label,
        text::seconds(seconds.min),
        text::seconds(seconds.max),
    )
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// Right-aligned columns; the line of dashes makes it a Markdown table too.
pub(crate) fn grid(header: &[String], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..header.len())
        .map(|i| rows.iter().map(|row| row[i].chars().count()).chain([header[i].chars().count()]).max().unwrap_or(0))
        .collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:>width$}")).collect();
        format!("| {} |\n", padded.join(" | "))
    };
    let rule: Vec<String> = widths.iter().map(|width| format!("{}:", "-".repeat(width.saturating_sub(1)))).collect();
    rows.iter().fold(line(header) + &line(&rule), |table, row| table + &line(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{report, rounds};

    #[test]
    fn one_build() {
        let one = rounds("a", 1, &[8100, 8130, 8090], &[11_127, 11_100, 11_153]);
        let two = rounds("a", 2, &[4100, 4123, 4090], &[6127, 6100, 6153]);
        insta::assert_snapshot!(render(&report(&[one, two].concat())), @r"
        a (llama.cpp 0c1e570, CPU)

        | Threads |                     PP-512 |                    TG-128 |  Total | Peak memory | Bandwidth |
        | ------: | -------------------------: | ------------------------: | -----: | ----------: | --------: |
        |       1 | 8.10 s   63.2 t/s ±0.2 %   | 11.1 s  11.5 t/s ±0.3 %   | 19.2 s |     801 MiB |      23 % |
        |       2 | 4.10 s  124.9 t/s ±0.4 % * | 6.13 s  20.9 t/s ±0.6 % * | 10.2 s |     802 MiB |      42 % |

        marked *: best of its phase, ties within noise go to fewer threads
        medians; ± is the scaled median absolute deviation
        read bandwidth 30.0 GB/s (2 threads, 256 MiB)
        ");
    }

    #[test]
    fn several_builds_and_an_unstable_run() {
        let a = rounds("a", 2, &[4100, 4123, 4090, 4101, 4099], &[6127, 6100, 6153, 6120, 6119]);
        let b = rounds("b", 2, &[3541, 3600, 3499, 3550, 5000], &[6127, 7090, 6177, 7300, 5500]);
        insta::assert_snapshot!(render(&report(&[a, b].concat())), @r"
        a (llama.cpp 0c1e570, CPU)

        | Threads |                     PP-512 |                    TG-128 |  Total | Peak memory | Bandwidth |
        | ------: | -------------------------: | ------------------------: | -----: | ----------: | --------: |
        |       2 | 4.10 s  124.9 t/s ±0.0 % * | 6.12 s  20.9 t/s ±0.2 % * | 10.2 s |     802 MiB |      42 % |

        b (llama.cpp 0c1e570, CPU)

        | Threads |                     PP-512 |                     TG-128 |  Total | Peak memory | Bandwidth |
        | ------: | -------------------------: | -------------------------: | -----: | ----------: | --------: |
        |       2 | 3.55 s  144.2 t/s ±2.1 % * | 6.18 s  20.7 t/s ±16.2 % * | 9.73 s |     802 MiB |      41 % |

        speed against a

        | Build | Threads |               PP-512 |               TG-128 |
        | ----: | ------: | -------------------: | -------------------: |
        |     b |       2 | 1.15x (0.82 to 1.17) | 0.97x (0.84 to 1.11) |

        marked *: best of its phase, ties within noise go to fewer threads
        medians; ± is the scaled median absolute deviation
        intervals: 93.8 % confidence from 5 rounds (signed-rank)
        read bandwidth 30.0 GB/s (2 threads, 256 MiB)
        warning: PP-512 with 2 threads of `b` is unstable: 3.50 s to 5.00 s, 1 of 5 samples far off the median, none left out
        warning: TG-128 with 2 threads of `b` is unstable: 5.50 s to 7.30 s, spread above 5 %
        ");
    }

    #[test]
    fn stopped_early() {
        let mut report = report(&[("a", 1, 12, 9)]);
        report.interrupted = true;
        report.bandwidth = None;
        report.builds[0].figures.pop();
        insta::assert_snapshot!(render(&report), @r"
        a (llama.cpp 0c1e570, CPU)

        | Threads |                PP-512 | TG-128 | Total | Peak memory |
        | ------: | --------------------: | -----: | ----: | ----------: |
        |       1 | 12.00 ms  42667 t/s * |      - |     - |     801 MiB |

        marked *: best of its phase, ties within noise go to fewer threads
        medians; ± is the scaled median absolute deviation
        warning: stopped early, not all of 3 rounds were measured
        warning: single samples of `a`: how far they can be trusted is unknown
        ");
    }

    #[test]
    fn a_share_above_one_is_no_triumph() {
        let text = render(&report(&rounds("a", 1, &[100; 3], &[100; 3])));
        assert!(text.contains("warning: `a` beats the read bandwidth"), "{text}");
    }
}

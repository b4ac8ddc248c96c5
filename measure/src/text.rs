//! Numbers as people read them, and rounding for JSON.

/// Rounds to a number of decimals. What is stored stays below 16 digits, so JSON gives back the very same number.
pub(crate) fn round(value: f64, decimals: i32) -> f64 {
    let scale = 10.0_f64.powi(decimals);
    (value * scale).round() / scale
}

/// Seconds with three digits: `12.3 s`, `0.45 s`, `8.1 ms`.
pub(crate) fn seconds(value: f64) -> String {
    match value {
        s if s >= 100.0 => format!("{s:.0} s"),
        s if s >= 10.0 => format!("{s:.1} s"),
        s if s >= 0.1 => format!("{s:.2} s"),
        s => format!("{:.2} ms", s * 1e3),
    }
}

/// Tokens per second.
pub(crate) fn rate(value: f64) -> String {
    match value {
        r if r >= 1000.0 => format!("{r:.0} t/s"),
        r if r >= 10.0 => format!("{r:.1} t/s"),
        r => format!("{r:.2} t/s"),
    }
}

/// A fraction in percent, one decimal: `1.4 %`.
pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.1} %", fraction * 100.0)
}

/// A share in whole percent: `47 %`.
pub(crate) fn share(fraction: f64) -> String {
    format!("{:.0} %", fraction * 100.0)
}

/// Bytes in MiB, rounded up so that something is never shown as nothing.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// `1 thread`, `2 threads`.
pub(crate) fn threads(count: usize) -> String {
    count_of(count, "thread")
}

/// `1 round`, `3 rounds`.
pub(crate) fn count_of(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A duration that is only an estimate: `5 s`, `3 min`, `1 h 10 min`.
pub(crate) fn roughly(seconds: f64) -> String {
    // Saturates: nonsense in gives a very long time out, not a panic.
    let seconds = seconds.ceil() as u64;
    match (seconds, seconds.div_ceil(60)) {
        (0..=90, _) => format!("{} s", seconds.max(1)),
        (_, minutes @ 0..=59) => format!("{minutes} min"),
        (_, minutes) => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

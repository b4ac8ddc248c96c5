//! Numbers and commands as people read them, and rounding for JSON.

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

/// A word as a POSIX shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_short() {
        let times = [0.000_012, 0.0999, 0.1, 9.994, 10.0, 99.94, 100.0, 4000.4].map(seconds);
        assert_eq!(times.join(", "), "0.01 ms, 99.90 ms, 0.10 s, 9.99 s, 10.0 s, 99.9 s, 100 s, 4000 s");
        assert_eq!(
            [0.5, 9.87, 20.91, 999.9, 12_345.6].map(rate).join(", "),
            "0.50 t/s, 9.87 t/s, 20.9 t/s, 999.9 t/s, 12346 t/s"
        );
        assert_eq!([0, 1, 1 << 20, (1 << 20) + 1].map(mebibytes).join(", "), "0 MiB, 1 MiB, 1 MiB, 2 MiB");
    }

    #[test]
    fn durations_are_rounded_up() {
        let durations = [0.0, 1.2, 90.0, 91.0, 3540.0, 3541.0, 9000.0, f64::NAN, f64::INFINITY].map(roughly);
        assert_eq!(durations[..7].join(", "), "1 s, 2 s, 90 s, 2 min, 59 min, 1 h 0 min, 2 h 30 min");
    }

    #[test]
    fn shell_words_are_quoted() {
        assert_eq!(["a-b_c.1", "", "a b", "it's", "$x"].map(quoted).join(" "), r"a-b_c.1 '' 'a b' 'it'\''s' '$x'");
    }
}

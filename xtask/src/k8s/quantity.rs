//! Quantities as Kubernetes writes them: `500m`, `1.5`, `12Gi`, `1e9`.

use serde_json::Value;

/// CPUs in thousandths.
pub(super) fn millicpus(value: &Value) -> Option<u64> {
    parse(value, 1000)
}

/// Memory in bytes.
pub(super) fn bytes(value: &Value) -> Option<u64> {
    parse(value, 1)
}

/// A quantity in units of `1 / scale`, rounded down. `None` for what is no quantity, is negative, or too large.
fn parse(value: &Value, scale: u128) -> Option<u64> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || whole.len() + fraction.len() > 20 {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let (factor, divisor) = factor(suffix)?;
    let below = divisor.checked_mul(10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?)?;
    u64::try_from(digits.checked_mul(factor)?.checked_mul(scale)? / below).ok()
}

/// What a suffix multiplies with, and divides by.
fn factor(suffix: &str) -> Option<(u128, u128)> {
    let thousands = |n| Some((1000_u128.pow(n), 1));
    let binary = |n| Some((1024_u128.pow(n), 1));
    match suffix {
        "" => Some((1, 1)),
        "m" => Some((1, 1000)),
        "k" => thousands(1),
        "M" => thousands(2),
        "G" => thousands(3),
        "T" => thousands(4),
        "P" => thousands(5),
        "E" => thousands(6),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let exponent: u32 = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
            Some((10_u128.checked_pow(exponent)?, 1))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cpus_and_bytes_are_read_as_kubernetes_reads_them() {
        for (value, expected) in [
            (json!("6"), Some(6000)),
            (json!(6), Some(6000)),
            (json!(1.5), Some(1500)),
            (json!("500m"), Some(500)),
            (json!("7650m"), Some(7650)),
            (json!("0.1"), Some(100)),
            (json!("2k"), Some(2_000_000)),
            (json!(""), None),
            (json!("-1"), None),
            (json!("six"), None),
            (json!("1.2.3"), None),
            (json!(".5"), None),
            (json!(null), None),
            (json!("999999999999999999999"), None),
            (json!("1e99"), None),
        ] {
            assert_eq!(millicpus(&value), expected, "{value}");
        }
        for (value, expected) in [
            (json!("12Gi"), Some(12 << 30)),
            (json!("14G"), Some(14_000_000_000)),
            (json!("1e9"), Some(1_000_000_000)),
            (json!("1E3"), Some(1000)),
            (json!("1E"), Some(1_000_000_000_000_000_000)),
            (json!("1.5Gi"), Some(3 << 29)),
            (json!("128974848"), Some(128_974_848)),
            (json!("1500m"), Some(1)),
            (json!("100Ei"), None),
            (json!("12GiB"), None),
        ] {
            assert_eq!(bytes(&value), expected, "{value}");
        }
    }
}

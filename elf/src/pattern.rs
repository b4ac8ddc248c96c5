//! Patterns of names: `*` stands for any text, everything else for itself.

/// Whether `name` fits `pattern`.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Whether `name` fits one of the patterns.
pub(crate) fn any(patterns: &[&str], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text_and_the_rest_is_literal() {
        for (pattern, name) in
            [("a", "a"), ("*", ""), ("*", "x"), ("lib*.so", "lib.so"), ("lib*.so", "libx.so"), ("a*b*c", "abbc")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("", "a"),
            ("a", "ab"),
            ("a", ""),
            ("lib*.so", "libx.so.1"),
            ("ab*ba", "aba"),
            ("a*b*c", "acb"),
            ("a.c", "abc"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}

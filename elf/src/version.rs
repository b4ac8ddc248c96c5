//! Versions of symbols, compared number by number.

use std::fmt;
use std::str::FromStr;

/// The numbers of a symbol version: `2.27` of `GLIBC_2.27`. `2.2.5` is older than `2.27`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(Vec<u32>);

impl Version {
    /// A version of two numbers, as glibc's are.
    pub fn new(major: u32, minor: u32) -> Version {
        Version(vec![major, minor])
    }
}

/// The text is not numbers with dots between them.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAVersion;

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Version, NotAVersion> {
        // `parse` alone would take `+2`.
        let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten();
        text.split('.').map(number).collect::<Option<_>>().map(Version).ok_or(NotAVersion)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, number) in self.0.iter().enumerate() {
            let dot = if position == 0 { "" } else { "." };
            write!(f, "{dot}{number}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_not_text() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("2.2.5") < version("2.14"));
        assert!(version("2.14") < Version::new(2, 28));
        assert!(version("2") < version("2.0"));
        assert_eq!(version("2.2.5").to_string(), "2.2.5");
        for wrong in ["", ".", "2.", "PRIVATE", "ABI_DT_RELR", "+2", "2.99999999999"] {
            assert!(wrong.parse::<Version>().is_err(), "{wrong}");
        }
    }
}

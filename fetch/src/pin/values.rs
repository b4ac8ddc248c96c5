//! The values of a pin, each checked where it is read, so that an error has a line.

use std::fmt;
use std::str::FromStr;

use gix_hash::ObjectId;
use serde::Deserialize;

/// Full id of a git commit or tree: 40 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct GitId(ObjectId);

impl GitId {
    /// The first eight digits, as shown to people and used in build ids.
    pub fn short(self) -> String {
        self.0.to_hex_with_len(8).to_string()
    }
}

impl From<ObjectId> for GitId {
    fn from(id: ObjectId) -> GitId {
        GitId(id)
    }
}

impl fmt::Display for GitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for GitId {
    type Err = String;

    fn from_str(text: &str) -> Result<GitId, String> {
        is_hex(text, 40)
            .then(|| ObjectId::from_hex(text.as_bytes()).expect("40 hexadecimal digits are an id"))
            .map(GitId)
            .ok_or_else(|| format!("`{text}` is not a full git id (40 lower-case hexadecimal digits)"))
    }
}

impl TryFrom<String> for GitId {
    type Error = String;

    fn try_from(text: String) -> Result<GitId, String> {
        text.parse()
    }
}

/// A package name or version that can be put into a requirements file without meaning anything else there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PythonName(String);

impl fmt::Display for PythonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PythonName {
    type Error = String;

    fn try_from(text: String) -> Result<PythonName, String> {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte));
        // A leading dash would be an option to pip.
        if plain && text.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            Ok(PythonName(text))
        } else {
            Err(format!("`{text}` is not a plain package name or version"))
        }
    }
}

/// The dotted name of a Python module.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PythonModule(String);

impl PythonModule {
    /// The parts between the dots.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }
}

impl TryFrom<String> for PythonModule {
    type Error = String;

    fn try_from(text: String) -> Result<PythonModule, String> {
        let identifier = |part: &str| {
            part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if text.split('.').all(identifier) {
            Ok(PythonModule(text))
        } else {
            Err(format!("`{text}` is not the name of a Python module"))
        }
    }
}

/// A day, `YYYY-MM-DD`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Date(String);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Date {
    type Error = String;

    fn try_from(text: String) -> Result<Date, String> {
        let number = |range| text.get(range).filter(|part: &&str| part.bytes().all(|b| b.is_ascii_digit()));
        let month = number(5..7).and_then(|part| part.parse::<u8>().ok());
        let day = number(8..10).and_then(|part| part.parse::<u8>().ok());
        let dashes = text.len() == 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
        if dashes
            && number(0..4).is_some()
            && month.is_some_and(|m| (1..=12).contains(&m))
            && day.is_some_and(|d| (1..=31).contains(&d))
        {
            Ok(Date(text))
        } else {
            Err(format!("`{text}` is not a date like `2026-10-01`"))
        }
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

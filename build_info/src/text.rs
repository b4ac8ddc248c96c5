//! Values that are text in JSON and checked when they are parsed.

use std::fmt;
use std::str::FromStr;

/// Implements JSON (as a string) and its schema for a type with `Display` and `FromStr`.
macro_rules! json_text {
    ($type:ident, $pattern:expr, $description:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern, "description": $description })
            }
        }
    };
}
pub(crate) use json_text;

/// Text that is not what its place demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    text: String,
    expected: &'static str,
}

impl Malformed {
    pub(crate) fn new(text: &str, expected: &'static str) -> Malformed {
        // Damaged files may hold anything of any length; a message shows the beginning.
        Malformed { text: text.chars().take(80).collect(), expected }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not {}", self.text.escape_debug(), self.expected)
    }
}

impl std::error::Error for Malformed {}

/// A SHA-256 digest, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Digest([u8; 32]);

impl Sha256Digest {
    /// The 32 bytes that a hasher returned.
    pub const fn new(bytes: [u8; 32]) -> Sha256Digest {
        Sha256Digest(bytes)
    }

    /// The digest as bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

impl FromStr for Sha256Digest {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Sha256Digest, Malformed> {
        let malformed = || Malformed::new(text, "a sha256 of 64 lower-case hexadecimal digits");
        if text.len() != 64 || !text.bytes().all(is_lower_hex) {
            return Err(malformed());
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| malformed())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| malformed())?;
        }
        Ok(Sha256Digest(bytes))
    }
}

json_text!(Sha256Digest, "^[0-9a-f]{64}$", "SHA-256 in lower-case hexadecimal");

/// Which host a measurement belongs to: the name that the `host` crate computes from the CPU and its topology. It is
/// used as a directory name, so it is 1 to 64 of `a-z`, `0-9`, `-`, `_`, `.` and begins with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostFingerprint(String);

impl HostFingerprint {
    /// The fingerprint as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostFingerprint {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<HostFingerprint, Malformed> {
        if !is_name(text) {
            return Err(Malformed::new(text, "a host fingerprint of up to 64 of `a-z`, `0-9`, `-`, `_`, `.`"));
        }
        Ok(HostFingerprint(text.to_owned()))
    }
}

json_text!(HostFingerprint, "^[a-z0-9][a-z0-9._-]{0,63}$", "The host that was measured");

/// Lower-case hexadecimal, the only form we write and accept.
pub(crate) fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// A lower-case name that is safe as a file name on every system.
pub(crate) fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= 64
        && text.bytes().all(inner)
        && text.bytes().next().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
}

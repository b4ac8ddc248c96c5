//! A decision with its reason, and how decisions are shown.

use std::fmt;

use serde::Serialize;

/// A flag or a variable that we set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Setting {
    pub(crate) name: String,
    /// `None` for a flag that takes none.
    pub(crate) value: Option<String>,
    /// Where the value comes from.
    pub(crate) source: String,
}

impl Setting {
    pub(crate) fn new(name: &str, value: impl fmt::Display, source: &str) -> Setting {
        Setting { name: name.to_owned(), value: Some(value.to_string()), source: source.to_owned() }
    }
}

/// Settings in columns: name, value, source.
pub(crate) struct Table<'a>(pub(crate) Vec<&'a Setting>);

/// Longer values push their line to the right, and not all lines.
const WIDEST: usize = 40;

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: fn(&Setting) -> usize| self.0.iter().map(|setting| column(setting)).max().unwrap_or(0);
        let names = width(|setting| setting.name.len());
        let values = width(|setting| setting.value.as_ref().map_or(0, String::len)).min(WIDEST);
        for setting in &self.0 {
            let value = setting.value.as_deref().unwrap_or_default();
            writeln!(f, "  {:<names$}  {value:<values$}  {}", setting.name, setting.source)?;
        }
        Ok(())
    }
}

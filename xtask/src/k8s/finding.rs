//! What is wrong with a manifest.

use std::fmt;

use serde::Serialize;

use super::object::Object;

/// Something that a rule or a schema has found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// Stable name of the rule.
    pub(crate) rule: &'static str,
    /// `Deployment/caravan-stable`.
    pub(crate) object: String,
    /// Where in the object: `spec.template.spec.containers[server].image`.
    pub(crate) path: String,
    pub(crate) why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

/// Whether the manifests may be used all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// They must not.
    Error,
    /// They may, and a person should know.
    Note,
}

impl Finding {
    pub(super) fn error(
        rule: &'static str,
        object: &Object,
        path: impl Into<String>,
        why: impl Into<String>,
    ) -> Finding {
        Finding {
            severity: Severity::Error,
            rule,
            object: object.label(),
            path: path.into(),
            why: why.into(),
            hint: None,
        }
    }

    pub(super) fn note(self) -> Finding {
        Finding { severity: Severity::Note, ..self }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Finding {
        Finding { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Note => "note",
        };
        write!(f, "{severity}: {} {}: {} [{}]", self.object, self.path, self.why, self.rule)?;
        self.hint.iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

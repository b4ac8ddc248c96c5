//! `--auto`: what `doctor` answers, `plan` sets and `validate` finds, in one step.

use diagnostic::{Error, Result, codes};
use planner::configuration::{self, Level, Value};

use crate::setting::Setting;
use crate::subject::Wanted;
use crate::{doctor, plan};

/// What was decided; nothing without `--auto`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Decided {
    /// Flags that are set, but for threads, which change while the server runs.
    pub(super) settings: Vec<Setting>,
    /// What a person should know: the verdict, what was given up, what is not as it could be.
    pub(super) notes: Vec<String>,
}

/// Decides for this machine without its GPUs, of which this build's llama-server makes no use.
///
/// # Errors
/// What `doctor` refuses, and what `validate` finds to be an error.
pub(super) fn decide(wanted: &Wanted, accept_degraded: bool) -> Result<Decided> {
    let found = wanted.answer_on_cpu()?;
    doctor::accept(&found, accept_degraded)?;
    let configuration = plan::configuration(&found);
    let hardware = &found.machine.hardware;
    let findings = configuration::check(&configuration, Some(&found.subject.header), hardware, wanted.min_ctx)?;
    if let Some(worst) = findings.iter().find(|finding| finding.level == Level::Error) {
        return Err(Error::new(codes::CONFIGURATION_UNFIT, worst.message.clone()).hint(worst.fix.clone()));
    }
    let mut notes = vec![format!("auto: {}", found.answer.sentence())];
    notes.extend(configuration.metadata.degraded.iter().map(|what| format!("degraded: {what}")));
    let warnings = findings.iter().filter(|finding| finding.level == Level::Warning);
    notes.extend(warnings.map(|finding| finding.message.clone()));
    let ours = configuration.settings.into_iter().filter(|setting| !setting.name.starts_with("threads"));
    let settings = ours.map(|setting| {
        let source = format!("auto: {}", setting.source);
        match setting.value {
            Value::Text(value) => Setting { name: format!("--{}", setting.name), value: Some(value), source },
            Value::Switch(true) => Setting { name: format!("--{}", setting.name), value: None, source },
            Value::Switch(false) => Setting { name: format!("--no-{}", setting.name), value: None, source },
        }
    });
    Ok(Decided { settings: settings.collect(), notes })
}

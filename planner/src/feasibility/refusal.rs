//! What is refused, with what would help: the same for everybody who asks.

use diagnostic::{Error, codes};

use super::{Answer, Verdict};
use crate::hardware::Hardware;

impl Answer {
    /// Why a model cannot be run, or only when something is given up; `None` where it can, as it is wanted. `model` is its
    /// name in the message.
    pub fn refusal(&self, model: &str, hardware: &Hardware) -> Option<Error> {
        match self.verdict {
            Verdict::CpuOnly | Verdict::Offload | Verdict::Gpu => None,
            Verdict::Degraded => {
                let message = format!("model `{model}` fits only degraded: {}", self.sacrifices.join("; "));
                Some(Error::new(codes::DEGRADED, message))
            }
            Verdict::DoesNotFit => {
                let short = self.breakdown.shortfalls(&hardware.within_share());
                let short: Vec<String> = short.iter().map(ToString::to_string).collect();
                let tokens = self.breakdown.ctx;
                let message = format!("model `{model}` does not fit with {tokens} tokens: {}", short.join(", "));
                let error = Error::new(codes::MODEL_TOO_LARGE, message);
                Some(self.changes.iter().fold(error, |error, change| error.hint(format!("it would fit with {change}"))))
            }
        }
    }
}

//! With which arguments every tool of a build must run before the build is activated.

use std::path::Path;
use std::time::Duration;

use diagnostic::Result;
use llama_build::product::TOOLS;
use store::{Smoke, SmokePlan};

use crate::{image, runtime};

const TIMEOUT: Duration = Duration::from_secs(60);

/// For a build of ours.
pub(crate) fn plan() -> SmokePlan {
    let tools = TOOLS.iter().map(|tool| Smoke::new(tool.name, tool.smoke, &[tool.smoke_status]));
    let ours = runtime::PROGRAMS.iter().map(|name| Smoke::new(name, &["--version"], &[0]));
    SmokePlan { tools: tools.chain(ours).collect(), timeout: TIMEOUT }
}

/// For a build that came from elsewhere, whose version may have tools that ours does not know: those must tell their
/// version.
pub(crate) fn plan_for(bin: &Path) -> Result<SmokePlan> {
    let tools = image::files_of(bin)?.into_iter().map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match TOOLS.iter().find(|tool| tool.name == name) {
            Some(tool) => Smoke::new(tool.name, tool.smoke, &[tool.smoke_status]),
            None => Smoke::new(&name, &["--version"], &[0]),
        }
    });
    Ok(SmokePlan { tools: tools.collect(), timeout: TIMEOUT })
}

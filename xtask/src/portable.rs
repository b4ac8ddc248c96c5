//! Makes the portable build: fetch, patch, web page, compile.

use std::fmt;
use std::path::{Path, PathBuf};

use diagnostic::Result;
use fetch::vendor::VendorPlan;
use llama_build::CompilePlan;
use llama_build::portable::{self, Locations, Part};
use llama_build::toolchain::{self, Hermetic};

use crate::source::Source;
use crate::{compile, source, ui, workspace};

/// Everything that is decided before anything is done.
pub(crate) struct Plan {
    toolchain: Hermetic,
    vendor: VendorPlan,
    jobs: usize,
}

/// A compiled part of the portable build.
pub(crate) struct Compiled {
    pub(crate) plan: CompilePlan,
    pub(crate) source: Source,
}

/// What must be fetched and compiled.
pub(crate) fn plan(source: Option<&Path>, jobs: usize) -> Result<Plan> {
    let vendor = source::plan(source)?;
    Ok(Plan { toolchain: toolchain::hermetic(&workspace::tools_dir())?, vendor, jobs })
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for wheel in &self.toolchain.to_fetch {
            writeln!(
                f,
                "fetch {} {} with pip into {}",
                wheel.package,
                wheel.version,
                workspace::tools_dir().display()
            )?;
        }
        write!(f, "{}", self.vendor)?;
        writeln!(f, "compile llama.cpp, portable kind, with zig {}, {} jobs", self.toolchain.zig.version, self.jobs)?;
        writeln!(f, "  for {}, variants {}", portable::target(), portable::VARIANTS.join(" "))
    }
}

/// Where the portable kind is compiled.
pub(crate) fn build_dir() -> PathBuf {
    workspace::llama_target_dir().join("portable")
}

/// Fetches, patches and compiles. The caller holds [`compile::lock`].
pub(crate) fn compile(plan: &Plan, part: Part, build_dir: &Path, environment: &[(&str, &str)]) -> Result<Compiled> {
    toolchain::fetch(&plan.toolchain.to_fetch, &workspace::tools_dir(), &mut ui::note)?;
    let source = source::prepare(&plan.vendor)?;
    let at = Locations {
        source: source.dir.clone(),
        source_id: source.id(),
        commit: source.commit.clone(),
        build_dir: build_dir.to_owned(),
    };
    let compile_plan = portable::plan(part, plan.jobs, &plan.toolchain, &at)?;
    compile::portable(&compile_plan, environment)?;
    Ok(Compiled { plan: compile_plan, source })
}

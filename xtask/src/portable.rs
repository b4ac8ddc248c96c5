//! Makes the portable build: fetch, patch, web page, compile, and the tree of files that is shipped.

mod rules;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use build_info::{Blas, BuildInfo, BuildKind, Timestamp};
use diagnostic::{Error, Result, codes};
use fetch::vendor::VendorPlan;
use llama_build::CompilePlan;
use llama_build::page::{self, Page};
use llama_build::portable::{self, Debug, GLIBC_FLOOR, Locations, Part};
use llama_build::toolchain::{self, Hermetic, pypi};

use crate::source::{self, Source};
use crate::{compile, image, runtime, ui, workspace};

pub(crate) use tree::Tree;

/// Everything that is decided before anything is done.
pub(crate) struct Plan {
    toolchain: Hermetic,
    vendor: VendorPlan,
    page: PageWish,
    jobs: usize,
}

/// Whether the server's web page is built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageWish {
    /// It must be.
    Yes,
    /// Unless its packages cannot be fetched here.
    IfItCanBeFetched,
    No,
}

/// A compiled part of the portable build.
pub(crate) struct Compiled {
    pub(crate) plan: CompilePlan,
    part: Part,
    source: Source,
    /// `caravan` and what it becomes; not in a part.
    ours: Vec<PathBuf>,
    pub(crate) page: Option<Page>,
    /// The licences of zig, whose C++ library is linked in.
    zig_licences: PathBuf,
    /// Day of the pinned commit.
    date: Timestamp,
}

/// Where a part is compiled, and with which environment, which must not matter.
#[derive(Debug, Clone)]
pub(crate) struct Place<'a> {
    pub(crate) dir: PathBuf,
    pub(crate) jobs: Option<usize>,
    pub(crate) debug: Debug,
    pub(crate) environment: &'a [(&'a str, &'a str)],
}

impl Place<'static> {
    /// The usual one; objects are kept there between runs.
    pub(crate) fn usual(debug: Debug) -> Place<'static> {
        Place { dir: workspace::llama_target_dir().join("portable"), jobs: None, debug, environment: &[] }
    }
}

/// What must be fetched and compiled.
pub(crate) fn plan(source: Option<&Path>, page: PageWish, jobs: usize) -> Result<Plan> {
    let vendor = source::plan(source)?;
    Ok(Plan { toolchain: toolchain::hermetic(&workspace::tools_dir())?, vendor, page, jobs })
}

impl Plan {
    /// Compilers that run at the same time.
    pub(crate) fn jobs(&self) -> usize {
        self.jobs
    }
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
        let page = match self.page {
            PageWish::Yes => "build the web page of llama-server with npm",
            PageWish::IfItCanBeFetched => "build the web page of llama-server with npm, if it can be fetched",
            PageWish::No => "leave out the web page of llama-server",
        };
        writeln!(f, "{page}")?;
        writeln!(f, "compile llama.cpp, portable kind, with zig {}, {} jobs", self.toolchain.zig.version, self.jobs)?;
        writeln!(f, "  target     {}", portable::target())?;
        writeln!(f, "  variants   {}", portable::variant_names().collect::<Vec<_>>().join(" "))
    }
}

/// Objects, zig's cache, the source and the result.
const TARGET_BYTES: u64 = 3_000_000_000;

/// Fetches, patches and compiles. The caller holds [`compile::lock`].
pub(crate) fn compile(plan: &Plan, part: Part, place: &Place) -> Result<Compiled> {
    workspace::check_space(&workspace::target_dir(), TARGET_BYTES)?;
    toolchain::fetch(&plan.toolchain.to_fetch, &workspace::tools_dir(), &mut ui::note)?;
    // A copy of its own: the web page is put into it.
    let source = source::prepare(&plan.vendor, &place.dir.join("source"))?;
    let page = match part {
        Part::Whole => page(plan, &source, place)?,
        // Nothing of it is in a part.
        Part::Sample => None,
    };
    let page_id = page.as_ref().map_or_else(|| "no page".to_owned(), |page| page.sha256.to_string());
    let at = Locations {
        source: source.dir.clone(),
        source_id: format!("{}+{page_id}", source.id()),
        commit: source.commit.clone(),
        build_dir: place.dir.clone(),
    };
    let compile_plan = portable::plan(part, place.jobs.unwrap_or(plan.jobs), place.debug, &plan.toolchain, &at);
    compile::portable(&compile_plan, place.environment)?;
    let ours = match part {
        Part::Whole => runtime::portable(&compile_plan, &part.tools_dir(&compile_plan), place.environment)?,
        Part::Sample => Vec::new(),
    };
    let zig_licences = pypi::ZIG.licences(&pypi::ZIG.dir(&workspace::tools_dir()));
    let date = format!("{}T00:00:00Z", plan.vendor.pin.date);
    let date = date.parse().map_err(|error| {
        Error::new(codes::PIN_INVALID, format!("the pin's date `{}` is no day: {error}", plan.vendor.pin.date))
    })?;
    Ok(Compiled { plan: compile_plan, part, source, ours, page, zig_licences, date })
}

/// Builds the web page and puts it where upstream's CMake looks for it.
fn page(plan: &Plan, source: &Source, place: &Place) -> Result<Option<Page>> {
    if plan.page == PageWish::No {
        return Ok(None);
    }
    let ui_dir = source.dir.join("tools/ui");
    let page_plan = page::plan(&ui_dir, &source.version, &workspace::tools_dir(), &place.dir.join("page"))?;
    let page = match page::build(&page_plan, &mut ui::note) {
        Err(error) if plan.page == PageWish::IfItCanBeFetched && error.code() == codes::TOOL_FETCH => {
            ui::note(format!("no page   llama-server will have none: {error}"));
            return Ok(None);
        }
        page => page?,
    };
    image::copy_tree(&page.dist, &ui_dir.join("dist"))?;
    Ok(Some(page))
}

impl Compiled {
    /// `build_info.json` without digests: nothing of this machine is in it.
    ///
    /// # Errors
    /// rustc does not say its version.
    pub(crate) fn info(&self, plan: &Plan) -> Result<BuildInfo> {
        let tools = [("cmake", &plan.toolchain.cmake), ("ninja", &plan.toolchain.ninja)];
        let mut tools: BTreeMap<String, String> =
            tools.into_iter().map(|(name, tool)| (name.to_owned(), tool.version.clone())).collect();
        if !self.ours.is_empty() {
            tools.insert("rustc".to_owned(), runtime::rustc()?.version);
        }
        if self.page.is_some() {
            tools.insert("node".to_owned(), pypi::NODE.version.to_owned());
        }
        Ok(BuildInfo {
            schema_version: BuildInfo::SCHEMA_VERSION,
            build_type: BuildKind::Portable,
            date: self.date,
            hostname: None,
            cpu_model: None,
            cpu_flags: None,
            cmake_flags: self.plan.cmake_flags(),
            llama_version: self.source.version.clone(),
            llama_commit: self.source.commit.clone(),
            llama_tree: self.source.tree.clone(),
            patches: self.source.patches(),
            compiler: format!("zig {}", plan.toolchain.zig.version),
            tools,
            reproducible: true,
            optimal_threads: None,
            variants: portable::variant_names().map(str::to_owned).collect(),
            glibc_floor: Some(GLIBC_FLOOR.to_owned()),
            blas: Blas {
                enabled: false,
                vendor: None,
                version: None,
                reason: "a portable build has none".to_owned(),
                measured: None,
                extra: Default::default(),
            },
            lto: false,
            openssl: None,
            digests: BTreeMap::new(),
            extra: Default::default(),
        })
    }
}

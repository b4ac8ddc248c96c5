//! `install-optimized`: the fastest llama.cpp for this CPU, compiled, measured, installed and proven to run.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Instant;

use build_info::{Blas, BuildId, BuildInfo, BuildKind};
use clap::Args;
use diagnostic::{Error, Result, codes};
use fetch::vendor::VendorPlan;
use host::Host;
use llama_build::CompilePlan;
use llama_build::native::{self, Locations, Options};
use llama_build::toolchain::{self, Toolchain, Wishes};
use serde::{Deserialize, Serialize};
use store::Store;

use crate::image::Image;
use crate::requirement::RequirementFlags;
use crate::source::Source;
use crate::{compile, machine, openblas, proof, runtime, smoke, source, trial, ui, workspace};

/// Compile llama.cpp for this CPU, measure it, install and activate it
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// OpenBLAS: measure with and without and keep the faster, always, or never
    #[arg(long, value_enum, default_value = "auto", value_name = "auto|on|off", hide_possible_values = true)]
    blas: openblas::Wish,
    /// Optimise at link time; no gain was measured, and it takes longer
    #[arg(long)]
    lto: bool,
    /// Keep debug information
    #[arg(long)]
    debug_symbols: bool,
    /// C compiler
    #[arg(long, value_name = "PATH")]
    cc: Option<PathBuf>,
    /// C++ compiler
    #[arg(long, value_name = "PATH")]
    cxx: Option<PathBuf>,
    /// Compilers that run at the same time; otherwise what the CPU budget and memory allow
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096))]
    jobs: Option<u16>,
    /// A further cmake definition, `-DKEY=VALUE`
    #[arg(long = "cmake-arg", value_name = "-DKEY=VALUE", allow_hyphen_values = true)]
    cmake_args: Vec<String>,
    /// Never fetch cmake, ninja or OpenBLAS; fail or go without
    #[arg(long)]
    no_fetch_tools: bool,
    /// Take llama.cpp's source from a directory or tarball instead of a mirror; it is verified all the same
    #[arg(long, value_name = "DIR|TARBALL")]
    source: Option<PathBuf>,
    /// Answer yes to every question
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    requirement: RequirementFlags,
    /// Print the plan and stop
    #[arg(long)]
    dry_run: bool,
}

/// Everything that is decided before anything is done.
struct Plan {
    toolchain: Toolchain,
    vendor: VendorPlan,
    wish: openblas::Wish,
    blas: openblas::Plan,
    options: Options,
    /// Checked here, so that a refused flag is told at once; made again when the source is there.
    compile: CompilePlan,
}

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        let start = Instant::now();
        let host = Host::probe();
        self.requirement.check(&host)?;
        let plan = plan(&self, &host)?;
        if self.dry_run {
            return ui::print(plan.to_string());
        }
        run(&plan, &host, start)
    }
}

fn plan(flags: &Flags, host: &Host) -> Result<Plan> {
    let vendor = source::plan(flags.source.as_deref())?;
    let wishes = Wishes {
        cc: flags.cc.clone(),
        cxx: flags.cxx.clone(),
        tools_dir: workspace::tools_dir(),
        may_fetch: !flags.no_fetch_tools,
    };
    let toolchain = toolchain::probe(&wishes)?;
    let options = Options {
        lto: flags.lto,
        debug_symbols: flags.debug_symbols,
        jobs: flags.jobs.map_or_else(|| machine::default_jobs(host), usize::from),
        cmake_args: flags.cmake_args.clone(),
    };
    let source = workspace::llama_target_dir().join("source");
    let at = locations(host, &vendor.pin.commit.to_string(), &source, "not patched yet");
    let compile = native::plan(&options, &toolchain, None, &at)?;
    let consent = if flags.yes {
        openblas::Consent::Given
    } else if flags.dry_run {
        openblas::Consent::NotAsked
    } else {
        openblas::Consent::Ask
    };
    let blas = openblas::plan(flags.blas, &toolchain, consent, !flags.no_fetch_tools)?;
    Ok(Plan { toolchain, vendor, wish: flags.blas, blas, options, compile })
}

fn locations(host: &Host, commit: &str, source: &Path, source_id: &str) -> Locations {
    let model = host.cpu.model.as_deref().unwrap_or("an unknown CPU");
    Locations {
        source: source.to_owned(),
        source_id: source_id.to_owned(),
        cpu: format!("{model} with {}", host.cpu.features.join(" ")),
        commit: commit.to_owned(),
        build_dir: workspace::llama_target_dir().join("native"),
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
        match &self.blas {
            openblas::Plan::None(reason) => writeln!(f, "openblas: none ({reason})")?,
            openblas::Plan::System(found) => writeln!(f, "openblas: {} of the system", found.version)?,
            openblas::Plan::Apt => writeln!(f, "openblas: install libopenblas-dev with apt-get")?,
            openblas::Plan::Pypi => writeln!(f, "openblas: fetch with pip")?,
        }
        write!(f, "{}", self.compile)?;
        writeln!(f, "measure with a generated model, blas {}", self.wish.name())?;
        writeln!(f, "install and activate in {}", workspace::store().root().display())
    }
}

fn run(plan: &Plan, host: &Host, start: Instant) -> Result<()> {
    let store = workspace::store();
    // A store that cannot be written would otherwise be found out after minutes of compiling.
    workspace::check_space(store.root(), STORE_BYTES)?;
    workspace::check_space(&workspace::target_dir(), TARGET_BYTES)?;
    toolchain::fetch(&plan.toolchain.to_fetch, &workspace::tools_dir(), &mut ui::note)?;
    // From patching to copying into the store: another run would change the files under us.
    let _building = compile::lock()?;
    let source = source::prepare(&plan.vendor, &workspace::llama_target_dir().join("source"))?;
    let blas = openblas::acquire(&plan.blas, &plan.toolchain);
    process::interrupt::check()?;
    if let (Err(reason), openblas::Wish::On) = (&blas, plan.wish) {
        return Err(Error::new(codes::TOOL_MISSING, reason.clone()));
    }
    let at = locations(host, &source.commit, &source.dir, &source.id());
    let compile = native::plan(&plan.options, &plan.toolchain, blas.as_ref().ok(), &at)?;
    compile::native(&compile)?;
    let ours = runtime::native(&compile.bin_dir())?;

    let record = compile.build_dir.join("installed.json");
    if let Some(id) = already_installed(&store, &record, &compile, &ours, plan.wish) {
        let activation = store.lock(ui::waiting("with the store"))?.use_build(&id.to_string())?;
        ui::activated(&activation);
        ui::note(format!("finished  in {} s: nothing changed", start.elapsed().as_secs()));
        return Ok(());
    }

    let image = Image::collect(&compile, &ours, blas.as_ref().ok())?;
    proof::answers(&image.bin())?;
    let measured = trial::run(host, &image, plan.wish, blas)?;
    let info = describe(host, plan, &compile, &source, measured.blas)?;
    let writer = store.lock(ui::waiting("with the store"))?;
    let staging = writer.stage()?;
    image.copy_to(staging.path())?;
    let receipt = writer.commit(staging, info, &smoke::plan())?;
    drop(writer);
    let id = &receipt.activation.to;
    remember(&record, &compile, plan.wish, id)?;
    ui::activated(&receipt.activation);
    ui::note(format!(
        "measured  prompt {:.1}, generation {:.1} tokens/s with {} threads ({})",
        measured.rates.prompt, measured.rates.generation, measured.threads, measured.model
    ));
    ui::note(format!(
        "finished  in {} s; put {} on your PATH",
        start.elapsed().as_secs(),
        workspace::short(&store.bin())
    ));
    Ok(())
}

/// Build tools, models, and two builds; what a native build's objects, results and logs take. Measured, rounded up.
const STORE_BYTES: u64 = 1_000_000_000;
const TARGET_BYTES: u64 = 700_000_000;

fn describe(host: &Host, plan: &Plan, compile: &CompilePlan, source: &Source, blas: Blas) -> Result<BuildInfo> {
    let threads = machine::heuristic(host)?.generation;
    let cxx = &plan.toolchain.cxx;
    let name = cxx.path.file_name().unwrap_or_default().to_string_lossy();
    let tools = [("cmake", &plan.toolchain.cmake), ("ninja", &plan.toolchain.ninja)];
    Ok(BuildInfo {
        schema_version: BuildInfo::SCHEMA_VERSION,
        build_type: BuildKind::Native,
        date: build_info::now(),
        hostname: host::hostname(),
        cpu_model: host.cpu.model.clone(),
        cpu_flags: Some(host.cpu.features.clone()),
        cmake_flags: compile.cmake_flags(),
        llama_version: source.version.clone(),
        llama_commit: source.commit.clone(),
        llama_tree: source.tree.clone(),
        patches: source.patches(),
        compiler: format!("{name} {}", cxx.version),
        tools: tools.into_iter().map(|(name, program)| (name.to_owned(), program.version.clone())).collect(),
        reproducible: false,
        optimal_threads: u32::try_from(threads).ok().and_then(NonZeroU32::new),
        variants: Vec::new(),
        glibc_floor: None,
        blas,
        lto: plan.options.lto,
        openssl: plan.toolchain.openssl.clone(),
        digests: BTreeMap::new(),
        extra: Default::default(),
    })
}

/// What was installed from a build directory. Measuring it again would change nothing.
#[derive(Serialize, Deserialize)]
struct Record {
    plan: CompilePlan,
    blas: String,
    id: BuildId,
}

fn remember(file: &Path, compile: &CompilePlan, wish: openblas::Wish, id: &BuildId) -> Result<()> {
    let record = Record { plan: compile.clone(), blas: wish.name().to_owned(), id: id.clone() };
    let json = serde_json::to_string_pretty(&record).expect("a record holds only strings and numbers");
    build_info::write_atomic(file, json.as_bytes())
}

/// The installed and intact build that this plan has given before.
fn already_installed(
    store: &Store,
    file: &Path,
    compile: &CompilePlan,
    ours: &[PathBuf],
    wish: openblas::Wish,
) -> Option<BuildId> {
    let record: Record = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let is_installed = |program: &PathBuf| {
        let installed = store.build(&record.id).join("bin").join(program.file_name()?);
        Some(fs::read(installed).ok()? == fs::read(program).ok()?)
    };
    let ours_are = || ours.iter().all(|program| is_installed(program) == Some(true));
    let same = record.plan.gives_the_same_as(compile) && record.blas == wish.name() && ours_are();
    (same && store.verify(&record.id).is_ok_and(|found| found.is_intact())).then_some(record.id)
}

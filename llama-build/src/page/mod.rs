//! The web page of `llama-server`: upstream's `tools/ui`, built with npm into the files that upstream's CMake embeds when
//! it finds them in `tools/ui/dist`.
//!
//! The same bytes from every machine, and nothing installed: Node.js and npm are one pinned wheel, every package is pinned
//! by the sha512 in upstream's lock file, no package's install script runs, and the build sees no variable of the user's.
//! What shapes the page is one digest, [`Plan::inputs`]; it also names the page, where SvelteKit would take the time (see
//! `vendor/patches/0005-build-the-same-page-anywhere.patch`).

mod check;
mod files;
mod licences;
mod lock_file;
mod npm;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use build_info::Sha256Digest;
use diagnostic::{Error, Result};
use process::{Lock, interrupt};
use serde::{Deserialize, Serialize};

use crate::toolchain::pypi;

/// The files of the page, as upstream's CMake wants them in `tools/ui/dist`.
const DIST: &str = "dist";
/// The licences of the packages that the page is made of.
const LICENCES: &str = "licences.txt";
/// What a page was made of.
const MADE: &str = "page.json";
/// Other steps than these give another page from the same source: raise it with them.
const RECIPE: u32 = 1;

/// What will be done to have the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Upstream's `tools/ui`, patched.
    pub source: PathBuf,
    /// What the page shows as the version of llama.cpp.
    pub shows: String,
    /// Everything that shapes the page: its source, what it shows, Node.js, our steps.
    pub inputs: Sha256Digest,
    /// How many packages the lock file names, for all platforms.
    pub packages: usize,
    /// Where fetched tools are kept.
    pub tools_dir: PathBuf,
    /// The `node` executable; fetched if it is not there.
    pub node: PathBuf,
    /// npm's program, which `node` runs.
    pub npm: PathBuf,
    /// Where npm keeps what it has fetched.
    pub cache: PathBuf,
    /// The directory that will hold the page, its licences, and what it was made of.
    pub out: PathBuf,
}

/// A page that has been built and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The directory of its files: what belongs into `tools/ui/dist`.
    pub dist: PathBuf,
    /// A text with the licences of all packages that it is made of.
    pub licences: PathBuf,
    /// Digest over the names and digests of its files.
    pub sha256: Sha256Digest,
}

/// What lies beside a page: from what it was made, and the digest of every file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Made {
    inputs: Sha256Digest,
    files: BTreeMap<String, Sha256Digest>,
}

/// Plans the page of `source`, upstream's `tools/ui` after our patches, into the directory `out`, which will be replaced
/// as a whole. `shows` is the version of llama.cpp that the page shows. Looks only at files.
///
/// # Errors
/// The source cannot be read; [`codes::TOOL_FETCH`](diagnostic::codes::TOOL_FETCH) when its lock file leaves a package
/// unpinned.
pub fn plan(source: &Path, shows: &str, tools_dir: &Path, out: &Path) -> Result<Plan> {
    let packages = lock_file::check(&source.join("package-lock.json"))?;
    let wheel = pypi::NODE.dir(tools_dir);
    Ok(Plan {
        source: source.to_owned(),
        shows: shows.to_owned(),
        inputs: inputs(source, shows)?,
        packages,
        tools_dir: tools_dir.to_owned(),
        node: pypi::NODE.file(&wheel),
        npm: pypi::npm(&wheel),
        cache: tools_dir.join("npm-cache"),
        out: out.to_owned(),
    })
}

/// Builds the page; at once when it is there and was made of the same.
///
/// # Errors
/// [`codes::TOOL_FETCH`](diagnostic::codes::TOOL_FETCH) when Node.js or the packages cannot be fetched, with what pip or
/// npm said; [`codes::DIGEST_MISMATCH`](diagnostic::codes::DIGEST_MISMATCH) when a package is not the pinned one;
/// [`codes::COMPILE_FAILED`](diagnostic::codes::COMPILE_FAILED) when the source does not build;
/// [`codes::GATE_FAILED`](diagnostic::codes::GATE_FAILED) when the result is not a whole page; an interruption. Whatever
/// fails, `out` is what it was before.
pub fn build(plan: &Plan, note: &mut dyn FnMut(String)) -> Result<Page> {
    if let Some(page) = plan.built() {
        return Ok(page);
    }
    let (parent, name) = plan.place();
    fs::create_dir_all(parent).map_err(|error| Error::io("cannot create", parent, error))?;
    let _lock = Lock::acquire(&parent.join(format!(".{name}.lock")), |_| {
        note("waiting   for another process that builds the web page".to_owned());
    })?;
    let staging = format!(".{name}.staging-");
    files::sweep(parent, &staging)?;
    if let Some(page) = plan.built() {
        return Ok(page);
    }
    if !plan.node.is_file() {
        pypi::fetch(&pypi::NODE, &plan.tools_dir, note)?;
    }
    let dir = tempfile::Builder::new()
        .prefix(&staging)
        .tempdir_in(parent)
        .map_err(|error| Error::io("cannot create a directory in", parent, error))?;
    let room = Room::furnish(dir.path(), plan)?;
    note(format!("fetching  {} packages of the web page with npm, those for this machine", plan.packages));
    npm::install(plan, &room)?;
    note("building  the web page, some minutes".to_owned());
    npm::build(plan, &room)?;
    check::check(&room.dist(), plan, dir.path())?;
    let licences = room.out.join(LICENCES);
    let text = licences::collect(&room.ui)?;
    fs::write(&licences, text).map_err(|error| Error::io("cannot write", &licences, error))?;
    write_made(plan, &room.out)?;
    interrupt::check()?;
    files::replace(&room.out, &plan.out, &dir.path().join("old"))?;
    plan.built().ok_or_else(|| check::failed("it was changed as soon as it was in place"))
}

impl Plan {
    /// The page, if it is there, whole, and made of the same as this plan would.
    pub fn built(&self) -> Option<Page> {
        let text = fs::read_to_string(self.out.join(MADE)).ok()?;
        let made: Made = serde_json::from_str(&text).ok()?;
        if made.inputs != self.inputs || files::digests(&self.out, &[MADE]).ok()? != made.files {
            return None;
        }
        let dist = self.out.join(DIST);
        let files = files::digests(&dist, &[]).ok()?;
        Some(Page { sha256: files::one_digest(&files), licences: self.out.join(LICENCES), dist })
    }

    /// How the page calls itself. It changes whenever the page can, and a page that is open in a browser thereby learns
    /// that the server has a newer one.
    fn name(&self) -> String {
        self.inputs.to_string()[..16].to_owned()
    }

    /// What npm and Vite said in the last build.
    fn log(&self) -> PathBuf {
        let (parent, name) = self.place();
        parent.join(format!("{name}.log"))
    }

    /// The directory that `out` is in, and its name there.
    fn place(&self) -> (&Path, String) {
        let parent = self.out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        (parent, self.out.file_name().unwrap_or_default().to_string_lossy().into_owned())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "build the web page of llama-server")?;
        writeln!(f, "  source    {}", self.source.display())?;
        writeln!(f, "  inputs    {}", self.inputs)?;
        writeln!(f, "  shows     {}", self.shows)?;
        writeln!(f, "  packages  {}, each pinned by sha512", self.packages)?;
        let pypi::Wheel { package, version, .. } = pypi::NODE;
        let fetch = if self.node.is_file() { "" } else { ", to fetch with pip" };
        writeln!(f, "  node      {}, {package} {version}{fetch}", self.node.display())?;
        writeln!(f, "  cache     {}", self.cache.display())?;
        writeln!(f, "  into      {}", self.out.display())
    }
}

/// The directories in which one build works; all below the staging directory, which goes with it.
struct Room {
    /// A copy of the source.
    ui: PathBuf,
    /// `node` and `npm`.
    bin: PathBuf,
    /// The home of what runs in the build.
    home: PathBuf,
    /// For its temporary files.
    tmp: PathBuf,
    /// Becomes [`Plan::out`].
    out: PathBuf,
}

impl Room {
    fn furnish(dir: &Path, plan: &Plan) -> Result<Room> {
        let dir = dir.canonicalize().map_err(|error| Error::io("cannot read", dir, error))?;
        let below = |name: &str| dir.join(name);
        let room =
            Room { ui: below("ui"), bin: below("bin"), home: below("home"), tmp: below("tmp"), out: below("out") };
        for dir in [&room.bin, &room.home, &room.tmp, &room.out] {
            fs::create_dir(dir).map_err(|error| Error::io("cannot create", dir, error))?;
        }
        files::copy(&plan.source, &room.ui)?;
        npm::put_on_path(plan, &room.bin)?;
        Ok(room)
    }

    fn dist(&self) -> PathBuf {
        self.out.join(DIST)
    }
}

/// One digest for all that shapes the page. Not the platform: the page does not depend on it.
fn inputs(source: &Path, shows: &str) -> Result<Sha256Digest> {
    let files = files::digests(source, files::RESULTS)?;
    let pypi::Wheel { package, version, .. } = pypi::NODE;
    let files = files::one_digest(&files);
    Ok(files::sha256(format!("recipe {RECIPE}\n{package} {version}\nshows {shows}\n{files}\n")))
}

fn write_made(plan: &Plan, out: &Path) -> Result<()> {
    let made = Made { inputs: plan.inputs, files: files::digests(out, &[MADE])? };
    let mut text = serde_json::to_string_pretty(&made).expect("it holds only strings");
    text.push('\n');
    let path = out.join(MADE);
    fs::write(&path, text).map_err(|error| Error::io("cannot write", &path, error))
}

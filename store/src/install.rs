//! From a staged build to the active one: look (digests, id), plan (add, replace, keep), execute (rename, flip).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use build_info::{BuildId, BuildInfo, Sha256Digest, content_digest};
use diagnostic::{Error, Result, codes};
use process::interrupt;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::layout::{INFO, STAGING};
use crate::remove::{discard, remove};
use crate::smoke::{self, SmokePlan};
use crate::tree::{self, Node};
use crate::{Activation, Store, Writer};

/// A build that is being put together, on the store's own filesystem. Dropped without
/// [`commit`](Writer::commit), it is removed.
#[derive(Debug)]
pub struct Staging {
    directory: TempDir,
}

impl Staging {
    /// The directory of the future build, with empty `bin/`, `lib/` and `share/` to begin with.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where the tools go.
    pub fn bin(&self) -> PathBuf {
        self.path().join("bin")
    }

    /// Where libraries and CPU backends go.
    pub fn lib(&self) -> PathBuf {
        self.path().join("lib")
    }

    /// Where licences and the like go.
    pub fn share(&self) -> PathBuf {
        self.path().join("share")
    }
}

/// What a commit did to the files of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The build is new.
    Added,
    /// The build was there, damaged; its files were replaced.
    Repaired,
    /// The very same build was there; the staged copy was dropped.
    AlreadyInstalled,
}

/// A finished commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// What happened to the files.
    pub outcome: Outcome,
    /// The build that is active now, and the one that was before.
    pub activation: Activation,
}

/// What a commit will do.
#[derive(Debug)]
struct Plan {
    id: BuildId,
    outcome: Outcome,
}

impl Writer<'_> {
    /// An empty build to fill.
    ///
    /// # Errors
    /// The store cannot be written, or its `bin` or `lib` is not ours.
    pub fn stage(&self) -> Result<Staging> {
        self.ensure_links()?;
        let builds = self.store.builds();
        let directory = temporary_directory(&builds)?;
        let staging = Staging { directory };
        for part in [staging.bin(), staging.lib(), staging.share()] {
            fs::create_dir(&part).map_err(|error| Error::io("cannot create", &part, error))?;
        }
        Ok(staging)
    }

    /// Installs and activates a staged build: digests every file (`info.digests` is set here), runs every tool once,
    /// syncs, renames, flips `current`.
    ///
    /// The id comes from `info` and the content: the same files give the same id. If that build is already installed and
    /// intact, it only gets the new `info` and is activated; if it is damaged, it is replaced. Where it came from is
    /// forgotten unless its files stay.
    ///
    /// # Errors
    /// The staged files cannot be a build, or another build has the same id ([`codes::GATE_FAILED`]), a tool does not run
    /// ([`codes::SMOKE_FAILED`]), the disk is full, or we were interrupted. The active build stays as it was and the staged files are removed.
    pub fn commit(&self, staging: Staging, info: BuildInfo, smoke: &SmokePlan) -> Result<Receipt> {
        let digests = digests(staging.path())?;
        self.commit_as(staging, &BuildInfo { digests, ..info }, smoke)
    }

    /// As [`commit`](Writer::commit), for files that were hashed while they were written: `info.digests` must be the digests
    /// that were found. The files are not read again, only their names are compared.
    ///
    /// # Errors
    /// As [`commit`](Writer::commit).
    pub fn commit_hashed(&self, staging: Staging, info: &BuildInfo, smoke: &SmokePlan) -> Result<Receipt> {
        let found = files(staging.path())?;
        if let Some(path) = info.digests.keys().find(|path| !found.contains(*path)) {
            return Err(Error::new(codes::GATE_FAILED, format!("the build lacks `{path}`")));
        }
        if let Some(path) = found.iter().find(|path| !info.digests.contains_key(*path)) {
            return Err(Error::new(
                codes::GATE_FAILED,
                format!("`{path}` cannot be part of a build: it has no digest"),
            ));
        }
        self.commit_as(staging, info, smoke)
    }

    fn commit_as(&self, staging: Staging, info: &BuildInfo, smoke: &SmokePlan) -> Result<Receipt> {
        every_tool_is_tried(&info.digests, smoke)?;
        let plan = plan(self.store, info)?;
        if plan.outcome == Outcome::AlreadyInstalled {
            // The files are the same; what was measured, and when, may be newer.
            if self.store.info(&plan.id)? != *info {
                info.write(&self.store.info_path(&plan.id))?;
            }
        } else {
            try_and_seal(&staging, info, smoke, &self.store.builds())?;
            // The last chance to leave without a trace.
            interrupt::check()?;
            // Before, so that who vouched for other files never vouches for these.
            self.forget_origin(&plan.id)?;
            publish(self.store, staging, &plan)?;
        }
        let activation = self.activate(&plan.id)?;
        Ok(Receipt { outcome: plan.outcome, activation })
    }
}

fn temporary_directory(builds: &Path) -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix(STAGING)
        // The umask takes its share: others may run what is installed for all.
        .permissions(Permissions::from_mode(0o777))
        .tempdir_in(builds)
        .map_err(|error| Error::io("cannot write in", builds, error))
}

/// The files of a staged build, which holds nothing else.
fn files(root: &Path) -> Result<BTreeSet<String>> {
    let file = |(path, node): (String, Node)| match node {
        Node::File => Ok(path),
        Node::Foreign(why) => Err(Error::new(codes::GATE_FAILED, format!("`{path}` cannot be part of a build: {why}"))),
    };
    tree::walk(root)?.into_iter().map(file).collect()
}

fn digests(root: &Path) -> Result<BTreeMap<String, Sha256Digest>> {
    let with_digest = |path: String| {
        let digest = tree::digest(&root.join(&path))?;
        Ok((path, digest))
    };
    files(root)?.into_iter().map(with_digest).collect()
}

/// No tool reaches the store untried.
fn every_tool_is_tried(digests: &BTreeMap<String, Sha256Digest>, smoke: &SmokePlan) -> Result<()> {
    let tools: BTreeSet<&str> = digests.keys().filter_map(|path| path.strip_prefix("bin/")).collect();
    let tried: BTreeSet<&str> = smoke.tools.iter().map(|smoke| smoke.tool.as_str()).collect();
    let refused = |message: String| Err(Error::new(codes::GATE_FAILED, message));
    if let Some(tool) = tools.difference(&tried).next() {
        return refused(format!("nothing says how to try the tool `{tool}`"));
    }
    if let Some(tool) = tried.difference(&tools).next() {
        return refused(format!("the build lacks the tool `{tool}`"));
    }
    if tools.is_empty() {
        return refused("the build has no tools".to_owned());
    }
    Ok(())
}

fn plan(store: &Store, info: &BuildInfo) -> Result<Plan> {
    let content = content_digest(&info.digests);
    let id = BuildId::new(info.build_type, &info.llama_version, &info.llama_commit, &content)
        .map_err(|error| Error::new(codes::GATE_FAILED, format!("the build has no id: {error}")).source(error))?;
    let outcome = if store.build(&id).symlink_metadata().is_err() {
        Outcome::Added
    } else {
        match store.ensure_intact(&id) {
            Ok(()) if store.info(&id)?.digests == info.digests => Outcome::AlreadyInstalled,
            // An id has only 32 bits of the content: whoever tries long enough finds other files for it.
            Ok(()) => {
                let message = format!("a build with the id `{id}` is installed, and its files are others than these");
                return Err(Error::new(codes::GATE_FAILED, message).hint(format!(
                    "one of the two was made to look like the other; take the installed one away with `cargo xtask uninstall {id}`"
                )));
            }
            // Ours to keep: a newer program wrote it, an interrupt ends us, an unreadable disk is not repaired by writing.
            Err(error) if error.code() != codes::BUILD_CORRUPT => return Err(error),
            Err(_) => Outcome::Repaired,
        }
    };
    Ok(Plan { id, outcome })
}

/// Adds the build information, runs every tool once, and brings everything to the disk. The last two at the same time: one
/// waits for CPUs, the other for the disk.
fn try_and_seal(staging: &Staging, info: &BuildInfo, smoke: &SmokePlan, builds: &Path) -> Result<()> {
    let path = staging.path().join(INFO);
    fs::write(&path, info.to_json()?).map_err(|error| Error::io("cannot write", &path, error))?;
    // Not in the staged directory: a tool that leaves a file behind would make it part of the build.
    let workdir = temporary_directory(builds)?;
    thread::scope(|scope| {
        let synced = scope.spawn(|| tree::sync(staging.path()));
        let tried = smoke::run(staging.path(), smoke, workdir.path());
        let synced = synced.join().unwrap_or_else(|panic| resume_unwind(panic));
        tried.and(synced)
    })
}

/// Renames the staged build to its place.
fn publish(store: &Store, staging: Staging, plan: &Plan) -> Result<()> {
    let Staging { directory } = staging;
    let target = store.build(&plan.id);
    let fail = |error| Error::io("cannot write", &target, error);
    if plan.outcome == Outcome::Repaired {
        // Exchanged, because the damaged build may be the active one.
        match renameat_with(CWD, directory.path(), CWD, &target, RenameFlags::EXCHANGE) {
            Ok(()) => {
                tree::sync_one(&store.builds())?;
                // The damaged build has the staging directory's name now. What cannot be removed, the next writer sweeps.
                let _ = remove(&directory.keep());
                return Ok(());
            }
            // Not every filesystem can: then there is no such build for a moment, but never half of one.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::XDEV) => {
                discard(store, &plan.id).map_err(fail)?;
            }
            Err(error) => return Err(fail(error.into())),
        }
    }
    fs::rename(directory.path(), &target).map_err(fail)?;
    // Nothing has this name any more.
    let _ = directory.keep();
    tree::sync_one(&store.builds())
}

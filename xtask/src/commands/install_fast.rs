//! `install-fast`: a prebuilt llama.cpp, verified, installed and proven to run; the same bytes for everybody.

use std::fmt;
use std::io::Read;
use std::time::Instant;

use artefact::{Bounds, Offer};
use build_info::{BuildId, Origin};
use clap::Args;
use diagnostic::{Error, Result, codes};
use oci::{Cache, LayoutReference, Platform, Reference, Resolved, Source};
use store::{Activation, Store, Writer};

use crate::commands::package;
use crate::distribution::{self, AccessFlags, NamedBy, Trust, Vouched, Wanted};
use crate::ui::{self, Progress, Unit};
use crate::{smoke, workspace};

/// Install a prebuilt llama.cpp that runs on every CPU and dispatches to the best: download, verify, activate
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// `HOST/REPOSITORY[:TAG][@DIGEST]`, `oci:DIR[:TAG]` or `oci-archive:FILE[:TAG]`; otherwise `CARAVAN_REF`, otherwise the one
    /// of this repository
    reference: Option<String>,
    /// Look for a newer one although one is installed
    #[arg(long, conflicts_with = "offline")]
    update: bool,
    /// Never use the network
    #[arg(long)]
    offline: bool,
    /// Fail when the artefact of this repository cannot be reached, instead of building it here
    #[arg(long)]
    no_build: bool,
    #[command(flatten)]
    access: AccessFlags,
    /// Print the plan and stop
    #[arg(long)]
    dry_run: bool,
}

/// Everything that is decided before anything is done.
struct Plan {
    wanted: Wanted,
    update: bool,
    offline: bool,
    may_build: bool,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named_by = match self.wanted.named_by {
            NamedBy::Argument => "as asked for",
            NamedBy::Environment => "as `CARAVAN_REF` says",
            NamedBy::Repository => "as this repository says",
        };
        writeln!(f, "install {} ({named_by})", self.wanted.reference)?;
        if !self.update && is_remote(&self.wanted.reference) {
            writeln!(f, "  unless it is installed already")?;
        }
        if self.offline {
            writeln!(f, "  without the network")?;
        }
        writeln!(f, "  for {}", Platform::current())?;
        writeln!(f, "  into {}", workspace::store().root().display())?;
        match (self.wanted.named_by, self.may_build) {
            (NamedBy::Repository, true) => write!(f, "  if it cannot be reached: build the same here"),
            _ => write!(f, "  if it cannot be reached: fail"),
        }
    }
}

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        let start = Instant::now();
        let plan = Plan {
            wanted: distribution::wanted(self.reference.as_deref())?,
            update: self.update,
            offline: self.offline,
            may_build: !self.no_build,
        };
        if self.dry_run {
            return ui::print(plan.to_string());
        }
        let store = workspace::store();
        if is_remote(&plan.wanted.reference) {
            if !plan.update && use_installed(&store, &plan.wanted.reference.to_string(), start)? {
                return Ok(());
            }
            if plan.offline {
                let reference = &plan.wanted.reference;
                return Err(Error::new(
                    codes::REGISTRY_FAILED,
                    format!("`{reference}` is not installed, and only the network has it"),
                )
                .hint("leave out `--offline`, or name a layout: `oci:DIR` or `oci-archive:FILE`"));
            }
        }
        let trust = self.access.trust()?;
        let mut access = self.access.access()?;
        if plan.may_build && plan.wanted.named_by == NamedBy::Repository {
            // There is another way: it is not worth waiting long for this one.
            access.limits.attempts = 3;
        }
        let source = Source::open(&plan.wanted.reference, &access)?;
        match source.resolve(&Platform::current()) {
            Ok(resolved) => install(&store, &source, &resolved, &trust, start),
            Err(error) if plan.may_build && falls_back(&plan.wanted, &error) => {
                build_and_install(&store, &plan.wanted, &error, start)
            }
            Err(error) => Err(error),
        }
    }
}

fn is_remote(reference: &Reference) -> bool {
    matches!(reference, Reference::Registry(_))
}

/// Whether the same can be built here instead: only where nobody named a registry, and the trouble is to reach it.
fn falls_back(wanted: &Wanted, error: &Error) -> bool {
    let unreachable = [codes::REGISTRY_FAILED, codes::REGISTRY_REFUSED, codes::NOT_FOUND];
    wanted.named_by == NamedBy::Repository && unreachable.contains(&error.code())
}

/// Activates the build that was installed from this reference, when it is there and whole.
fn use_installed(store: &Store, reference: &str, start: Instant) -> Result<bool> {
    let Some((id, _)) = store.installed_from(reference)? else { return Ok(false) };
    if !is_whole(store, &id) {
        return Ok(false);
    }
    activate(store, &id)?;
    ui::note(format!("finished  in {} ms; `--update` looks for a newer one", start.elapsed().as_millis()));
    Ok(true)
}

fn activate(store: &Store, id: &BuildId) -> Result<()> {
    if store.active().is_ok_and(|active| active.as_ref() == Some(id)) {
        ui::note(format!("active    {id} (it was already)"));
        return Ok(());
    }
    let activation = store.lock(ui::waiting("with the store"))?.use_build(&id.to_string())?;
    ui::activated(&activation);
    Ok(())
}

/// Builds the portable kind here and installs it from the layout.
fn build_and_install(store: &Store, wanted: &Wanted, why: &Error, start: Instant) -> Result<()> {
    ui::note(format!(
        "fallback  {why}: building the same artefact here, which takes 10 to 20 minutes (`--no-build` refuses)"
    ));
    let index = package::build_here(package::jobs(None))?;
    if let Some(published) = distribution::published()?.digest {
        let built = index.digest.to_string();
        if built == published {
            ui::note("compared  what was built here is what was published");
        } else {
            ui::note(format!(
                "compared  `{}` was published as {published}, what was built here is {built}",
                wanted.reference
            ));
        }
    }
    let reference = Reference::Layout(LayoutReference { path: package::layout_dir(), tag: None, digest: None });
    let access = oci::Access { mirror: None, credentials: oci::Credentials::Anonymous, limits: oci::Limits::USUAL };
    let source = Source::open(&reference, &access)?;
    let resolved = source.resolve(&Platform::current())?;
    install(store, &source, &resolved, &Trust::BuiltHere, start)
}

/// Downloads, verifies, unpacks, tries, activates.
fn install(store: &Store, source: &Source, resolved: &Resolved, trust: &Trust, start: Instant) -> Result<()> {
    let what = format!("`{}`", resolved.reference);
    let offer = Offer::of(&resolved.manifest, resolved.descriptor.digest, &what)?;
    let vouched = distribution::vouch(source, resolved, trust)?;
    ui::note(format!("verified  {}: {vouched}", short(&resolved.root.digest.to_string())));
    let cache = Cache::open(&store.cache())?;
    let was_there = is_whole(store, &offer.build_id);
    if !was_there {
        workspace::check_space(store.root(), offer.compressed_size.saturating_add(offer.uncompressed_size))?;
        download(source, resolved, &cache)?;
    }
    let writer = store.lock(ui::waiting("with the store"))?;
    // While we waited for the lock, another process may have installed the same.
    let activation = if was_there || is_whole(store, &offer.build_id) {
        writer.use_build(&offer.build_id.to_string())?
    } else {
        unpack(&writer, source, resolved, &offer, &cache)?
    };
    // In this order and under the lock: whoever is killed leaves a build without an origin, and the next run comes by here.
    for blob in resolved.manifest.blobs() {
        cache.remove(&blob.digest)?;
    }
    writer.record_origin(&activation.to, &origin(resolved, &vouched))?;
    drop(writer);
    ui::activated(&activation);
    if was_there {
        ui::note(format!("finished  in {} ms: nothing is newer", start.elapsed().as_millis()));
    } else {
        let seconds = start.elapsed().as_secs_f64();
        ui::note(format!("finished  in {seconds:.1} s; put {} on your PATH", workspace::short(&store.bin())));
    }
    Ok(())
}

fn is_whole(store: &Store, id: &BuildId) -> bool {
    store.verify(id).is_ok_and(|found| found.is_intact())
}

/// From the cache into the store.
fn unpack(writer: &Writer, source: &Source, resolved: &Resolved, offer: &Offer, cache: &Cache) -> Result<Activation> {
    if !resolved.manifest.blobs().all(|blob| cache.has(blob)) {
        // An artefact that shares blobs with this one was installed meanwhile. They are dropped only under the lock.
        download(source, resolved, cache)?;
    }
    let staging = writer.stage()?;
    let mut open = |blob: &oci::Descriptor| Ok(Box::new(cache.open_blob(blob)?) as Box<dyn Read + Send>);
    let info = artefact::unpack(&resolved.manifest, &mut open, Bounds::of(offer), staging.path())?;
    let smoke = smoke::plan_for(&staging.bin())?;
    Ok(writer.commit(staging, info, &smoke)?.activation)
}

fn download(source: &Source, resolved: &Resolved, cache: &Cache) -> Result<()> {
    let blobs: Vec<_> = resolved.manifest.blobs().cloned().collect();
    let mut progress = Progress::new("fetching", Unit::Bytes);
    let start = Instant::now();
    let mut bytes = 0;
    oci::fetch(source, &blobs, cache, &mut |done, total| {
        bytes = done;
        progress.set(done, total, "");
    })?;
    drop(progress);
    let seconds = start.elapsed().as_secs_f64();
    let megabytes = bytes as f64 / 1e6;
    ui::note(format!("fetched   {megabytes:.1} MB in {seconds:.1} s, {:.0} MB/s", megabytes / seconds.max(0.001)));
    Ok(())
}

fn origin(resolved: &Resolved, vouched: &Vouched) -> Origin {
    Origin {
        schema_version: Origin::SCHEMA_VERSION,
        reference: resolved.reference.to_string(),
        digest: resolved.root.digest.to_string(),
        manifest: resolved.descriptor.digest.to_string(),
        signed_by: vouched.key(),
        date: build_info::now(),
        extra: Default::default(),
    }
}

/// Enough of a digest to compare by eye.
fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

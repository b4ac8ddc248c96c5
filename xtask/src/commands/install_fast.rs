//! `install-fast`: a prebuilt llama.cpp, verified, installed and proven to run; the same bytes for everybody.

use std::fmt;
use std::io::Read;
use std::time::Instant;

use artefact::{Bounds, Offer};
use build_info::{Arrival, BuildId};
use clap::Args;
use diagnostic::{Error, Result, codes};
use host::Host;
use oci::{Cache, Digest, LayoutReference, Platform, Reference, Resolved, Source};
use store::{Activation, Store, Writer};

use crate::commands::package;
use crate::distribution::{self, AccessFlags, NamedBy, Trust, Vouched, Wanted};
use crate::requirement::RequirementFlags;
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
    #[command(flatten)]
    requirement: RequirementFlags,
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
        self.requirement.check(&Host::probe())?;
        let plan = Plan {
            wanted: distribution::wanted(self.reference.as_deref())?,
            update: self.update,
            offline: self.offline,
            may_build: !self.no_build,
        };
        if self.dry_run {
            return ui::print(plan.to_string());
        }
        let (store, reference) = (workspace::store(), &plan.wanted.reference);
        let trust = self.access.trust()?;
        if is_remote(reference) && !plan.update {
            match installed(&store, reference)? {
                Some((id, arrival)) if trust.accepts(&arrival) => return use_installed(&store, &id, start),
                found if plan.offline => return Err(offline(reference, found.as_ref())),
                _ => {}
            }
        }
        let mut access = self.access.access()?;
        if plan.may_build && plan.wanted.named_by == NamedBy::Repository {
            // There is another way: it is not worth waiting long for this one.
            access.limits.attempts = 3;
        }
        let source = Source::open(reference, &access)?;
        let resolved = source.resolve(&Platform::current());
        match resolved.and_then(|resolved| install(&store, reference, &source, &resolved, &trust, start)) {
            Err(error) if plan.may_build && falls_back(&plan.wanted, &error) => {
                build_and_install(&store, reference, &error, start)
            }
            done => done.map_err(|error| advised(&plan.wanted, error)),
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

/// Adds the other ways there are when a registry cannot be reached.
fn advised(wanted: &Wanted, error: Error) -> Error {
    let mut hints = Vec::new();
    if falls_back(wanted, &error) {
        hints.push("leave out `--no-build` to build the same artefact here, which takes about 20 minutes on two cores");
    }
    if error.code() == codes::REGISTRY_FAILED {
        hints.push("`--registry-mirror HOST` asks another registry; `oci:DIR` or `oci-archive:FILE` needs no network");
    }
    hints.into_iter().fold(error, Error::hint)
}

/// The build that was installed from this reference, when it is there and whole.
fn installed(store: &Store, reference: &Reference) -> Result<Option<(BuildId, Arrival)>> {
    Ok(store.installed_from(&reference.to_string())?.filter(|(id, _)| is_whole(store, id)))
}

/// Why there is nothing to be done without the network.
fn offline(reference: &Reference, found: Option<&(BuildId, Arrival)>) -> Error {
    let Some((id, arrival)) = found else {
        let message = format!("`{reference}` is not installed, and only the network has it");
        return Error::new(codes::REGISTRY_FAILED, message)
            .hint("leave out `--offline`, or name a layout: `oci:DIR` or `oci-archive:FILE`");
    };
    let who = match &arrival.signed_by {
        Some(key) => format!("signed by the key `{key}`, which is not trusted here"),
        None => "not signed".to_owned(),
    };
    Error::new(codes::UNSIGNED, format!("`{reference}` is installed as `{id}`, but was {who}"))
        .hint("leave out `--offline` to look for a signature, name a key with `--key FILE`, or take it with `--allow-unsigned`")
}

fn use_installed(store: &Store, id: &BuildId, start: Instant) -> Result<()> {
    activate(store, id)?;
    ui::note(format!("finished  in {} ms; `--update` looks for a newer one", start.elapsed().as_millis()));
    Ok(())
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

/// Builds the portable kind here and installs it from the layout, under the name that was asked for.
fn build_and_install(store: &Store, wanted: &Reference, why: &Error, start: Instant) -> Result<()> {
    ui::note(format!(
        "fallback  {why}: building the same artefact here, which takes about 20 minutes on two cores (`--no-build` refuses)"
    ));
    let index = package::build_here(package::jobs(None))?;
    if let Some(published) = wanted.digest() {
        ui::note(format!("compared  {}", comparison(wanted, &published, &index.digest)));
    }
    let (path, digest) = (package::layout_dir(), Some(index.digest));
    let layout = Reference::Layout(LayoutReference { path, tag: None, digest });
    let access = oci::Access { mirror: None, credentials: oci::Credentials::Anonymous, limits: oci::Limits::USUAL };
    let source = Source::open(&layout, &access)?;
    let resolved = source.resolve(&Platform::current())?;
    install(store, wanted, &source, &resolved, &Trust::BuiltHere, start)
}

/// What was published beside what was built.
fn comparison(wanted: &Reference, published: &Digest, built: &Digest) -> String {
    if built == published {
        "what was built here is what was published".to_owned()
    } else {
        format!("`{wanted}` is not what was built here: that is {built}")
    }
}

/// Downloads, verifies, unpacks, tries, activates; remembers the name that was asked for.
fn install(
    store: &Store,
    wanted: &Reference,
    source: &Source,
    resolved: &Resolved,
    trust: &Trust,
    start: Instant,
) -> Result<()> {
    let what = format!("`{}`", resolved.reference);
    let offer = Offer::of(&resolved.manifest, resolved.descriptor.digest, &what)?;
    let vouched = distribution::vouch(source, resolved, trust)?;
    ui::note(format!("verified  {}: {vouched}", short(&resolved.root.digest.to_string())));
    let cache = Cache::open(&store.cache())?;
    let was_there = is_there(store, &offer);
    if !was_there {
        workspace::check_space(store.root(), offer.compressed_size.saturating_add(offer.uncompressed_size))?;
        download(source, resolved, &cache)?;
    }
    let writer = store.lock(ui::waiting("with the store"))?;
    // While we waited for the lock, another process may have installed the same.
    let activation = if was_there || is_there(store, &offer) {
        writer.use_build(&offer.build_id.to_string())?
    } else {
        unpack(&writer, source, resolved, &offer, &cache)?
    };
    writer.record_arrival(&activation.to, arrival(wanted, resolved, &vouched))?;
    // What others are downloading meanwhile stays; what killed runs have left goes too.
    cache.sweep()?;
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

/// Whether the files of this very manifest are installed. The id alone does not tell: it has 32 bits of their digest, and
/// who takes the time finds other files for the id of a build that is signed.
fn is_there(store: &Store, offer: &Offer) -> bool {
    let manifest = offer.manifest.to_string();
    let origin = store.origin(&offer.build_id).ok().flatten();
    let were_compared = origin.is_some_and(|origin| origin.arrivals.iter().any(|known| known.manifest == manifest));
    were_compared && is_whole(store, &offer.build_id)
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
    let unpacked = artefact::unpack(&resolved.manifest, &mut open, Bounds::of(offer), staging.path());
    let info = unpacked.and_then(|info| offer.check(&info).map(|()| info)).map_err(|error| {
        if ![codes::DIGEST_MISMATCH, codes::ARCHIVE_INVALID].contains(&error.code()) {
            return error;
        }
        // The cache knows only the sizes of what it has: a blob that this disk damaged would fail for ever.
        for blob in resolved.manifest.blobs() {
            let _ = cache.remove(&blob.digest);
        }
        error.hint("what was downloaded is dropped: if this disk has damaged it, running it again helps")
    })?;
    let smoke = smoke::plan_for(&staging.bin())?;
    // Unpacking has hashed what it wrote, and compared it with what the build says of itself.
    Ok(writer.commit_hashed(staging, &info, &smoke)?.activation)
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

fn arrival(wanted: &Reference, resolved: &Resolved, vouched: &Vouched) -> Arrival {
    Arrival {
        reference: wanted.to_string(),
        digest: resolved.root.digest.to_string(),
        manifest: resolved.descriptor.digest.to_string(),
        signed_by: vouched.key(),
        built_here: matches!(vouched, Vouched::BuiltHere),
        date: build_info::now(),
        extra: Default::default(),
    }
}

/// Enough of a digest to compare by eye.
fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(digest: Option<&Digest>) -> Reference {
        let suffix = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
        format!("registry.example/owner/name:1{suffix}").parse().unwrap()
    }

    #[test]
    fn only_what_the_repository_names_and_nobody_delivers_is_built_here() {
        let falls_back = |named_by, code| {
            falls_back(&Wanted { reference: reference(None), named_by }, &Error::new(code, "it failed"))
        };
        for code in diagnostic::codes::CODES {
            let is_missing = [codes::REGISTRY_FAILED, codes::REGISTRY_REFUSED, codes::NOT_FOUND].contains(code);
            assert_eq!(falls_back(NamedBy::Repository, code), is_missing, "{}", code.name);
            assert!(!falls_back(NamedBy::Argument, code) && !falls_back(NamedBy::Environment, code), "{}", code.name);
        }
    }

    #[test]
    fn who_cannot_reach_a_registry_is_told_the_other_ways() {
        let hints = |named_by, code| {
            let wanted = Wanted { reference: reference(None), named_by };
            advised(&wanted, Error::new(code, "it failed")).hints().join("\n")
        };
        let default = hints(NamedBy::Repository, codes::REGISTRY_FAILED);
        assert!(default.contains("leave out `--no-build`") && default.contains("--registry-mirror"), "{default}");
        let named = hints(NamedBy::Argument, codes::REGISTRY_FAILED);
        assert!(!named.contains("--no-build") && named.contains("--registry-mirror"), "{named}");
        assert_eq!(hints(NamedBy::Repository, codes::UNSIGNED), "");
    }

    #[test]
    fn what_was_built_is_compared_with_what_was_published() {
        let [published, other] = [b"published", b"somethin!"].map(|bytes| Digest::of(bytes));
        let wanted = reference(Some(&published));
        assert_eq!(comparison(&wanted, &published, &published), "what was built here is what was published");
        let differs = comparison(&wanted, &published, &other);
        assert!(differs.contains(&published.to_string()) && differs.contains(&other.to_string()), "{differs}");
    }
}

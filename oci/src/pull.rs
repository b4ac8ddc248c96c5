//! Blobs into the cache: several at a time, each continued where it was cut, none kept that is not what it should be.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use diagnostic::{Error, Result, codes};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use process::interrupt;
use reqwest::StatusCode;

use crate::cache::{Claim, Part};
use crate::model::invalid;
use crate::registry::{Scope, range, reason};
use crate::retry::{Failure, persist};
use crate::{Cache, Descriptor, Digest, Platform, ReadLayout, Registry, Resolved, Source};

/// How often we look whether another process has finished a blob.
const POLL: Duration = Duration::from_millis(50);
/// A try that brought less than this beyond all earlier ones is charged, so that a registry that cuts every answer after a
/// few bytes is given up.
const PROGRESS: u64 = 64 << 10;

/// Hears how many bytes are in the cache, and how many there will be.
pub type Progress<'a> = dyn FnMut(u64, u64) + 'a;

/// Finds the manifest for a platform and downloads what belongs to it: [`Source::resolve`], then [`fetch`] of all blobs.
///
/// # Errors
/// Those of the two.
pub fn pull(source: &Source, platform: &Platform, cache: &Cache, progress: &mut Progress<'_>) -> Result<Resolved> {
    let resolved = source.resolve(platform)?;
    let blobs: Vec<Descriptor> = resolved.manifest.blobs().cloned().collect();
    fetch(source, &blobs, cache, progress)?;
    Ok(resolved)
}

/// Sees to it that blobs are in the cache.
///
/// What is there is not asked for again, what was begun is continued, also by a later process. Two processes that want the
/// same blob take turns.
///
/// # Errors
/// [`codes::DIGEST_MISMATCH`] when a blob is not what its descriptor says: it is dropped. [`codes::DISK_FULL`], before
/// anything is downloaded where that can be known. [`codes::REGISTRY_FAILED`], [`codes::REGISTRY_REFUSED`],
/// [`codes::NOT_FOUND`]; [`codes::MANIFEST_INVALID`] when the blobs are larger than is allowed.
pub fn fetch(source: &Source, blobs: &[Descriptor], cache: &Cache, progress: &mut Progress<'_>) -> Result<()> {
    let blobs = distinct(blobs, source)?;
    cache.check_space(&blobs)?;
    let meter = Meter::new(&blobs, progress);
    match (source.registry(), source.layout()) {
        (Some(registry), _) => registry.wait(
            stream::iter(&blobs)
                .map(|blob| download(registry, blob, cache, &meter))
                .buffer_unordered(registry.limits().parallel.max(1))
                .try_collect(),
        ),
        (None, Some(layout)) => blobs.iter().try_for_each(|blob| copy(layout, blob, cache, &meter)),
        (None, None) => Ok(()),
    }
}

/// Each blob once, within what is allowed.
fn distinct(blobs: &[Descriptor], source: &Source) -> Result<Vec<Descriptor>> {
    let mut found: BTreeMap<Digest, &Descriptor> = BTreeMap::new();
    let what = format!("`{}`", source.reference());
    for blob in blobs {
        let known = found.entry(blob.digest).or_insert(blob);
        if known.size != blob.size {
            return Err(invalid(&what, &format!("it gives blob `{}` two sizes", blob.digest)));
        }
    }
    let total = found.values().try_fold(0u64, |sum, blob| sum.checked_add(blob.size));
    let allowed = source.registry().map_or(u64::MAX, |registry| registry.limits().bytes);
    match total {
        // In the order in which they were given: the first may be wanted first.
        Some(total) if total <= allowed => {
            let mut kept = Vec::with_capacity(found.len());
            kept.extend(blobs.iter().filter(|blob| found.remove(&blob.digest).is_some()).cloned());
            Ok(kept)
        }
        _ => Err(invalid(&what, &format!("its blobs have more than {allowed} bytes"))),
    }
}

/// Adds up the bytes of all blobs.
struct Meter<'a> {
    done: Cell<u64>,
    total: u64,
    progress: RefCell<&'a mut Progress<'a>>,
}

impl<'a> Meter<'a> {
    fn new(blobs: &[Descriptor], progress: &'a mut Progress<'_>) -> Meter<'a> {
        // The lifetime of what the callback borrows does not matter to us.
        let progress: &'a mut Progress<'a> = progress;
        Meter { done: Cell::new(0), total: blobs.iter().map(|blob| blob.size).sum(), progress: RefCell::new(progress) }
    }

    fn add(&self, bytes: u64) {
        self.done.set(self.done.get() + bytes);
        (self.progress.borrow_mut())(self.done.get(), self.total);
    }

    fn take(&self, bytes: u64) {
        self.done.set(self.done.get().saturating_sub(bytes));
    }
}

fn copy(layout: &dyn ReadLayout, blob: &Descriptor, cache: &Cache, meter: &Meter<'_>) -> Result<()> {
    loop {
        interrupt::check()?;
        match cache.claim(blob)? {
            Claim::Present => {
                meter.add(blob.size);
                return Ok(());
            }
            Claim::Busy => std::thread::sleep(POLL),
            Claim::Ours(mut part) => {
                part.fill(layout.open_blob(blob)?, &layout.name(), |bytes| meter.add(bytes))?;
                return part.keep(&layout.name());
            }
        }
    }
}

async fn download(registry: &Registry, blob: &Descriptor, cache: &Cache, meter: &Meter<'_>) -> Result<()> {
    let mut part = loop {
        match cache.claim(blob)? {
            Claim::Present => {
                meter.add(blob.size);
                return Ok(());
            }
            Claim::Busy => tokio::time::sleep(POLL).await,
            Claim::Ours(part) => break part,
        }
    };
    meter.add(part.bytes());
    let name = format!("`{}`", registry.called_repository());
    let what = format!("blob `{}` of {name}", blob.digest);
    // Bytes of an earlier try or run may be to blame for a wrong digest: once more, from the start.
    let mut is_spliced = part.bytes() > 0;
    let mut highest = part.bytes();
    let url = registry.blob_url(&blob.digest);
    persist(registry.limits(), &format!("cannot download {what}"), async || {
        let before = part.bytes();
        is_spliced |= before > 0;
        let ended = receive(registry, &url, blob, &mut part, &what, meter).await;
        match ended {
            Ok(()) if is_spliced && part.digest() != blob.digest => {
                is_spliced = false;
                meter.take(part.bytes());
                part.restart()?;
                Err(Failure::Again {
                    why: "its beginning was of another blob".to_owned(),
                    after: Some(Duration::ZERO),
                    progress: false,
                })
            }
            Ok(()) => Ok(()),
            Err(Failure::Again { why, after, .. }) => {
                let progress = part.bytes() >= highest + PROGRESS;
                highest = highest.max(part.bytes());
                Err(Failure::Again { why, after, progress })
            }
            Err(Failure::Final(error)) => {
                if [codes::NOT_FOUND, codes::DIGEST_MISMATCH].contains(&error.code()) {
                    part.remove();
                }
                Err(Failure::Final(error))
            }
        }
    })
    .await?;
    // It waits for the disk; other blobs may come meanwhile.
    tokio::task::spawn_blocking(move || part.keep(&name)).await.expect("a blob is kept without a panic")
}

/// One answer of the registry, or of where it redirects us to, into the part.
async fn receive(
    registry: &Registry,
    url: &str,
    blob: &Descriptor,
    part: &mut Part,
    what: &str,
    meter: &Meter<'_>,
) -> Result<(), Failure> {
    if part.bytes() == blob.size {
        return Ok(());
    }
    let from = part.bytes();
    let response = registry.send(Scope::Pull, |http| range::ask(http.get(url), from)).await?;
    let (offset, total) = match response.status() {
        StatusCode::OK => (0, response.content_length()),
        StatusCode::PARTIAL_CONTENT => match range::answer(&response) {
            Some((offset, total)) if offset == from => (offset, total),
            _ => return Err(start_again(part, meter, "the registry sent another part than was asked for")),
        },
        StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => {
            return Err(start_again(part, meter, "the registry cannot continue a download"));
        }
        _ => {
            registry.expect(response, what, &[StatusCode::OK, StatusCode::PARTIAL_CONTENT]).await?;
            return Err(Failure::again("the registry gave no answer"));
        }
    };
    if let Some(total) = total.filter(|total| *total != blob.size) {
        let message = format!("{what} has {total} bytes, but {} are expected", blob.size);
        return Err(Error::new(codes::DIGEST_MISMATCH, message).hint("the manifest or the registry is damaged").into());
    }
    if offset != from {
        meter.take(from);
        part.restart()?;
    }
    let mut response = response;
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) => {
                part.write(&bytes)?;
                meter.add(bytes.len() as u64);
            }
            Ok(None) if part.bytes() == blob.size => return Ok(()),
            Ok(None) => return Err(Failure::again("the connection broke off")),
            Err(error) => return Err(Failure::again(reason(&error))),
        }
    }
}

fn start_again(part: &mut Part, meter: &Meter<'_>, why: &str) -> Failure {
    meter.take(part.bytes());
    match part.restart() {
        Ok(()) => Failure::Again { why: why.to_owned(), after: Some(Duration::ZERO), progress: false },
        Err(error) => error.into(),
    }
}

//! From the layers of an artefact to the files of a build. Layers are hostile until proven otherwise.
//!
//! Only regular files and directories come out, only below `opt/caravan/`, and no link of any kind is ever created or
//! followed. Extended headers are refused rather than interpreted: our packer writes none, and they are where readers of
//! tar disagree. Count and sizes are bounded before memory or disk is spent. Everything is hashed while it is written:
//! each layer against the configuration, each file against `lib/build_info.json`.

mod entry;
mod place;
mod stream;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use build_info::{BuildInfo, BuildKind, Sha256Digest};
use diagnostic::{Error, Result, codes};
use oci::{Descriptor, Digest, LAYER_TAR_GZIP, LAYER_TAR_ZSTD, Manifest};
use process::interrupt;
use tar::{Archive, EntryType};

use self::place::Place;
use self::stream::Compression;
use crate::{BUILD_INFO, Offer, config, printable};

/// What unpacking may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Files and directories that come out, and entries of all layers together.
    pub entries: usize,
    /// Bytes of one file.
    pub file: u64,
    /// Bytes of all layers after decompression, headers and padding included.
    pub total: u64,
}

/// More layers than we ever write; each costs a thread and a decoder, one after the other.
const LAYERS: usize = 16;

impl Bounds {
    /// The most that any artefact may cost, whatever it promises.
    pub const MOST: Bounds = Bounds { entries: 10_000, file: 1 << 30, total: 4 << 30 };

    /// What an artefact promises to cost, or [`Bounds::MOST`] where that is less.
    pub fn of(offer: &Offer) -> Bounds {
        let total = offer.uncompressed_size.min(Bounds::MOST.total);
        Bounds { total, file: total.min(Bounds::MOST.file), ..Bounds::MOST }
    }
}

/// Unpacks the layers of `manifest` into the directory `into`, which is empty or holds empty directories; returns how
/// the build was made.
///
/// `open` gives the bytes of a blob, the configuration first. Its reader should fail when the blob is not the one that was
/// asked for; what it gives is checked against the configuration all the same. Modes become 755 and 644; owners and times
/// are not taken over. On failure `into` holds what came before the bad entry: it is for the caller to stage and drop.
///
/// # Errors
/// [`codes::MANIFEST_INVALID`]: the configuration or the types of layers. [`codes::ARCHIVE_INVALID`], naming the layer and the
/// entry: it is truncated or damaged, holds something else than files and directories below `opt/caravan`, a name twice,
/// a whiteout; exceeds the bounds; or the build is not whole. [`codes::DIGEST_MISMATCH`]: a layer or a file is not the one
/// that the configuration or the build information names. What `open` and the disk fail with; interruption.
pub fn unpack(
    manifest: &Manifest,
    open: &mut dyn FnMut(&Descriptor) -> Result<Box<dyn Read + Send>>,
    bounds: Bounds,
    into: &Path,
) -> Result<BuildInfo> {
    let layers = layers(manifest, open)?;
    let mut place = Place::new(into, bounds);
    let mut left = bounds.total;
    for (layer, compression, diff_id) in layers {
        let reader = open(layer)?;
        let what = format!("layer `{}`", layer.digest);
        let unpacked =
            stream::decompress(reader, compression, &what, &mut left, |tar| extract(tar, &what, &mut place))?;
        if unpacked != diff_id {
            let message = format!("{what} unpacks to `{unpacked}`, but the configuration says `{diff_id}`");
            return Err(Error::new(codes::DIGEST_MISMATCH, message));
        }
    }
    check(place)
}

/// The layers with what their types and the configuration say about them.
fn layers<'a>(
    manifest: &'a Manifest,
    open: &mut dyn FnMut(&Descriptor) -> Result<Box<dyn Read + Send>>,
) -> Result<Vec<(&'a Descriptor, Compression, Digest)>> {
    let refused = |why: String| Error::new(codes::MANIFEST_INVALID, format!("the manifest is refused: {why}"));
    let count = manifest.layers.len();
    if !(1..=LAYERS).contains(&count) {
        return Err(refused(format!("it has {count} layers, where 1 to {LAYERS} are expected")));
    }
    let descriptor = &manifest.config;
    if descriptor.size > config::LIMIT {
        return Err(refused(format!("its configuration has more than {} bytes", config::LIMIT)));
    }
    let mut bytes = Vec::new();
    let failed = |error| stream::source_failed(&format!("configuration `{}`", descriptor.digest), &error);
    open(descriptor)?.take(config::LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    let found = Digest::of(&bytes);
    if found != descriptor.digest {
        let message = format!("the configuration has the digest `{found}`, but `{}` is expected", descriptor.digest);
        return Err(Error::new(codes::DIGEST_MISMATCH, message));
    }
    let diff_ids = config::diff_ids(&bytes, &descriptor.digest)?;
    if diff_ids.len() != count {
        return Err(refused(format!("it has {count} layers, but its configuration names {}", diff_ids.len())));
    }
    let with_type = |(layer, diff_id): (&'a Descriptor, Digest)| {
        let compression = match layer.media_type.as_str() {
            LAYER_TAR_ZSTD => Compression::Zstd,
            LAYER_TAR_GZIP | DOCKER_LAYER => Compression::Gzip,
            other => return Err(refused(format!("a layer is of the unknown type `{}`", printable(other)))),
        };
        Ok((layer, compression, diff_id))
    };
    manifest.layers.iter().zip(diff_ids).map(with_type).collect()
}

/// What a layer becomes when a tool converts the manifest to Docker's types.
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Reads one tar to its end.
fn extract(tar: &mut dyn Read, what: &str, place: &mut Place) -> Result<()> {
    let refused = |why: String| Error::new(codes::ARCHIVE_INVALID, format!("{what} is refused: {why}"));
    let mut last = String::from("its start");
    let mut archive = Archive::new(&mut *tar);
    let entries = archive.entries().map_err(|error| refused(damaged(&last, &error)))?;
    for entry in entries.raw(true) {
        interrupt::check()?;
        let mut entry = entry.map_err(|error| refused(damaged(&last, &error)))?;
        place.count().map_err(&refused)?;
        let kind = entry.header().entry_type();
        let name = entry::Name::read(&entry.path_bytes()).map_err(&refused)?;
        let size = entry.size();
        match (kind, name.below()) {
            (EntryType::Directory, _) if size != 0 => {
                return Err(refused(format!("{name} is a directory with content")));
            }
            (EntryType::Directory, None) => {}
            (EntryType::Directory, Some(path)) => place.directory(path).map_err(|error| error.say(&refused, &name))?,
            (EntryType::Regular, Some(path)) if !name.is_directory() => {
                let executable =
                    entry.header().mode().map_err(|error| refused(damaged(&name.to_string(), &error)))? & 0o111 != 0;
                place.file(path, size, executable, &mut entry).map_err(|error| error.say(&refused, &name))?;
            }
            (EntryType::Regular, _) => return Err(refused(format!("{name} is a file in place of a directory"))),
            (other, _) => return Err(refused(format!("{name} is {}", entry::describe(other)))),
        }
        last = name.to_string();
    }
    // The rest is padding, but the digest of the layer covers it.
    std::io::copy(tar, &mut std::io::sink()).map_err(|error| refused(damaged(&last, &error)))?;
    Ok(())
}

fn damaged(at: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => format!("it is truncated at or after {at}"),
        _ => format!("it is damaged at or after {at}: {}", printable(&error.to_string())),
    }
}

/// Compares what was written with what the build says of itself.
fn check(place: Place) -> Result<BuildInfo> {
    let refused = |why: &str| Error::new(codes::ARCHIVE_INVALID, format!("the artefact is refused: {why}"));
    let (mut found, json) = place.finish();
    let json = json.ok_or_else(|| refused(&format!("it has no `{BUILD_INFO}`")))?;
    let info = BuildInfo::from_json(&json, Path::new(BUILD_INFO)).map_err(|error| {
        // The reader's advice is for installed builds.
        if error.code() == codes::SCHEMA_NEWER { error } else { refused(&printable(&error.to_string())) }
    })?;
    if info.build_type != BuildKind::Portable {
        return Err(refused(&format!("its build is {}, not portable", info.build_type)));
    }
    found.remove(BUILD_INFO);
    compare(&info.digests, &found)
        .map_err(|(code, why)| Error::new(code, format!("the artefact is refused: {why}")))?;
    Ok(info)
}

type Files = BTreeMap<String, Sha256Digest>;

fn compare(expected: &Files, found: &Files) -> Result<(), (&'static codes::Code, String)> {
    if let Some(path) = expected.keys().find(|path| !found.contains_key(*path)) {
        return Err((codes::ARCHIVE_INVALID, format!("it lacks `{}`, which `{BUILD_INFO}` lists", printable(path))));
    }
    if let Some(path) = found.keys().find(|path| !expected.contains_key(*path)) {
        return Err((codes::ARCHIVE_INVALID, format!("it holds `{path}`, which `{BUILD_INFO}` does not list")));
    }
    match expected.iter().find(|(path, digest)| found.get(*path) != Some(digest)) {
        Some((path, digest)) => {
            let message = format!("`{path}` has the digest `{:?}`, but `{BUILD_INFO}` says `{digest:?}`", found[path]);
            Err((codes::DIGEST_MISMATCH, message))
        }
        None => Ok(()),
    }
}

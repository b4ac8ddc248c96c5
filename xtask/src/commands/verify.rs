//! `verify`: whether an artefact is whole and signed, without installing it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use artefact::Offer;
use clap::Args;
use diagnostic::{Error, Result};
use oci::{Platform, Source};
use process::Lock;
use serde_json::json;
use tempfile::TempDir;

use crate::distribution::{self, AccessFlags};
use crate::{ui, unpacked, workspace};

/// Check an artefact: its signature, every layer and every file in them; installs nothing
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// `HOST/REPOSITORY[:TAG][@DIGEST]`, `oci:DIR[:TAG]` or `oci-archive:FILE[:TAG]`; otherwise as `install-fast`
    reference: Option<String>,
    #[command(flatten)]
    access: AccessFlags,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        let wanted = distribution::wanted(self.reference.as_deref())?;
        let trust = self.access.trust()?;
        let source = Source::open(&wanted.reference, &self.access.access()?)?;
        let resolved = source.resolve(&Platform::current())?;
        let what = format!("`{}`", resolved.reference);
        let offer = Offer::of(&resolved.manifest, resolved.descriptor.digest, &what)?;
        let vouched = distribution::vouch(&source, &resolved, &trust)?;
        // Beside the store, where there is room, and gone afterwards.
        let parent = workspace::store().cache();
        workspace::check_space(&parent, offer.compressed_size.saturating_add(offer.uncompressed_size))?;
        let _lock = Lock::acquire(&parent.join(".verify.lock"), ui::waiting("verifying"))?;
        let dir = workplace(&parent)?;
        let info = unpacked::unpack(&source, &resolved, &offer, dir.path())?.info;
        if self.json {
            let value = json!({
                "reference": resolved.reference.to_string(),
                "digest": resolved.root.digest.to_string(),
                "manifest": resolved.descriptor.digest.to_string(),
                "signed_by": vouched.key(),
                "build_id": offer.build_id.to_string(),
                "compressed_bytes": offer.compressed_size,
                "uncompressed_bytes": offer.uncompressed_size,
                "files": info.digests.len() + 1,
            });
            return ui::print(serde_json::to_string_pretty(&value).expect("plain JSON"));
        }
        ui::print(format!(
            "reference  {}\ndigest     {}\nmanifest   {}\nsignature  {vouched}\nbuild      {}\nvariants   {}\nglibc      {}\nsize       {:.2} MB, {:.1} MB installed\nfiles      {}, all as listed",
            resolved.reference,
            resolved.root.digest,
            resolved.descriptor.digest,
            offer.build_id,
            offer.variants.join(" "),
            offer.glibc_floor.as_deref().unwrap_or("unknown"),
            offer.compressed_size as f64 / 1e6,
            offer.uncompressed_size as f64 / 1e6,
            info.digests.len() + 1,
        ))
    }
}

/// An empty directory that is removed with what it returns. The caller holds the lock: what is there, a killed run has left.
fn workplace(parent: &Path) -> Result<TempDir> {
    let path = parent.join(".verify");
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::io("cannot remove", &path, error)),
        _ => {}
    }
    let made = tempfile::Builder::new().prefix(".verify").rand_bytes(0).tempdir_in(parent);
    made.map_err(|error| Error::io("cannot write in", parent, error))
}

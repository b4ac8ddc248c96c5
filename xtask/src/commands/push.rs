//! `push`: an artefact from a layout to a registry, signed.

use std::path::PathBuf;
use std::slice;

use artefact::Offer;
use artefact::signature::{self, PublicKey, SecretKey, Statement};
use clap::Args;
use diagnostic::{Error, Result, codes};
use oci::{Credentials, Digest, Document, Layout, Limits, PushPlan, ReadLayout, Reference, Registry};

use crate::commands::package;
use crate::password;
use crate::ui::{self, Progress, Unit};

/// Push a packed artefact to a registry, with its bill of materials and a signature
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// `HOST/REPOSITORY:TAG`
    reference: String,
    /// The layout directory to push from; `dist/oci` in the repository when not given
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Sign with this minisign secret key; `CARAVAN_SIGN_PASSWORD` or a question gives its password
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    /// Print the plan and stop
    #[arg(long)]
    dry_run: bool,
}

impl Flags {
    pub(crate) fn run(self) -> Result<()> {
        let reference: Reference = self.reference.parse()?;
        let Reference::Registry(name) = &reference else {
            let message = format!("`{reference}` is not in a registry");
            return Err(Error::new(codes::REFERENCE_INVALID, message).hint("write `HOST/REPOSITORY:TAG`"));
        };
        let from = self.from.unwrap_or_else(package::layout_dir);
        let layout = Layout::open(&from)?;
        if self.dry_run {
            let plan = PushPlan::new(&layout, None)?;
            let signed = if self.sign_key.is_some() { "signed" } else { "not signed" };
            return ui::print(format!(
                "push {} of {} to {}, {signed}\n  {} blobs, {:.1} MB",
                plan.root.digest,
                from.display(),
                reference,
                plan.blobs.len(),
                plan.bytes() as f64 / 1e6
            ));
        }
        if let Some(file) = &self.sign_key {
            sign(&layout, &SecretKey::read(file, password::ask)?)?;
        }
        let plan = PushPlan::new(&layout, None)?;
        let registry = Registry::open(name, None, Credentials::Stored, Limits::USUAL)?;
        let mut progress = Progress::new("pushing", Unit::Bytes);
        let pushed = oci::push(&layout, &plan, &registry, &mut |done, total| progress.set(done, total, ""))?;
        drop(progress);
        ui::note(format!("pushed    {} of {} blobs; the others were there", pushed.uploaded, plan.blobs.len()));
        ui::print(format!("{reference}@{}", pushed.root.digest))
    }
}

/// Signs what the tag names and every manifest of ours in it: people copy both.
fn sign(layout: &Layout, key: &SecretKey) -> Result<()> {
    let root = layout.resolve(None)?;
    let (document, bytes) = layout.document(&root)?;
    let mut subjects = vec![root.clone()];
    if let Document::Index(index) = &document {
        subjects.extend(index.manifests.iter().cloned());
    }
    let first = match (&document, subjects.get(1)) {
        (Document::Index(_), Some(first)) => layout.read_blob(first, oci::MANIFEST_LIMIT)?,
        (Document::Index(_), None) => {
            let message = format!("there is nothing to sign in {}: its index lists no manifest", layout.name());
            return Err(Error::new(codes::MANIFEST_INVALID, message));
        }
        (Document::Manifest(_), _) => bytes,
    };
    let offer = Offer::read(&first, &layout.name())?;
    let statement = Statement { version: &offer.version, date: build_info::now() };
    let public = key.public()?;
    let mut signed = 0;
    for subject in &subjects {
        if !is_signed(layout, &subject.digest, &public)? {
            let text = signature::sign(&subject.digest, &statement, key)?;
            signature::attach(layout, subject, &text)?;
            signed += 1;
        }
    }
    ui::note(match signed {
        0 => format!("signed    {} was signed by this key already", root.digest),
        _ => format!("signed    {} and {} manifest(s) in it", root.digest, subjects.len() - 1),
    });
    Ok(())
}

/// Whether a signature by this key is there: another one would only make the list longer.
fn is_signed(layout: &Layout, subject: &Digest, key: &PublicKey) -> Result<bool> {
    let referrers = layout.referrers(subject)?;
    let candidates =
        signature::candidates(subject, &referrers, &mut |descriptor, limit| layout.read_blob(descriptor, limit))?;
    Ok(signature::verify("it", &candidates, slice::from_ref(key)).is_ok())
}

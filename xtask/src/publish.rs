//! From a layout to a registry, signed: the same for artefacts and for images.

use std::path::Path;
use std::slice;

use artefact::signature::{self, PublicKey, SecretKey, Statement};
use diagnostic::{Error, Result, codes};
use oci::{
    Credentials, Descriptor, Digest, Document, Layout, Limits, PushPlan, ReadLayout, Reference, Registry,
    RegistryReference,
};

use crate::password;
use crate::ui::{self, Progress, Unit};

/// Where to push to.
///
/// # Errors
/// [`codes::REFERENCE_INVALID`]: it is not in a registry.
pub(crate) fn target(text: &str) -> Result<RegistryReference> {
    match text.parse()? {
        Reference::Registry(name) => Ok(name),
        other => {
            let message = format!("`{other}` is not in a registry");
            Err(Error::new(codes::REFERENCE_INVALID, message).hint("write `HOST/REPOSITORY:TAG`"))
        }
    }
}

/// Pushes what the only tag of a layout names; with a key, signs it first. Returns what the registry's tag names now.
///
/// # Errors
/// The key cannot be used; those of [`oci::push`].
pub(crate) fn push(layout: &Layout, name: &RegistryReference, sign_key: Option<&Path>) -> Result<Descriptor> {
    if let Some(file) = sign_key {
        sign(layout, &SecretKey::read(file, password::ask)?)?;
    }
    let plan = PushPlan::new(layout, None)?;
    let registry = Registry::open(name, None, Credentials::Stored, Limits::USUAL)?;
    let mut progress = Progress::new("pushing", Unit::Bytes);
    let pushed = oci::push(layout, &plan, &registry, &mut |done, total| progress.set(done, total, ""))?;
    drop(progress);
    ui::note(format!("pushed    {} of {} blobs; the others were there", pushed.uploaded, plan.blobs.len()));
    Ok(pushed.root)
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
    let version = artefact::version(&first, &layout.name())?;
    let statement = Statement { version: &version, date: build_info::now() };
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

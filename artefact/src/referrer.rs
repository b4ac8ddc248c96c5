//! Small things that are said about a manifest: a signature, a bill of materials.

use std::collections::BTreeMap;

use diagnostic::Result;
use oci::{Descriptor, Layout, Manifest};

use crate::annotation::{CREATED, TITLE};

/// Stores `content` as an artefact of its own that refers to `subject`.
pub(crate) fn attach(
    layout: &Layout,
    subject: &Descriptor,
    artifact_type: &str,
    title: &str,
    created: Option<String>,
    content: &[u8],
) -> Result<Descriptor> {
    let blob = layout.put(artifact_type, content)?.annotate(TITLE, title);
    let mut manifest = Manifest::new(Descriptor::empty_config(), vec![blob]);
    manifest.artifact_type = Some(artifact_type.to_owned());
    // Only what names the subject: its tag and platform belong to the list that it was taken from.
    manifest.subject = Some(Descriptor::new(&subject.media_type, subject.digest, subject.size));
    manifest.annotations = created.map(|date| (CREATED.to_owned(), date)).into_iter().collect::<BTreeMap<_, _>>();
    layout.add_referrer(&manifest)
}

//! What other tools make of our layouts, and we of theirs: Debian's `skopeo`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use oci::{Archive, Layout, ReadLayout};

use crate::support::registry::{RealRegistry, find};
use crate::support::*;

/// Runs skopeo, which must succeed; returns what it prints.
fn skopeo(dir: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(find("skopeo"));
    command.args(["--insecure-policy", "--override-os", "linux", "--override-arch", "amd64"]).args(arguments);
    // It keeps its temporary files, and looks for credentials, nowhere else.
    command.env("TMPDIR", dir).env("HOME", dir).env("XDG_RUNTIME_DIR", dir).current_dir(dir);
    let done = process::run(&mut command, Duration::from_secs(120)).unwrap();
    assert!(done.status.success(), "skopeo {arguments:?}: {}", done.stderr);
    done.stdout
}

#[test]
fn skopeo_reads_our_layouts() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let told = skopeo(dir.path(), &["inspect", "oci:layout:v1"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["Architecture"], "amd64");
    let layers: Vec<String> = artefact.layers.iter().map(|layer| layer.digest.to_string()).collect();
    assert_eq!(told["Layers"], serde_json::json!(layers));
    let raw = skopeo(dir.path(), &["inspect", "--raw", "oci:layout:v1"]);
    assert_eq!(oci::Digest::of(raw.as_bytes()), artefact.index.digest);
}

#[test]
fn what_skopeo_copies_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let registry = RealRegistry::start();
    // Ours to a registry by skopeo, with everything that the index lists; from there to a layout and an archive of its own.
    let remote = format!("docker://{}/{REPOSITORY}:v1", registry.host);
    let copy = ["copy", "--all", "--dest-tls-verify=false", "--src-tls-verify=false"];
    skopeo(dir.path(), &[&copy[..], &["oci:layout:v1", &remote]].concat());
    let resolved = source(&registry.host).resolve(&amd64()).unwrap();
    assert_eq!((resolved.root.digest, resolved.descriptor.digest), (artefact.index.digest, artefact.manifest.digest));
    skopeo(dir.path(), &[&copy[..], &[&remote, "oci:theirs:v1"]].concat());
    skopeo(dir.path(), &["copy", "--src-tls-verify=false", &remote, "oci-archive:theirs.tar:v1"]);
    let theirs = Layout::open(&dir.path().join("theirs")).unwrap();
    assert_eq!(theirs.resolve(Some("v1")).unwrap().digest, artefact.index.digest);
    let archive = Archive::open(&dir.path().join("theirs.tar")).unwrap();
    assert_eq!(archive.resolve(None).unwrap().digest, artefact.manifest.digest);
    for (n, reference) in ["oci:theirs:v1", "oci-archive:theirs.tar"].iter().enumerate() {
        let (kind, rest) = reference.split_once(':').unwrap();
        let reference = format!("{kind}:{}/{rest}", dir.path().display()).parse().unwrap();
        let cache = cache(&dir.path().join(n.to_string()));
        let source = oci::Source::open(&reference, &access(oci::Credentials::Anonymous)).unwrap();
        pull(&source, &cache).unwrap();
        assert_complete(&cache, &artefact);
    }
}

#[test]
fn the_list_of_referrers_survives_a_copy_by_its_tag() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let tag = artefact.index.digest.fallback_tag();
    skopeo(dir.path(), &["copy", "--all", "oci:layout:v1", "oci:theirs:v1"]);
    skopeo(dir.path(), &["copy", "--all", &format!("oci:layout:{tag}"), &format!("oci:theirs:{tag}")]);
    let theirs = Layout::open(&dir.path().join("theirs")).unwrap();
    let found = theirs.referrers(&artefact.index.digest).unwrap();
    assert_eq!(found.iter().map(|one| one.digest).collect::<Vec<_>>(), [artefact.signature.digest]);
    assert_eq!(theirs.resolve(None).unwrap().digest, artefact.index.digest);
}

//! Pulling from layouts, as from a registry.

use std::fs;

use diagnostic::codes;
use oci::{Credentials, Reference, Source};
use tar::Builder;

use crate::support::*;

fn open(reference: &str) -> diagnostic::Result<Source> {
    Source::open(&reference.parse::<Reference>().unwrap(), &access(Credentials::Anonymous))
}

#[test]
fn layouts_and_archives_are_pulled_like_registries() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let tar = dir.path().join("layout.tar");
    let mut builder = Builder::new(fs::File::create(&tar).unwrap());
    builder.append_dir_all("", artefact.layout.root()).unwrap();
    builder.into_inner().unwrap();
    let layout = format!("oci:{}", artefact.layout.root().display());
    let archive = format!("oci-archive:{}", tar.display());
    for name in [&layout, &archive] {
        for reference in [
            name.clone(),
            format!("{name}:v1"),
            format!("{name}:v1@{}", artefact.index.digest),
            format!("{name}@{}", artefact.index.digest),
            format!("{name}@{}", artefact.manifest.digest),
        ] {
            let cache_dir = tempfile::tempdir().unwrap();
            let cache = cache(cache_dir.path());
            let source = open(&reference).unwrap();
            let mut last = (0, 0);
            let pulled = oci::pull(&source, &amd64(), &cache, &mut |done, total| last = (done, total)).unwrap();
            assert_complete(&cache, &artefact);
            assert_eq!(pulled.descriptor.digest, artefact.manifest.digest);
            assert_eq!(last, (artefact.bytes(), artefact.bytes()));
            assert_eq!(source.referrers(&artefact.index.digest).unwrap()[0].digest, artefact.signature.digest);
            let again = open(&pulled.pinned().to_string()).unwrap();
            assert_eq!(again.resolve(&amd64()).unwrap().manifest, pulled.manifest);
        }
        let zero = "0".repeat(64);
        assert_eq!(
            open(&format!("{name}:v1@sha256:{zero}")).unwrap().resolve(&amd64()).unwrap_err().code(),
            codes::DIGEST_MISMATCH
        );
        assert_eq!(
            open(&format!("{name}@sha256:{zero}")).unwrap().resolve(&amd64()).unwrap_err().code(),
            codes::NOT_FOUND
        );
        assert_eq!(open(&format!("{name}:v2")).unwrap().resolve(&amd64()).unwrap_err().code(), codes::NOT_FOUND);
    }
    assert_eq!(open("oci:/no/such/layout").unwrap_err().code(), codes::NOT_FOUND);
}

#[test]
fn a_damaged_layout_brings_nothing_damaged_into_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let layer = &artefact.layers[1];
    let path = artefact.layout.blob_path(&layer.digest);
    let mut content = fs::read(&path).unwrap();
    content[1_000_000] ^= 1;
    fs::write(&path, content).unwrap();
    let cache = cache(dir.path());
    let source = open(&format!("oci:{}", artefact.layout.root().display())).unwrap();
    let error = pull(&source, &cache).unwrap_err();
    assert_eq!(error.code(), codes::DIGEST_MISMATCH);
    assert!(error.to_string().contains(&layer.digest.to_string()), "{error}");
    assert!(files(&cache).iter().all(|name| !name.starts_with(&layer.digest.sha256().to_string())));
    assert_honest(&cache);
}

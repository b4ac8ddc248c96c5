//! Artefacts and registries that are not what they should be.

use std::fs;

use diagnostic::{Code, codes};
use oci::{Descriptor, Manifest, Platform};
use testkit::proxy::{Fault, Proxy, rule};

use crate::artefacts::{self, Artefact};
use crate::home::{Home, Published, reference};

/// Changes one bit in the middle of a file.
fn flip(path: &std::path::Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_bit_in_the_registry_is_noticed_and_the_active_build_stays() {
    let published = Published::installed();
    let (home, v1) = (&published.home, &published.v1);
    let v2 = published.publish_v2();
    flip(&published.registry.blob_path(&v2.layer().digest.sha256().to_string()));
    let why = format!("`{}` is expected", v2.layer().digest);
    home.run(&published.install(&["--update"])).fails(codes::DIGEST_MISMATCH, &why);
    home.assert_active(v1);
    assert_eq!(home.builds(), [v1.id.to_string()]);
    assert!(!home.cached().contains(&v2.layer().digest.sha256().to_string()), "the wrong blob is not kept");
    home.run(&["verify", &published.reference, "--key", &published.keys.public]).fails(codes::DIGEST_MISMATCH, &why);
}

#[test]
fn a_bit_that_flips_on_the_way_is_noticed() {
    let published = Published::new();
    let home = &published.home;
    let flips = rule(format!("/blobs/{}", published.v1.layer().digest), 1, Fault::Flip(1_000_000));
    let proxy = Proxy::start(&published.registry.host, vec![flips]);
    let reference = reference(&proxy.host);
    home.run(&published.install_from(&reference, &[])).fails(codes::DIGEST_MISMATCH, "is expected");
    home.assert_nothing_installed();
    home.run(&published.install_from(&reference, &[])).succeeds();
    home.assert_active(&published.v1);
}

#[test]
fn a_download_that_this_disk_damaged_is_dropped_and_the_next_run_works() {
    let published = Published::new();
    let (home, layer) = (&published.home, published.v1.layer());
    let cached = home.store.cache().join("blobs/sha256").join(layer.digest.sha256().to_string());
    fs::create_dir_all(cached.parent().unwrap()).unwrap();
    let whole = fs::read(published.v1.layout.blob_path(&layer.digest)).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for wrong in [flipped, vec![1; whole.len()]] {
        fs::write(&cached, wrong).unwrap();
        let failed = home.run(&published.install(&[]));
        // Whoever notices first says it: the decompressor, or the digest.
        let by_digest = failed.exit == Some(codes::DIGEST_MISMATCH.exit.into());
        let code = if by_digest { codes::DIGEST_MISMATCH } else { codes::ARCHIVE_INVALID };
        failed.fails(code, "").saying("running it again helps");
        home.assert_nothing_installed();
        assert_eq!(home.cached(), [""; 0]);
    }
    home.run(&published.install(&[])).succeeds();
    home.assert_active(&published.v1);
}

#[test]
fn a_flipped_bit_in_a_layout_is_noticed() {
    let home = Home::new();
    let v1 = artefacts::v1(home.path());
    flip(&v1.layout.blob_path(&v1.layer().digest));
    for command in ["install-fast", "verify"] {
        home.run(&[command, &v1.reference(), "--allow-unsigned"]).fails(codes::DIGEST_MISMATCH, "layout");
    }
    home.assert_nothing_installed();
}

#[test]
fn a_blob_that_the_registry_lost_is_named() {
    let published = Published::new();
    fs::remove_file(published.stored_layer()).unwrap();
    let why = format!("blob `{}`", published.v1.layer().digest);
    published.home.run(&published.install(&[])).fails(codes::NOT_FOUND, &why);
    published.home.assert_nothing_installed();
}

/// Changes `v1`, and expects this error from the registry and from the layout.
#[track_caller]
fn refused(manifest: impl FnOnce(&mut Manifest), entry: impl FnOnce(&mut Descriptor), code: &Code, saying: &str) {
    let (home, registry) = (Home::new(), testkit::registry::RealRegistry::start());
    let v1 = artefacts::v1(home.path());
    v1.change(manifest, entry);
    let reference = reference(&registry.host);
    put(&registry, &v1);
    for reference in [reference, v1.reference()] {
        home.run(&["install-fast", &reference, "--allow-unsigned"]).fails(code, saying);
        home.assert_nothing_installed();
    }
}

/// Stores a layout in the registry without looking at it, as `push` would.
fn put(registry: &testkit::registry::RealRegistry, artefact: &Artefact) {
    use oci::ReadLayout as _;
    // The blobs come with an artefact that is whole.
    let home = Home::new();
    home.push(&artefacts::v1(home.path()), &reference(&registry.host), None).succeeds();
    let (manifest, _) = artefact.manifest();
    let bytes = fs::read(artefact.layout.blob_path(&manifest.digest)).unwrap();
    registry.put_manifest(&manifest.digest.to_string(), &manifest.media_type, &bytes);
    let (index, bytes) = (artefact.index(), artefact.layout.document(&artefact.index()).unwrap().1);
    registry.put_manifest("stable", &index.media_type, &bytes);
}

#[test]
fn a_layer_of_another_size_is_refused() {
    refused(|manifest| manifest.layers[0].size += 1, |_| {}, codes::DIGEST_MISMATCH, "are expected");
    refused(|manifest| manifest.layers[0].size -= 1, |_| {}, codes::DIGEST_MISMATCH, "are expected");
}

#[test]
fn an_index_without_our_platform_is_refused() {
    let riscv = |entry: &mut Descriptor| entry.platform = Some(Platform::new("linux", "riscv64"));
    refused(|_| {}, riscv, codes::NO_PLATFORM, "linux/riscv64");
}

#[test]
fn what_is_not_an_artefact_of_ours_is_refused() {
    let other = |manifest: &mut Manifest| manifest.artifact_type = Some("application/vnd.example.v1".to_owned());
    refused(other, |entry| entry.artifact_type = None, codes::MANIFEST_INVALID, "is not a Caravan artefact");
}

#[test]
fn an_artefact_that_promises_another_build_is_refused() {
    let other = |manifest: &mut Manifest| {
        let id = manifest.annotations.get_mut("dev.caravan.build-id").unwrap();
        id.replace_range(id.len() - 8.., "00000000");
    };
    refused(other, |_| {}, codes::ARCHIVE_INVALID, "it promises `portable-0.5.0-0c1e5709-00000000`");
}

#[test]
fn an_artefact_that_promises_the_impossible_is_refused() {
    let annotation = "dev.caravan.uncompressed-size";
    let promise = |bytes: u64| {
        move |manifest: &mut Manifest| {
            let promised = manifest.annotations.insert(annotation.to_owned(), bytes.to_string());
            assert!(promised.is_some(), "{:?}", manifest.annotations.keys());
        }
    };
    refused(promise(u64::MAX), |_| {}, codes::DISK_FULL, "are needed");
    refused(promise(1_000_000), |_| {}, codes::ARCHIVE_INVALID, "1000000 bytes");
}

//! What an artefact says before it is downloaded, and what is refused to be one.

use artefact::{ARTIFACT_TYPE, Offer, Split};
use diagnostic::codes;
use insta::assert_snapshot;
use oci::{Descriptor, Manifest, Platform, ReadLayout};
use proptest::prelude::*;

use crate::support::*;

fn refused(manifest: &Manifest) -> String {
    let error = Offer::read(&manifest.to_json(), "`x`").unwrap_err();
    assert_eq!(error.code(), codes::MANIFEST_INVALID, "{error}");
    error.to_string()
}

#[test]
fn an_artefact_says_what_it_offers() {
    let image = image(Split::Backends);
    let (_, bytes) = image.layout.document(&image.packed.manifest).unwrap();
    let offer = Offer::read(&bytes, "`x`").unwrap();
    assert_eq!(offer.manifest, image.packed.manifest.digest);
    assert_eq!((offer.version.as_str(), offer.commit.as_str()), ("0.5.0", COMMIT));
    assert_eq!(offer.variants, ["x64", "haswell"]);
    assert_eq!(offer.glibc_floor.as_deref(), Some("2.27"));
    let layers = &image.packed.layers;
    assert_eq!(offer.uncompressed_size, layers.iter().map(|layer| layer.uncompressed_size).sum::<u64>());
    let config = image.manifest().config.size;
    assert_eq!(offer.compressed_size, layers.iter().map(|layer| layer.descriptor.size).sum::<u64>() + config);
    assert_eq!(offer.platform, Platform::new("linux", "amd64"));
    assert!(offer.to_string().contains("glibc     2.27 or newer"), "{offer}");
}

#[test]
fn other_manifests_are_not_offers() {
    let ours = image(Split::One).manifest();
    let with = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = ours.clone();
        change(&mut manifest);
        refused(&manifest)
    };
    let set = |key: &'static str, value: &'static str| {
        with(&|manifest| drop(manifest.annotations.insert(key.to_owned(), value.to_owned())))
    };
    let messages = [
        with(&|manifest| manifest.artifact_type = None),
        with(&|manifest| manifest.artifact_type = Some("application/vnd.cncf.helm.config.v1+json\u{1b}[2J".to_owned())),
        with(&|manifest| drop(manifest.annotations.remove("dev.caravan.build-id"))),
        set("dev.caravan.build-id", "../../etc"),
        set("dev.caravan.uncompressed-size", "-1"),
        set("dev.caravan.uncompressed-size", "99999999999999999999999"),
        set("dev.caravan.platform", "amd64"),
        set("dev.caravan.glibc-floor", "2\u{1b}[2J"),
        set("org.opencontainers.image.revision", "main"),
        set("org.opencontainers.image.version", ""),
    ];
    assert_snapshot!(messages.join("\n"), @r#"
    `x` is not a Caravan artefact: it is of the type `application/vnd.oci.image.config.v1+json`
    `x` is not a Caravan artefact: it is of the type `application/vnd.cncf.helm.config.v1+json\u{1b}[2J`
    `x` is refused: its annotation `dev.caravan.build-id` is missing
    `x` is refused: its annotation `dev.caravan.build-id` is wrong: `../../etc` is not a build id `<kind>-<llama version>-<commit8>-<content hash8>`
    `x` is refused: its annotation `dev.caravan.uncompressed-size` is not a number of bytes
    `x` is refused: its annotation `dev.caravan.uncompressed-size` is not a number of bytes
    `x` is refused: its annotation `dev.caravan.platform` is not `<system>/<architecture>`
    `x` is refused: its annotation `dev.caravan.glibc-floor` is empty, too long or not printable
    `x` is refused: its annotation `org.opencontainers.image.revision` is not a commit of 40 hexadecimal digits
    `x` is refused: its annotation `org.opencontainers.image.version` is empty, too long or not printable
    "#);
}

proptest! {
    /// Whatever annotations say, reading them ends in an offer or one error.
    #[test]
    fn annotations_are_believed_or_refused(values in prop::collection::vec(".{0,40}", 6)) {
        let mut manifest = Manifest::new(Descriptor::empty_config(), Vec::new());
        manifest.artifact_type = Some(ARTIFACT_TYPE.to_owned());
        let keys = ["org.opencontainers.image.revision", "org.opencontainers.image.version", "dev.caravan.variants",
            "dev.caravan.uncompressed-size", "dev.caravan.build-id", "dev.caravan.platform"];
        manifest.annotations = keys.iter().map(|key| (*key).to_owned()).zip(values).collect();
        if let Err(error) = Offer::read(&manifest.to_json(), "`x`") {
            prop_assert_eq!(error.code(), codes::MANIFEST_INVALID);
            prop_assert!(!error.to_string().contains(char::is_control));
        }
    }
}

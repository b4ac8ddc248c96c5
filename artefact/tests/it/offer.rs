//! What an artefact says before it is downloaded, and what is refused to be one.

use artefact::{ARTIFACT_TYPE, Offer, Split, offer, pack};
use diagnostic::codes;
use insta::assert_snapshot;
use oci::{Descriptor, Digest, Document, Index, Manifest, Platform, ReadLayout};
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
    let index = pack::publish(&image.layout, std::slice::from_ref(&image.packed), "a").unwrap();
    let (Document::Index(index), _) = image.layout.document(&index).unwrap() else { panic!() };
    let entry = offer::select(&index, &Platform::new("linux", "amd64"), "`x`").unwrap();
    let (_, bytes) = image.layout.document(entry).unwrap();
    let offer = Offer::read(&bytes, "`x`").unwrap();
    assert_eq!(offer.manifest, image.packed.manifest.digest);
    assert_eq!((offer.version.as_str(), offer.commit.as_str()), ("0.5.0", COMMIT));
    assert_eq!(offer.variants, ["x64", "haswell"]);
    assert_eq!(offer.glibc_floor.as_deref(), Some("2.27"));
    let layers = &image.packed.layers;
    assert_eq!(offer.uncompressed_size, layers.iter().map(|layer| layer.uncompressed_size).sum::<u64>());
    let config = image.manifest().config.size;
    assert_eq!(offer.compressed_size, layers.iter().map(|layer| layer.descriptor.size).sum::<u64>() + config);
    let error = offer::select(&index, &Platform::new("linux", "arm64"), "`x`").unwrap_err();
    assert_eq!(error.code(), codes::NO_PLATFORM);
    assert_snapshot!(error, @"`x` has no entry for `linux/arm64`; it has `linux/amd64`");
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

#[test]
fn an_index_of_other_artefacts_is_not_ours() {
    let entry = |kind: Option<&str>| {
        let mut entry = Descriptor::new(oci::IMAGE_MANIFEST, Digest::of(b"x"), 1);
        entry.platform = Some(Platform::new("linux", "amd64"));
        entry.artifact_type = kind.map(str::to_owned);
        entry
    };
    let amd64 = Platform::new("linux", "amd64");
    let error = offer::select(&Index::new(vec![entry(Some("chart"))]), &amd64, "`x`").unwrap_err();
    assert_eq!(error.code(), codes::MANIFEST_INVALID);
    assert_snapshot!(error, @"`x` is not a Caravan artefact: it lists none");
    assert!(offer::select(&Index::new(Vec::new()), &amd64, "`x`").is_err());
    // Tools that copy an index may drop the type; the manifest will tell.
    let index = Index::new(vec![entry(Some("chart")), entry(None)]);
    assert_eq!(offer::select(&index, &amd64, "`x`").unwrap().artifact_type, None);
    let index = Index::new(vec![entry(Some(ARTIFACT_TYPE))]);
    assert!(offer::select(&index, &amd64, "`x`").is_ok());
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

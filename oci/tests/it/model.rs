//! Manifests and indexes: what is written, what is refused.

use diagnostic::codes;
use insta::assert_snapshot;
use oci::{
    Descriptor, Digest, Document, EMPTY_JSON, IMAGE_CONFIG, IMAGE_INDEX, IMAGE_MANIFEST, Index, LAYER_TAR_ZSTD,
    MANIFEST_LIMIT, Manifest, Platform,
};
use proptest::prelude::*;

fn manifest() -> Manifest {
    let config = Descriptor::of(IMAGE_CONFIG, EMPTY_JSON);
    let layer = Descriptor::of(LAYER_TAR_ZSTD, b"layer").annotate("z", "2").annotate("a", "1");
    let mut manifest = Manifest::new(config, vec![layer]);
    manifest.artifact_type = Some("application/vnd.example.v1".to_owned());
    manifest.annotations.insert("org.opencontainers.image.version".to_owned(), "1.0".to_owned());
    manifest
}

fn index(entries: &[(&str, &str, Option<&str>)]) -> Index {
    let entry = |(n, (os, architecture, variant)): (usize, &(&str, &str, Option<&str>))| {
        let mut platform = Platform::new(*os, *architecture);
        platform.variant = variant.map(str::to_owned);
        Descriptor { platform: Some(platform), ..Descriptor::of(IMAGE_MANIFEST, &[u8::try_from(n).unwrap()]) }
    };
    Index::new(entries.iter().enumerate().map(entry).collect())
}

fn chosen(index: &Index, platform: &Platform) -> usize {
    let found = index.select(platform, "the index").unwrap();
    index.manifests.iter().position(|entry| entry == found).unwrap()
}

fn refused(json: &str) -> String {
    let error = Document::parse(json.as_bytes(), None, "the manifest").unwrap_err();
    assert_eq!(error.code(), codes::MANIFEST_INVALID);
    error.to_string()
}

#[test]
fn json_is_compact_ordered_and_stable() {
    let json = manifest().to_json();
    assert_snapshot!(std::str::from_utf8(&json).unwrap(), @r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.example.v1","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+zstd","digest":"sha256:dac1d7cfa95021764849fd102524e141488c5e3a90f861dbb5a12d9ac8584f85","size":5,"annotations":{"a":"1","z":"2"}}],"annotations":{"org.opencontainers.image.version":"1.0"}}"#);
    assert_eq!(Manifest::parse(&json, "it").unwrap(), manifest());
    assert_eq!(Digest::of(&json), Digest::of(&Manifest::parse(&json, "it").unwrap().to_json()));
}

#[test]
fn the_empty_descriptor_is_the_one_of_the_specification() {
    let empty = Descriptor::empty_config();
    assert_eq!(empty.size, 2);
    assert_eq!(empty.digest.to_string(), "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
}

#[test]
fn what_we_do_not_know_survives_in_an_index() {
    let json = r#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"platform":{"architecture":"amd64","os":"windows","os.version":"10.0"},"urls":["https://example.org"]}],"new":{"a":[1]}}"#;
    let written = Index::parse(json.as_bytes(), "it").unwrap().to_json();
    assert_eq!(String::from_utf8(written).unwrap(), json);
}

#[test]
fn dockers_types_and_gos_nulls_are_understood() {
    let list = r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":null}"#;
    assert!(Index::parse(list.as_bytes(), "it").unwrap().manifests.is_empty());
    let config = r#"{"mediaType":"application/vnd.docker.container.image.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}"#;
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{config},"layers":null}}"#
    );
    assert_eq!(
        Manifest::parse(manifest.as_bytes(), "it").unwrap().kind(),
        "application/vnd.docker.container.image.v1+json"
    );
}

#[test]
fn damaged_manifests_are_refused() {
    assert_snapshot!(refused(""), @"the manifest is refused: its JSON is damaged: EOF while parsing a value at line 1 column 0");
    assert_snapshot!(refused("{}"), @"the manifest is refused: its `schemaVersion` is not 2");
    assert_snapshot!(refused(r#"{"schemaVersion":1}"#), @"the manifest is refused: its `schemaVersion` is not 2");
    assert_snapshot!(refused(r#"{"schemaVersion":2}"#), @"the manifest is refused: its JSON is damaged: missing field `config` at line 1 column 19");
    assert_snapshot!(refused(r#"{"schemaVersion":2,"mediaType":"text/html","layers":[]}"#), @"the manifest is refused: its type `text/html` is neither a manifest nor an index");
    assert_snapshot!(refused(r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#), @"the manifest is refused: it is an index and a manifest at once");
    assert_snapshot!(refused(r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","layers":[]}"#), @"the manifest is refused: it is called `application/vnd.oci.image.index.v1+json` but has the content of another type");
    assert_snapshot!(refused(r#"{"schemaVersion":2,"manifests":[{"mediaType":"a","size":1,"digest":"sha256:../../etc/passwd"}]}"#), @"the manifest is refused: its JSON is damaged: `sha256:../../etc/passwd` is not a digest of `sha256:` and 64 lower-case hexadecimal digits at line 1 column 93");
    assert_snapshot!(refused(r#"{"schemaVersion":2,"manifests":[{"mediaType":"a","size":-1,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}]}"#), @"the manifest is refused: its JSON is damaged: invalid value: integer `-1`, expected u64 at line 1 column 58");
    let told = Document::parse(&manifest().to_json(), Some(IMAGE_INDEX), "the answer").unwrap_err();
    assert_snapshot!(told, @"the answer is refused: it is called `application/vnd.oci.image.index.v1+json` but has the content of another type");
}

#[test]
fn sizes_and_counts_are_bounded() {
    let padded =
        format!("{{\"schemaVersion\":2,\"manifests\":[]{}}}", " ".repeat(usize::try_from(MANIFEST_LIMIT).unwrap()));
    assert!(refused(&padded).contains("larger than"));
    assert!(refused(&"[".repeat(1 << 20)).contains("JSON"));
    let mut many = manifest();
    many.layers = vec![many.config.clone(); 2000];
    assert!(refused(std::str::from_utf8(&many.to_json()).unwrap()).contains("layers"));
    let mut huge = manifest();
    huge.layers = vec![Descriptor { size: i64::MAX as u64, ..huge.config.clone() }; 3];
    assert!(refused(std::str::from_utf8(&huge.to_json()).unwrap()).contains("do not add up"));
    huge.layers[0].size += 1;
    assert!(refused(std::str::from_utf8(&huge.to_json()).unwrap()).contains("impossible size"));
    let entries = Index::new(vec![Descriptor::empty_config(); 5000]);
    assert!(refused(std::str::from_utf8(&entries.to_json()).unwrap()).contains("entries"));
    let mut annotated = manifest();
    annotated.annotations = (0..2000).map(|n| (n.to_string(), String::new())).collect();
    assert!(refused(std::str::from_utf8(&annotated.to_json()).unwrap()).contains("annotations"));
}

#[test]
fn the_plain_entry_of_a_platform_is_chosen() {
    let amd64 = Platform::new("linux", "amd64");
    let levels = index(&[
        ("unknown", "unknown", None),
        ("linux", "arm64", Some("v8")),
        ("linux", "amd64", Some("v3")),
        ("linux", "amd64", None),
        ("linux", "amd64", Some("v1")),
    ]);
    assert_eq!(chosen(&levels, &amd64), 3);
    assert_eq!(chosen(&levels, &Platform::new("linux", "arm64")), 1);
    let mut v3 = amd64.clone();
    v3.variant = Some("v3".to_owned());
    let only_levels = index(&[("linux", "amd64", Some("v4")), ("linux", "amd64", Some("v3"))]);
    assert_eq!(chosen(&only_levels, &v3), 1);
    let error = only_levels.select(&amd64, "`example.org/a:1`").unwrap_err();
    assert_eq!(error.code(), codes::NO_PLATFORM);
    assert_snapshot!(error, @"`example.org/a:1` has no entry for `linux/amd64`; it has `linux/amd64/v3`, `linux/amd64/v4`");
    assert_snapshot!(index(&[("unknown", "unknown", None)]).select(&amd64, "`a`").unwrap_err(), @"`a` has no entry for `linux/amd64`; it names no platform at all");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Document::parse(&bytes, None, "it");
    }

    #[test]
    fn no_damage_panics(at in 0usize..400, byte in any::<u8>()) {
        let mut json = manifest().to_json();
        let at = at % json.len();
        json[at] = byte;
        // Whatever is read can be written, and read again as the same.
        if let Ok(Document::Manifest(read)) = Document::parse(&json, None, "it") {
            prop_assert_eq!(Manifest::parse(&read.to_json(), "it").unwrap(), read);
        }
    }
}

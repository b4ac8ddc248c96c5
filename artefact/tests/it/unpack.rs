//! From an image back to the files of the build.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use artefact::{Bounds, Offer, Split, unpack};
use build_info::{BuildInfo, BuildKind};
use diagnostic::{Error, Result, codes};
use insta::assert_snapshot;
use oci::{Descriptor, Digest, IMAGE_CONFIG, LAYER_TAR_GZIP, LAYER_TAR_ZSTD, Manifest, ReadLayout};
use tar::EntryType;

use crate::support::*;

/// Bounds that small tests can exceed.
pub(crate) const BOUNDS: Bounds = Bounds { entries: 20, file: 1000, total: 100_000 };

/// An artefact made by hand.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) manifest: Manifest,
    pub(crate) blobs: BTreeMap<Digest, Vec<u8>>,
    pub(crate) bounds: Bounds,
}

/// Layers, and the tars that the configuration says they hold.
pub(crate) fn made(layers: &[Vec<u8>], tars: &[&[u8]]) -> Made {
    let diff_ids: Vec<String> = tars.iter().map(|tar| Digest::of(tar).to_string()).collect();
    let config = serde_json::json!({ "rootfs": { "type": "layers", "diff_ids": diff_ids } }).to_string().into_bytes();
    let descriptors = layers.iter().map(|layer| Descriptor::of(LAYER_TAR_ZSTD, layer)).collect();
    let manifest = Manifest::new(Descriptor::of(IMAGE_CONFIG, &config), descriptors);
    let blobs = layers.iter().cloned().chain([config]).map(|blob| (Digest::of(&blob), blob)).collect();
    Made { manifest, blobs, bounds: BOUNDS }
}

impl Made {
    pub(crate) fn unpack(&self, into: &Path) -> Result<BuildInfo> {
        let mut open = |descriptor: &Descriptor| -> Result<Box<dyn Read + Send>> {
            Ok(Box::new(io::Cursor::new(self.blobs[&descriptor.digest].clone())))
        };
        unpack(&self.manifest, &mut open, self.bounds, into)
    }
}

/// Unpacks into a fresh directory and checks that nothing was written beside it.
pub(crate) fn try_unpack(made: &Made) -> Result<BuildInfo> {
    let dir = tempfile::tempdir().unwrap();
    let into = dir.path().join("a/b/c");
    fs::create_dir_all(&into).unwrap();
    let result = made.unpack(&into);
    let inside = listing(&into).len();
    assert_eq!(listing(dir.path()).len(), inside + 3, "something was written outside");
    result
}

/// A tar of a whole build, with these changes to its files; nothing takes a file away.
fn build(changes: &[(&str, Option<&[u8]>)]) -> Vec<u8> {
    build_of(info(), changes)
}

fn build_of(mut info: BuildInfo, changes: &[(&str, Option<&[u8]>)]) -> Vec<u8> {
    let mut files: BTreeMap<String, Vec<u8>> =
        [("bin/a", &b"a"[..]), ("lib/b", b"b")].map(|(path, data)| (path.to_owned(), data.to_vec())).into();
    info.digests = files.iter().map(|(path, data)| (path.clone(), sha256(data))).collect();
    info.cmake_flags.clear();
    files.insert("lib/build_info.json".to_owned(), serde_json::to_vec(&info).unwrap());
    for (path, data) in changes {
        match data {
            Some(data) => drop(files.insert((*path).to_owned(), data.to_vec())),
            None => drop(files.remove(*path)),
        }
    }
    files.iter().flat_map(|(path, data)| file(&format!("opt/caravan/{path}"), data)).collect()
}

/// With bounds that a build information fits into.
fn roomy(layers: &[Vec<u8>], tars: &[&[u8]]) -> Made {
    Made { bounds: Bounds { file: 10_000, ..BOUNDS }, ..made(layers, tars) }
}

#[test]
fn what_was_packed_comes_out() {
    for split in [Split::One, Split::Backends] {
        let (image, tree) = (image(split), sealed());
        let dir = tempfile::tempdir().unwrap();
        // A staging directory of the store holds these from the start.
        for part in ["bin", "lib", "share"] {
            fs::create_dir(dir.path().join(part)).unwrap();
        }
        let manifest = image.manifest();
        let offer = Offer::of(&manifest, image.packed.manifest.digest, "`x`").unwrap();
        let info = unpack(&manifest, &mut blobs(&image.layout), Bounds::of(&offer), dir.path()).unwrap();
        assert_eq!(info.id().unwrap(), offer.build_id);
        assert_eq!(listing(dir.path()), listing(tree.path()));
        assert_eq!(info, BuildInfo::read(&tree.path().join("lib/build_info.json")).unwrap());
    }
}

#[test]
fn modes_become_644_or_755_and_owners_ours() {
    let build = build(&[]);
    let tar = [
        entry("./opt/caravan/", EntryType::Directory, 0o777, 0, b""),
        entry("opt/caravan/lib", EntryType::Directory, 0o1777, 0, b""),
        build[1024..].to_vec(),
        entry("opt/caravan/bin/a", EntryType::Regular, 0o4711, 1, b"a"),
        vec![0; 10_240],
    ];
    let dir = tempfile::tempdir().unwrap();
    roomy(&[zstd(&tar.concat())], &[&tar.concat()]).unpack(dir.path()).unwrap();
    let modes: Vec<_> = listing(dir.path()).into_iter().map(|(path, mode, _)| format!("{path} {mode:o}")).collect();
    assert_eq!(modes, ["bin 755", "bin/a 755", "lib 755", "lib/b 644", "lib/build_info.json 644"]);
}

#[test]
fn layers_that_another_tool_has_compressed_with_gzip_unpack() {
    let tar = build(&[]);
    let (first, second) = (gzip(&tar[..512]), gzip(&tar[512..]));
    for kind in [LAYER_TAR_GZIP, "application/vnd.docker.image.rootfs.diff.tar.gzip"] {
        // Two members in one stream, as tools that compress in parallel write.
        let mut made = roomy(&[[first.clone(), second.clone()].concat()], &[&tar]);
        made.manifest.layers[0].media_type = kind.to_owned();
        try_unpack(&made).unwrap();
    }
}

#[test]
fn two_layers_may_share_directories_and_no_file() {
    let tar = build(&[]);
    let (one, two) = tar.split_at(1024);
    try_unpack(&roomy(&[zstd(one), zstd(two)], &[one, two])).unwrap();
    let says = |one: &[u8], two: &[u8]| {
        let error = try_unpack(&roomy(&[zstd(one), zstd(two)], &[one, two])).unwrap_err();
        assert_eq!(error.code(), codes::ARCHIVE_INVALID);
        error.to_string().replace(&Digest::of(&zstd(two)).to_string(), "SECOND")
    };
    assert_snapshot!(says(&tar, one), @"layer `SECOND` is refused: entry `opt/caravan/bin/a` appears twice");
    assert_snapshot!(says(&tar, &file("opt/caravan/bin", b"")), @"layer `SECOND` is refused: entry `opt/caravan/bin` collides with an earlier directory");
    assert_snapshot!(says(&tar, &file("opt/caravan/lib/b/c", b"")), @"layer `SECOND` is refused: entry `opt/caravan/lib/b/c` collides with an earlier file");
    assert_snapshot!(says(&tar, &file("opt/caravan/lib/.wh.b", b"")), @"layer `SECOND` is refused: entry `opt/caravan/lib/.wh.b` is a whiteout");
}

#[test]
fn a_layer_that_is_not_the_one_that_the_configuration_names_is_refused() {
    let tar = build(&[]);
    let padded = [tar.clone(), vec![0; 1024]].concat();
    let error = try_unpack(&roomy(&[zstd(&tar)], &[&padded])).unwrap_err();
    assert_eq!(error.code(), codes::DIGEST_MISMATCH);
    let (one, two) = tar.split_at(1024);
    let swapped = try_unpack(&roomy(&[zstd(one), zstd(two)], &[two, one])).unwrap_err();
    assert_eq!(swapped.code(), codes::DIGEST_MISMATCH);
}

#[test]
fn a_build_that_is_not_whole_is_refused() {
    let says = |tar: &[u8]| {
        let error = try_unpack(&roomy(&[zstd(tar)], &[tar])).unwrap_err();
        format!("{}: {error}", error.code().name)
    };
    let newer = BuildInfo { schema_version: 99, ..info() };
    let native = BuildInfo { build_type: BuildKind::Native, ..info() };
    let messages = [
        says(&build(&[("bin/a", Some(b"b"))])),
        says(&build(&[("bin/a", None)])),
        says(&build(&[("bin/c", Some(b""))])),
        says(&build(&[("lib/build_info.json", None)])),
        says(&build(&[("lib/build_info.json", Some(b"{\"schema_version\": 1"))])),
        says(&build_of(newer, &[])),
        says(&build_of(native, &[])),
    ];
    assert_snapshot!(messages.join("\n"), @"
    fetch::digest_mismatch: the artefact is refused: `bin/a` has the digest `sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d`, but `lib/build_info.json` says `sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb`
    fetch::archive_invalid: the artefact is refused: it lacks `bin/a`, which `lib/build_info.json` lists
    fetch::archive_invalid: the artefact is refused: it holds `bin/c`, which `lib/build_info.json` does not list
    fetch::archive_invalid: the artefact is refused: it has no `lib/build_info.json`
    fetch::archive_invalid: the artefact is refused: `lib/build_info.json` is damaged: it is truncated (EOF while parsing an object at line 1 column 20)
    store::schema_newer: `lib/build_info.json` has schema version 99, this program reads up to 1
    fetch::archive_invalid: the artefact is refused: its build is native, not portable
    ");
}

#[test]
fn a_manifest_that_does_not_fit_its_configuration_is_refused() {
    let tar = build(&[]);
    let good = || roomy(&[zstd(&tar)], &[&tar]);
    let with_config = |json: &str| {
        let mut made = good();
        made.manifest.config = Descriptor::of(IMAGE_CONFIG, json.as_bytes());
        made.blobs.insert(made.manifest.config.digest, json.as_bytes().to_vec());
        made
    };
    let says = |made: &Made| {
        let error = try_unpack(made).unwrap_err();
        let digest = made.manifest.config.digest.to_string();
        format!("{}: {error}", error.code().name).replace(&digest, "CONFIG")
    };
    let mut none = good();
    none.manifest.layers.clear();
    let mut many = good();
    many.manifest.layers = vec![many.manifest.layers[0].clone(); 17];
    let mut unknown = good();
    unknown.manifest.layers[0].media_type = "application/x\u{1b}".to_owned();
    let mut huge = good();
    huge.manifest.config.size = 1 << 40;
    let mut other = good();
    other.blobs.insert(other.manifest.config.digest, b"{}".to_vec());
    let messages = [
        says(&none),
        says(&many),
        says(&unknown),
        says(&huge),
        says(&roomy(&[zstd(&tar)], &[&tar, &tar])),
        says(&with_config("{}")),
        says(&with_config("[")),
        says(&with_config(r#"{"rootfs":{"type":"other","diff_ids":[]}}"#)),
        says(&with_config(r#"{"rootfs":{"type":"layers","diff_ids":["md5:1"]}}"#)),
    ];
    assert_snapshot!(messages.join("\n"), @r#"
    oci::manifest_invalid: the manifest is refused: it has 0 layers, where 1 to 16 are expected
    oci::manifest_invalid: the manifest is refused: it has 17 layers, where 1 to 16 are expected
    oci::manifest_invalid: the manifest is refused: a layer is of the unknown type `application/x\u{1b}`
    oci::manifest_invalid: the manifest is refused: its configuration has more than 1048576 bytes
    oci::manifest_invalid: the manifest is refused: it has 1 layers, but its configuration names 2
    oci::manifest_invalid: configuration `CONFIG` is refused: its JSON is damaged: missing field `rootfs` at line 1 column 2
    oci::manifest_invalid: configuration `CONFIG` is refused: its JSON is damaged: EOF while parsing a list at line 1 column 1
    oci::manifest_invalid: configuration `CONFIG` is refused: its `rootfs` is not made of layers
    oci::manifest_invalid: configuration `CONFIG` is refused: its JSON is damaged: `md5:1` is not a digest of `sha256:` and 64 lower-case hexadecimal digits at line 1 column 47
    "#);
    assert_eq!(try_unpack(&other).unwrap_err().code(), codes::DIGEST_MISMATCH);
}

#[test]
fn a_blob_that_cannot_be_read_is_not_a_bad_archive() {
    struct Failing(io::Cursor<Vec<u8>>, io::ErrorKind);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(self.1.into()),
                n => Ok(n),
            }
        }
    }
    let tar = build(&[]);
    let whole = roomy(&[zstd(&tar)], &[&tar]);
    for (kind, code) in [(io::ErrorKind::TimedOut, codes::IO), (io::ErrorKind::InvalidData, codes::DIGEST_MISMATCH)] {
        for half in [true, false] {
            let mut open = |descriptor: &Descriptor| -> Result<Box<dyn Read + Send>> {
                let mut blob = whole.blobs[&descriptor.digest].clone();
                if descriptor.media_type == IMAGE_CONFIG {
                    return Ok(Box::new(io::Cursor::new(blob)));
                }
                if half {
                    blob.truncate(blob.len() / 2);
                }
                Ok(Box::new(Failing(io::Cursor::new(blob), kind)))
            };
            let dir = tempfile::tempdir().unwrap();
            let error = unpack(&whole.manifest, &mut open, whole.bounds, dir.path()).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
        }
    }
    let mut open = |_: &Descriptor| Err(Error::new(codes::NOT_FOUND, "no such blob"));
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(unpack(&whole.manifest, &mut open, BOUNDS, dir.path()).unwrap_err().code(), codes::NOT_FOUND);
}

#[test]
fn a_layout_that_was_tampered_with_is_refused() {
    let image = image(Split::One);
    let layer = &image.packed.layers[0].descriptor;
    let path = image.layout.blob_path(&layer.digest);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(image.layout.read_blob(layer, 1 << 20).is_err());
    let dir = tempfile::tempdir().unwrap();
    let error = unpack(&image.manifest(), &mut blobs(&image.layout), Bounds::MOST, dir.path()).unwrap_err();
    assert!([codes::ARCHIVE_INVALID, codes::DIGEST_MISMATCH].contains(&error.code()), "{error}");
    assert!(image.dir.path().exists());
}

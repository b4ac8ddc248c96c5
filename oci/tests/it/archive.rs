//! Layouts in tar files, honest and hostile.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use diagnostic::codes;
use insta::assert_snapshot;
use oci::{Archive, EMPTY_JSON, IMAGE_CONFIG, LAYER_TAR_ZSTD, Layout, Manifest, ReadLayout};
use tar::{Builder, EntryType, Header};

const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX: &[u8] = br#"{"schemaVersion":2,"manifests":[]}"#;

fn header(kind: EntryType, name: &str, size: u64) -> Header {
    let mut header = Header::new_gnu();
    // Not `set_path`, which refuses what we want to try.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

/// A layout archive with more in it.
fn archive(dir: &Path, more: impl FnOnce(&mut Builder<Vec<u8>>)) -> PathBuf {
    let mut tar = Builder::new(Vec::new());
    for (name, content) in [("oci-layout", MARKER), ("./index.json", INDEX)] {
        tar.append(&header(EntryType::Regular, name, content.len() as u64), content).unwrap();
    }
    more(&mut tar);
    let path = dir.join("a.tar");
    fs::write(&path, tar.into_inner().unwrap()).unwrap();
    path
}

fn refused(path: &Path) -> String {
    let error = Archive::open(path).unwrap_err();
    assert_eq!(error.code(), codes::ARCHIVE_INVALID);
    error.to_string().replace(path.to_str().unwrap(), "a.tar")
}

#[test]
fn an_archive_reads_like_its_layout() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(&dir.path().join("layout")).unwrap();
    let config = layout.put(IMAGE_CONFIG, EMPTY_JSON).unwrap();
    let content: Vec<u8> = (0..1_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let layer = layout.put(LAYER_TAR_ZSTD, &content).unwrap();
    let manifest = layout.put_manifest(&Manifest::new(config, vec![layer.clone()])).unwrap();
    layout.tag(&manifest, "v1").unwrap();
    let mut signature = Manifest::new(oci::Descriptor::empty_config(), vec![]);
    signature.subject = Some(manifest.clone());
    layout.add_referrer(&signature).unwrap();

    let path = dir.path().join("a.tar");
    let mut tar = Builder::new(fs::File::create(&path).unwrap());
    tar.append_dir_all(".", layout.root()).unwrap();
    tar.into_inner().unwrap();
    let archive = Archive::open(&path).unwrap();
    assert_eq!(archive.resolve(Some("v1")).unwrap(), layout.resolve(Some("v1")).unwrap());
    assert_eq!(archive.document(&manifest).unwrap(), layout.document(&manifest).unwrap());
    assert_eq!(archive.referrers(&manifest.digest).unwrap(), layout.referrers(&manifest.digest).unwrap());
    // Two blobs at once, read in turns.
    let (mut one, mut two) = (archive.open_blob(&layer).unwrap(), archive.open_blob(&layer).unwrap());
    let mut half = vec![0; 500_000];
    one.read_exact(&mut half).unwrap();
    let mut rest = Vec::new();
    two.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, content);
    rest.clear();
    one.read_to_end(&mut rest).unwrap();
    assert_eq!([half, rest].concat(), content);

    // A flipped bit anywhere in the layer is found by its reader.
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(100).position(|window| window == &content[500_000..500_100]).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = Archive::open(&path).unwrap().read_blob(&layer, 1 << 20).unwrap_err();
    assert_eq!(error.code(), codes::DIGEST_MISMATCH);
}

#[test]
fn strange_entries_are_ignored_or_refused_but_never_followed() {
    let dir = tempfile::tempdir().unwrap();
    let blob = format!("blobs/sha256/{}", "a".repeat(64));
    let path = archive(dir.path(), |tar| {
        tar.append(&header(EntryType::Regular, "../outside", 3), &b"abc"[..]).unwrap();
        tar.append(&header(EntryType::Symlink, "link", 0), &b""[..]).unwrap();
        tar.append(&header(EntryType::Regular, "blobs/sha256/../../x", 1), &b"x"[..]).unwrap();
    });
    assert!(Archive::open(&path).unwrap().index().unwrap().manifests.is_empty());
    let path = archive(dir.path(), |tar| {
        tar.append(&header(EntryType::Symlink, &blob, 0), &b""[..]).unwrap();
    });
    assert_snapshot!(refused(&path), @"layout archive `a.tar` is refused: `blobs/sha256/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` in it is not a plain file");
    let path = archive(dir.path(), |tar| {
        tar.append(&header(EntryType::Regular, "index.json", 2), &b"{}"[..]).unwrap();
    });
    assert_snapshot!(refused(&path), @"layout archive `a.tar` is refused: `index.json` is in it twice");
}

#[test]
fn damaged_archives_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let blob = format!("blobs/sha256/{}", "a".repeat(64));
    let path = archive(dir.path(), |tar| {
        tar.append(&header(EntryType::Regular, &blob, 100_000), &vec![1; 100_000][..]).unwrap();
    });
    let whole = fs::read(&path).unwrap();
    Archive::open(&path).unwrap();
    fs::write(&path, &whole[..60_000]).unwrap();
    let hints = Archive::open(&path).unwrap_err().hints().join("\n");
    assert_snapshot!(hints, @"copy it again, and compare its sha256 with that of the original");
    assert_snapshot!(refused(&path), @"layout archive `a.tar` is refused: it is truncated within `blobs/sha256/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa`");
    fs::write(&path, b"\x1f\x8b\x08\x00compressed").unwrap();
    assert_snapshot!(refused(&path), @"layout archive `a.tar` is refused: it is compressed");
    fs::write(&path, vec![b'x'; 5000]).unwrap();
    assert!(refused(&path).contains("damaged"));
    fs::write(&path, b"").unwrap();
    assert_eq!(Archive::open(&path).unwrap_err().code(), codes::MANIFEST_INVALID);
    assert_eq!(Archive::open(dir.path()).unwrap_err().code(), codes::ARCHIVE_INVALID);
    assert_eq!(Archive::open(&dir.path().join("none")).unwrap_err().code(), codes::NOT_FOUND);
}

#[test]
fn extended_headers_and_counts_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = archive(dir.path(), |tar| {
        tar.append(&header(EntryType::GNULongName, "long", 2 << 20), &vec![b'a'; 2 << 20][..]).unwrap();
        tar.append(&header(EntryType::Regular, "short", 0), &b""[..]).unwrap();
    });
    assert_snapshot!(refused(&path), @"layout archive `a.tar` is refused: it has an extended header of 2097152 bytes");
    let path = archive(dir.path(), |tar| {
        for _ in 0..100_001 {
            tar.append(&header(EntryType::Regular, "x", 0), &b""[..]).unwrap();
        }
    });
    assert_snapshot!(refused(&path), @"layout archive `a.tar` is refused: it has more than 100000 entries");
}

/// A record of an extended header; its length counts itself.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let length = (1..100).find(|length| length.to_string().len() + rest.len() == *length).unwrap();
    format!("{length}{rest}")
}

#[test]
fn an_extended_header_cannot_move_what_follows() {
    let dir = tempfile::tempdir().unwrap();
    for kind in [EntryType::XHeader, EntryType::XGlobalHeader] {
        let extended = |records: &str| {
            archive(dir.path(), |tar| {
                tar.append(&header(kind, "x", records.len() as u64), records.as_bytes()).unwrap();
                tar.append(&header(EntryType::Regular, "other", 3), &b"abc"[..]).unwrap();
            })
        };
        // What other tools write does no harm.
        Archive::open(&extended(&(record("mtime", "1.5") + &record("path", "another")))).unwrap();
        let path = extended(&(record("mtime", "1.5") + &record("size", "0")));
        assert!(refused(&path).ends_with("an extended header in it gives a file another size"));
        assert!(refused(&extended("nonsense\n")).contains("it is damaged"));
    }
    let path = archive(dir.path(), |tar| {
        tar.append(&header(EntryType::GNUSparse, "x", 0), &b""[..]).unwrap();
    });
    assert_snapshot!(refused(&path), @"layout archive `a.tar` is refused: it has a sparse file");
}

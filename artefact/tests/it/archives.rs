//! Hostile layers: what each entry is refused for.

use std::fs;
use std::os::unix::fs::symlink;

use diagnostic::codes;
use insta::assert_snapshot;
use proptest::prelude::*;
use tar::EntryType;

use crate::support::*;
use crate::unpack::{Made, made, try_unpack};

/// Why a layer of these entries is refused; nothing may have been written outside of the staging directory.
fn refused(entries: &[Vec<u8>]) -> String {
    let error = try_unpack(&made(&[zstd(&entries.concat())], &[&entries.concat()])).unwrap_err();
    assert_eq!(error.code(), codes::ARCHIVE_INVALID, "{error}");
    error.to_string().replace(&layer_name(&zstd(&entries.concat())), "LAYER")
}

fn layer_name(layer: &[u8]) -> String {
    format!("layer `{}`", oci::Digest::of(layer))
}

fn special(kind: EntryType) -> Vec<u8> {
    entry("opt/caravan/x", kind, 0o644, 0, b"")
}

#[test]
fn hostile_entries_are_refused_and_named() {
    let a = || file("opt/caravan/a", b"1");
    let directory = |name| entry(name, EntryType::Directory, 0o755, 0, b"");
    let long = format!("opt/caravan/{}", "d/".repeat(40));
    let messages = [
        refused(&[a(), file("opt/caravan/../x", b"")]),
        refused(&[file("../x", b"")]),
        refused(&[file("/opt/caravan/x", b"")]),
        refused(&[file("etc/passwd", b"")]),
        refused(&[file("opt/x", b"")]),
        refused(&[file("opt/caravanx", b"")]),
        refused(&[file("opt/caravan", b"")]),
        refused(&[file("opt", b"")]),
        refused(&[file(".", b"")]),
        refused(&[file("opt/caravan/x/", b"")]),
        refused(&[directory("etc/")]),
        refused(&[file("opt/caravan/.wh.bin", b"")]),
        refused(&[file("opt/caravan/.wh..wh..opq", b"")]),
        refused(&[file("opt/caravan/a\u{1b}[2J", b"")]),
        refused(&[entry("opt/caravan/d/", EntryType::Directory, 0o755, 512, &[0; 512])]),
        refused(&[special(EntryType::Symlink)]),
        refused(&[special(EntryType::Link)]),
        refused(&[special(EntryType::Char)]),
        refused(&[special(EntryType::Block)]),
        refused(&[special(EntryType::Fifo)]),
        refused(&[special(EntryType::Continuous)]),
        refused(&[special(EntryType::GNUSparse)]),
        refused(&[special(EntryType::GNULongName)]),
        refused(&[special(EntryType::XHeader)]),
        refused(&[special(EntryType::XGlobalHeader)]),
        refused(&[special(EntryType::new(b'Z'))]),
        refused(&[a(), file("opt/caravan/./a", b"2")]),
        refused(&[a(), file("opt/caravan/a/b", b"2")]),
        refused(&[a(), directory("opt/caravan/a/")]),
        refused(&[directory("opt/caravan/a/"), a()]),
        refused(&[file("opt/caravan/a/b", b"1"), a()]),
        refused(&[entry("opt/caravan/a", EntryType::Regular, 0o644, 1001, b"")]),
        refused(&(0..21).map(|_| directory("opt/")).collect::<Vec<_>>()),
        refused(&[directory(&long)]).replace("d/", ""),
        refused(&[file("opt/caravan/lib/build_info.json", b"{")]),
        refused(&[a()]),
    ];
    assert_snapshot!(messages.join("\n"), @r#"
    LAYER is refused: entry `opt/caravan/../x` holds `..`
    LAYER is refused: entry `../x` holds `..`
    LAYER is refused: entry `/opt/caravan/x` is absolute
    LAYER is refused: entry `etc/passwd` is not below `opt/caravan`
    LAYER is refused: entry `opt/x` is not below `opt/caravan`
    LAYER is refused: entry `opt/caravanx` is not below `opt/caravan`
    LAYER is refused: entry `opt/caravan` is a file in place of a directory
    LAYER is refused: entry `opt` is a file in place of a directory
    LAYER is refused: entry `` is a file in place of a directory
    LAYER is refused: entry `opt/caravan/x` is a file in place of a directory
    LAYER is refused: entry `etc/` is not below `opt/caravan`
    LAYER is refused: entry `opt/caravan/.wh.bin` is a whiteout
    LAYER is refused: entry `opt/caravan/.wh..wh..opq` is a whiteout
    LAYER is refused: entry `opt/caravan/a\u{1b}[2J` has no readable name
    LAYER is refused: entry `opt/caravan/d` is a directory with content
    LAYER is refused: entry `opt/caravan/x` is a symbolic link
    LAYER is refused: entry `opt/caravan/x` is a hard link
    LAYER is refused: entry `opt/caravan/x` is a device
    LAYER is refused: entry `opt/caravan/x` is a device
    LAYER is refused: entry `opt/caravan/x` is a named pipe
    LAYER is refused: entry `opt/caravan/x` is of the unusual type `7`
    LAYER is refused: entry `opt/caravan/x` is a sparse file
    LAYER is refused: entry `opt/caravan/x` is a long name, which our artefacts do not have
    LAYER is refused: entry `opt/caravan/x` is an extended header, which our artefacts do not have
    LAYER is refused: entry `opt/caravan/x` is an extended header, which our artefacts do not have
    LAYER is refused: entry `opt/caravan/x` is of the unusual type `Z`
    LAYER is refused: entry `opt/caravan/a` appears twice
    LAYER is refused: entry `opt/caravan/a/b` collides with an earlier file
    LAYER is refused: entry `opt/caravan/a` collides with an earlier file
    LAYER is refused: entry `opt/caravan/a` collides with an earlier directory
    LAYER is refused: entry `opt/caravan/a` collides with an earlier directory
    LAYER is refused: entry `opt/caravan/a` is larger than 1000 bytes
    LAYER is refused: it has more than 20 entries
    LAYER is refused: entry `opt/caravan/d` is one too many: it has more than 20 entries
    the artefact is refused: `lib/build_info.json` is damaged: it is truncated (EOF while parsing an object at line 1 column 1)
    the artefact is refused: it has no `lib/build_info.json`
    "#);
}

#[test]
fn names_that_are_not_text_are_refused() {
    let mut bad = file("opt/caravan/aa", b"");
    bad[12] = 0xff;
    let sum: u32 = bad[..148].iter().chain(&bad[156..512]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
    bad[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert_snapshot!(refused(&[bad]), @"LAYER is refused: entry `opt/caravan/�a` has no readable name");
}

#[test]
fn damaged_and_truncated_layers_are_refused() {
    let tar = [file("opt/caravan/a", &[7; 900]), file("opt/caravan/b", b"2")].concat();
    let mut broken = tar.clone();
    broken[1536 + 3] ^= 1;
    let mut cut_data = zstd(&tar);
    cut_data.truncate(cut_data.len() - 5);
    let mut trailing = zstd(&tar);
    trailing.extend_from_slice(b"trailing");
    let says = |layer: &[u8], tar: &[u8]| {
        let error = try_unpack(&made(&[layer.to_vec()], &[tar])).unwrap_err();
        assert_eq!(error.code(), codes::ARCHIVE_INVALID, "{error}");
        error.to_string().replace(&layer_name(layer), "LAYER")
    };
    let messages = [
        says(&zstd(&broken), &broken),
        says(&zstd(&tar[..700]), &tar[..700]),
        says(&zstd(&tar[..1736]), &tar[..1736]),
        says(&cut_data, &tar),
        says(&trailing, &tar),
        says(b"", b""),
        says(b"no archive", b""),
        // Compressed otherwise than the manifest says.
        says(&gzip(&tar), &tar),
    ];
    assert_snapshot!(messages.join("\n"), @"
    LAYER is refused: it is damaged at or after entry `opt/caravan/a`: archive header checksum mismatch
    LAYER is refused: it is truncated at or after entry `opt/caravan/a`
    LAYER is refused: it is damaged at or after entry `opt/caravan/a`: failed to read entire block
    LAYER is refused: its compressed data is truncated
    LAYER is refused: its compressed data is damaged: unknown frame descriptor
    LAYER is refused: its compressed data is truncated
    LAYER is refused: its compressed data is damaged: unknown frame descriptor
    LAYER is refused: its compressed data is damaged: unknown frame descriptor
    ");
}

#[test]
fn a_link_in_the_staging_directory_is_not_followed() {
    let tar = file("opt/caravan/bin/a", b"1");
    let Made { manifest, blobs, .. } = made(&[zstd(&tar)], &[&tar]);
    for target in ["outside", "nowhere"] {
        let dir = tempfile::tempdir().unwrap();
        let (outside, into) = (dir.path().join("outside"), dir.path().join("into"));
        fs::create_dir(&outside).unwrap();
        fs::create_dir(&into).unwrap();
        symlink(dir.path().join(target), into.join("bin")).unwrap();
        let made = Made { manifest: manifest.clone(), blobs: blobs.clone(), bounds: crate::unpack::BOUNDS };
        assert_eq!(made.unpack(&into).unwrap_err().code(), codes::IO);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever an entry is called, it lands below the staging directory or nowhere.
    #[test]
    fn names_never_lead_outside(names in prop::collection::vec("(opt/caravan/)?([a-c.]{0,3}/){0,4}[a-c.]{0,3}", 1..6)) {
        let tar: Vec<u8> = names.iter().flat_map(|name| file(name, b"x")).collect();
        let error = try_unpack(&made(&[zstd(&tar)], &[&tar])).unwrap_err();
        prop_assert_eq!(error.code(), codes::ARCHIVE_INVALID);
    }

    /// A damaged archive ends in one error, whatever is damaged.
    #[test]
    fn damage_is_one_error(at in 0usize..4096, flip in 1u8..=255) {
        let mut tar = [file("opt/caravan/a", &[7; 900]), file("opt/caravan/b", b"2"), vec![0; 1024]].concat();
        let at = at % tar.len();
        tar[at] ^= flip;
        prop_assert!(try_unpack(&made(&[zstd(&tar)], &[&tar])).is_err());
    }
}

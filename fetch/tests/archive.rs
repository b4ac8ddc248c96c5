//! Archives are hostile until proven otherwise.

#![expect(clippy::unwrap_used, reason = "helpers of tests, as the tests themselves, fail by panicking")]

mod common {
    pub(crate) mod archives;
}

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use common::archives::{Files, Item, file, files_below, tar_gz};
use diagnostic::codes;
use fetch::archive::{Bounds, Wanted, extract};
use flate2::Compression;
use flate2::write::GzEncoder;
use insta::assert_snapshot;
use proptest::prelude::*;
use tar::EntryType;

const BOUNDS: Bounds = Bounds { entries: 10, file: 1000, total: 100_000 };

/// What extraction says, and the files it left; messages name the archive `a.tar.gz`.
fn unpack(archive: &[u8], wanted: &Wanted) -> (Result<usize, String>, Files) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar.gz");
    fs::write(&path, archive).unwrap();
    let outer = dir.path().join("outer");
    let into = outer.join("into");
    fs::create_dir_all(&into).unwrap();
    let result = extract(&path, wanted, BOUNDS, &into).map_err(|error| {
        assert_eq!(error.code(), codes::ARCHIVE_INVALID, "{error}");
        error.to_string().replace(&path.display().to_string(), "a.tar.gz")
    });
    let inside = files_below(&into);
    assert_eq!(files_below(&outer).len(), inside.len(), "something was written outside");
    (result, inside)
}

fn refused(items: &[Item<'_>]) -> String {
    unpack(&tar_gz(items), &Wanted::BelowSingleTop).0.unwrap_err()
}

fn special<'a>(kind: EntryType, link: &'a str) -> Item<'a> {
    Item { kind, link, ..file("top/x", b"") }
}

#[test]
fn takes_what_lies_below_the_single_top_directory() {
    let archive = tar_gz(&[
        special(EntryType::XGlobalHeader, ""),
        Item { kind: EntryType::Directory, mode: 0o755, ..file("top/", b"") },
        file("top/a", b"one"),
        Item { mode: 0o4711, ..file("./top/b/c", b"two") },
    ]);
    let (count, files) = unpack(&archive, &Wanted::BelowSingleTop);
    assert_eq!(count, Ok(2));
    assert_eq!(files, [("a".to_owned(), b"one".to_vec()), ("b/c".to_owned(), b"two".to_vec())]);
}

#[test]
fn takes_only_what_lies_below_a_prefix() {
    let archive = tar_gz(&[file("p/v/l/a", b"1"), file("p/v/lx", b"2"), file("p/v/l/b/c", b"3"), file("q", b"4")]);
    let (count, files) = unpack(&archive, &Wanted::Below("p/v/l".into()));
    assert_eq!(count, Ok(2));
    assert_eq!(files.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["a", "b/c"]);
    assert_snapshot!(unpack(&archive, &Wanted::Below("p/x".into())).0.unwrap_err(), @"archive `a.tar.gz` is refused: it has no file below `p/x`");
}

#[test]
fn modes_become_644_or_755() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar.gz");
    let modes = [("t/a", 0o600, 0o644), ("t/b", 0o4711, 0o755), ("t/c", 0o010, 0o755), ("t/d", 0o1666, 0o644)];
    let items: Vec<_> = modes.iter().map(|(name, mode, _)| Item { mode: *mode, ..file(name, b"x") }).collect();
    fs::write(&path, tar_gz(&items)).unwrap();
    extract(&path, &Wanted::BelowSingleTop, BOUNDS, dir.path()).unwrap();
    for (name, _, expected) in modes {
        let mode = fs::metadata(dir.path().join(&name[2..])).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, expected, "{name}");
    }
}

#[test]
fn hostile_entries_are_refused_and_named() {
    let many: Vec<_> = (0..11).map(|_| special(EntryType::Directory, "")).collect();
    let messages = [
        refused(&[file("top/a", b""), file("top/../../x", b"")]),
        refused(&[file("../x", b"")]),
        refused(&[file("/etc/x", b"")]),
        refused(&[special(EntryType::Symlink, "/etc/passwd")]),
        refused(&[special(EntryType::Symlink, "a")]),
        refused(&[special(EntryType::Link, "top/a")]),
        refused(&[special(EntryType::Char, "")]),
        refused(&[special(EntryType::Fifo, "")]),
        refused(&[special(EntryType::GNUSparse, "")]),
        refused(&[file("top/a", b"1"), file("top/./a", b"2")]),
        refused(&[file("top/a", b"1"), file("top/a/b", b"2")]),
        refused(&[file("top/a/b", b"1"), file("top/a", b"2")]),
        refused(&[file("top/a", b"1"), file("other/a", b"2")]),
        refused(&[file("top/a", &[0; 1001])]),
        refused(&many),
        refused(&[]),
    ];
    assert_snapshot!(messages.join("\n"), @"
    archive `a.tar.gz` is refused: entry `top/../../x` holds `..`
    archive `a.tar.gz` is refused: entry `../x` holds `..`
    archive `a.tar.gz` is refused: entry `/etc/x` is absolute
    archive `a.tar.gz` is refused: entry `top/x` is a symbolic link
    archive `a.tar.gz` is refused: entry `top/x` is a symbolic link
    archive `a.tar.gz` is refused: entry `top/x` is a hard link
    archive `a.tar.gz` is refused: entry `top/x` is a device
    archive `a.tar.gz` is refused: entry `top/x` is a named pipe
    archive `a.tar.gz` is refused: it is damaged at or after its start: sparse entry type listed but not GNU header
    archive `a.tar.gz` is refused: entry `top/a` appears twice
    archive `a.tar.gz` is refused: entry `top/a/b` collides with an earlier entry
    archive `a.tar.gz` is refused: entry `top/a` collides with an earlier entry
    archive `a.tar.gz` is refused: it has two top directories, `top` and `other`
    archive `a.tar.gz` is refused: entry `top/a` is larger than 1000 bytes
    archive `a.tar.gz` is refused: it has more than 10 entries
    archive `a.tar.gz` is refused: it has no file
    ");
}

#[test]
fn a_bomb_stops_at_the_bound() {
    // 200 MB of zero bytes behind an entry that is not even wanted.
    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    let mut header = tar::Header::new_ustar();
    header.set_path("other/zeros").unwrap();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(999);
    header.set_cksum();
    bomb.write_all(header.as_bytes()).unwrap();
    for _ in 0..200 {
        bomb.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let (result, _) = unpack(&bomb.finish().unwrap(), &Wanted::Below("top".into()));
    assert_snapshot!(result.unwrap_err(), @"archive `a.tar.gz` is refused: it unpacks to more than is allowed (at entry `other/zeros`)");
}

#[test]
fn a_long_name_cannot_fill_memory() {
    // A GNU long name record is read into memory whole; it counts against the bound as all else does.
    let name = vec![b'a'; 200_000];
    let archive = tar_gz(&[Item { kind: EntryType::GNULongName, ..file("././@LongLink", &name) }, file("x", b"")]);
    assert_snapshot!(unpack(&archive, &Wanted::BelowSingleTop).0.unwrap_err(), @"archive `a.tar.gz` is refused: it unpacks to more than is allowed (at its start)");
}

#[test]
fn truncation_is_found_wherever_it_happens() {
    let noise: Vec<u8> = (0..900u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let archive = tar_gz(&[file("top/a", &noise), file("top/b", &noise[7..]), file("top/c", b"end")]);
    for sixteenth in 0..16 {
        let (result, _) = unpack(&archive[..archive.len() * sixteenth / 16], &Wanted::BelowSingleTop);
        let message = result.expect_err("a part was taken for the whole");
        assert!(message.starts_with("archive `a.tar.gz` is refused: it is truncated at or after"), "{message}");
    }
    // Cutting only the checksum at the very end leaves every entry readable.
    let (result, _) = unpack(&archive[..archive.len() - 1], &Wanted::BelowSingleTop);
    assert_snapshot!(result.unwrap_err(), @"archive `a.tar.gz` is refused: it is truncated at or after entry `top/c`");

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar.gz");
    fs::write(&path, &archive[..archive.len() / 2]).unwrap();
    let error = extract(&path, &Wanted::BelowSingleTop, BOUNDS, dir.path()).unwrap_err();
    assert_snapshot!(error.hints().join("\n"), @"fetch it again, and compare its sha256 with that of the original");
}

#[test]
fn garbage_is_refused() {
    assert_snapshot!(unpack(b"<html>not found</html>", &Wanted::BelowSingleTop).0.unwrap_err(), @"archive `a.tar.gz` is refused: it is damaged at or after its start: invalid gzip header");
}

#[test]
fn a_missing_archive_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = extract(&dir.path().join("none.tar.gz"), &Wanted::BelowSingleTop, BOUNDS, dir.path()).unwrap_err();
    assert_eq!(error.code(), codes::IO);
    assert!(error.to_string().contains("none.tar.gz"), "{error}");
}

proptest! {
    #[test]
    fn whatever_the_bytes_nothing_is_written_outside(at in 0usize..4096, value in any::<u8>(), name in "[a./]{1,20}") {
        let plain = {
            let compressed = tar_gz(&[file("top/a", b"one"), file(&name, b"two"), special(EntryType::Directory, "")]);
            let mut plain = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&compressed[..]), &mut plain).unwrap();
            plain
        };
        let mut changed = plain.clone();
        let at = at % changed.len();
        changed[at] = value;
        for bytes in [plain, changed] {
            let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
            gz.write_all(&bytes).unwrap();
            // `unpack` checks what was written where, and the code of any error.
            let _ = unpack(&gz.finish().unwrap(), &Wanted::BelowSingleTop);
        }
    }

    #[test]
    fn a_changed_compressed_byte_is_never_taken_for_the_original(at in 0usize..4096, flip in 1u8..) {
        let archive = tar_gz(&[file("top/a", b"one"), file("top/b", b"two")]);
        // The first ten bytes are the gzip header: time, flags and system, which carry nothing.
        let at = 10 + at % (archive.len() - 10);
        let mut changed = archive.clone();
        changed[at] ^= flip;
        let expected = [("a".to_owned(), b"one".to_vec()), ("b".to_owned(), b"two".to_vec())];
        if let (Ok(_), files) = unpack(&changed, &Wanted::BelowSingleTop) {
            prop_assert_eq!(files, expected);
        }
    }
}

//! The first place where builds part is named.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::support::compile;
use elf::{first_difference, strip, tree_differences};
use insta::assert_snapshot;

fn shown(left: &[u8], right: &[u8]) -> String {
    first_difference(left, right).map_or_else(|| "equal".to_owned(), |difference| difference.to_string())
}

#[test]
fn text_is_told_by_its_line() {
    assert_snapshot!(shown(b"a\nb\n", b"a\nb\n"), @"equal");
    assert_snapshot!(shown(b"a\nb\nc", b"a\nb\nd"), @"differs at 0x4, line 3: 63 against 64");
    assert_snapshot!(shown(b"a\n", b"a\nbcd"), @"differs at 0x2, line 2: the end against 62 63 64; 2 against 5 bytes");
    assert_snapshot!(shown(b"", b"x"), @"differs at 0x0, line 1: the end against 78; 0 against 1 bytes");
    assert_snapshot!(shown(b"a\0\n1", b"a\0\n2"), @"differs at 0x3: 31 against 32");
    assert_snapshot!(shown(b"\xff\n0123456789", b"\xff\n9876543210"), @"differs at 0x2: 30 31 32 33 34 35 36 37 against 39 38 37 36 35 34 33 32");
}

#[test]
fn elf_files_are_told_by_section_and_symbol() {
    let temp = tempfile::tempdir().unwrap();
    let source = "const char first[] = \"0123456789abcdef\"; const char second[] = VALUE;
        int far(int x) { return x * FACTOR; }";
    let build = |directory: &str, value: &str, factor: &str| {
        let defines = [&format!("-DVALUE={value:?}"), &format!("-DFACTOR={factor}")];
        let flags = ["-O2", "-shared", "-fPIC", "-Wl,--build-id=none", defines[0], defines[1]];
        elf::read(&compile(&temp.path().join(directory), "gcc", source, "x.so", &flags)).unwrap()
    };
    let base = build("a", "made on monday", "1007");
    assert_eq!(first_difference(&base, &build("b", "made on monday", "1007")), None);

    let other = first_difference(&base, &build("c", "made on sunday", "1007")).unwrap();
    assert_eq!(other.place.as_deref(), Some(".rodata"));
    assert_eq!(other.symbol.as_deref(), Some("second"));
    assert_eq!((&other.bytes.0[..3], &other.bytes.1[..3]), (&b"mon"[..], &b"sun"[..]));
    assert_eq!(other.sections, [".rodata"]);
    assert_eq!(other.line, None);

    // Without symbol table the dynamic one serves; without either, the section.
    let stripped = |bytes: &[u8]| strip(bytes).unwrap();
    let other = first_difference(&stripped(&base), &stripped(&build("d", "made on monday", "1009"))).unwrap();
    assert_eq!((other.place.as_deref(), other.symbol.as_deref()), (Some(".text"), Some("far")));

    // One file is longer: the first byte that differs is one of a header, so the sections are named as well.
    let longer = build("e", &"monday ".repeat(2000), "1007");
    let other = first_difference(&base, &longer).unwrap();
    assert!(other.sections.contains(&".rodata".to_owned()), "{other}");
    assert!(["ELF header", "program headers"].contains(&other.place.as_deref().unwrap()), "{other}");

    let cut = first_difference(&base, &base[..base.len() - 1]).unwrap();
    assert_eq!((cut.place.as_deref(), cut.offset), (Some("section headers"), base.len() as u64 - 1));
}

#[test]
fn trees_are_compared_in_order() {
    let temp = tempfile::tempdir().unwrap();
    let (first, second) = (temp.path().join("1"), temp.path().join("2"));
    for root in [&first, &second] {
        for directory in ["bin", "lib/deep", "share"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for (name, content) in [("bin/tool", "tool"), ("lib/a.so", "a"), ("lib/deep/b", "one\ntwo\n"), ("same", "")] {
            write(&root.join(name), content);
        }
        symlink("a.so", root.join("lib/link")).unwrap();
    }
    assert_eq!(tree_differences(&first, &second).unwrap(), []);

    fs::set_permissions(second.join("bin/tool"), Permissions::from_mode(0o755)).unwrap();
    write(&second.join("lib/deep/b"), "one\n2\n");
    write(&first.join("lib/only"), "");
    write(&second.join("another"), "");
    fs::remove_dir(second.join("share")).unwrap();
    write(&second.join("share"), "");
    fs::remove_file(second.join("lib/link")).unwrap();
    symlink("deep", second.join("lib/link")).unwrap();
    let lines: Vec<_> = tree_differences(&first, &second).unwrap().iter().map(ToString::to_string).collect();
    assert_snapshot!(lines.join("\n"), @r"
    `another` is only in the second tree
    `bin/tool` has mode 0644 against 0755
    `lib/deep/b` differs at 0x4, line 2: 74 77 6f 0a against 32 0a; 8 against 6 bytes
    `lib/link` is a link to `a.so` against `deep`
    `lib/only` is only in the first tree
    `share` is a directory against a file
    ");
    let error = tree_differences(&first, &temp.path().join("3")).unwrap_err().to_string();
    assert!(error.ends_with("/3`: no such file or directory"), "{error}");
}

fn write(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
}

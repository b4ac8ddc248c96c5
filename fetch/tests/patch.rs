//! Patches on a small tree, and our own patches as they are committed.
#![expect(clippy::unwrap_used, reason = "helpers of tests, as the tests themselves, fail by panicking")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use diagnostic::codes;
use fetch::patch::{AppliedPatch, apply};
use insta::assert_snapshot;
use tempfile::TempDir;

const HEAD: &str = "# Why: a test\n# Until: it ends\n";

const CHANGE_TEN: &str =
    "diff --git a/src/ten b/src/ten\n--- a/src/ten\n+++ b/src/ten\n@@ -4,3 +4,4 @@\n 4\n-5\n+five\n+and a half\n 6\n";

struct Case {
    dir: TempDir,
}

impl Case {
    fn new() -> Case {
        let case = Case { dir: tempfile::tempdir().unwrap() };
        fs::create_dir_all(case.path("pristine/src/deep")).unwrap();
        fs::create_dir(case.path("patches")).unwrap();
        let ten: String = (1..=10).map(|n| format!("{n}\n")).collect();
        fs::write(case.path("pristine/src/ten"), ten).unwrap();
        fs::write(case.path("pristine/src/same"), "x\n".repeat(9)).unwrap();
        fs::write(case.path("pristine/src/deep/run"), "#!\n").unwrap();
        fs::set_permissions(case.path("pristine/src/deep/run"), Permissions::from_mode(0o755)).unwrap();
        fs::write(case.path("pristine/binary"), [0, 255, 254]).unwrap();
        case
    }

    fn with(patches: &[(&str, &str)]) -> Case {
        let case = Case::new();
        for (name, text) in patches {
            fs::write(case.path("patches").join(name), format!("{HEAD}{text}")).unwrap();
        }
        case
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn apply(&self) -> diagnostic::Result<Vec<AppliedPatch>> {
        apply(&self.path("pristine"), &self.path("patches"), &self.path("out/copy"))
    }

    fn out(&self, path: &str) -> String {
        fs::read_to_string(self.path("out/copy").join(path)).unwrap()
    }

    fn listing(&self) -> String {
        let files = fetch::tree::list(&self.path("out/copy")).unwrap();
        files.iter().map(|file| format!("{} {}\n", file.mode.octal(), file.path)).collect()
    }
}

fn refused(text: &str) -> String {
    let case = Case::with(&[("p.patch", text)]);
    let error = case.apply().unwrap_err();
    assert_eq!(error.code(), codes::PATCH_FAILED);
    assert!(!case.path("out").exists(), "a failing patch must change nothing");
    error.to_string()
}

#[test]
fn patches_apply_in_the_order_of_their_names() {
    let second = CHANGE_TEN.replace("-5\n", "-five\n").replace("+five\n", "+FIVE\n").replace(" 6\n", " and a half\n");
    let case = Case::with(&[("0002.patch", &second), ("0001.patch", CHANGE_TEN), ("note.txt", "nonsense")]);
    let applied = case.apply().unwrap();
    assert_eq!(applied.iter().map(|patch| patch.name.as_str()).collect::<Vec<_>>(), ["0001.patch", "0002.patch"]);
    assert_eq!(applied[0].sha256, fetch::http::sha256_of(&case.path("patches/0001.patch")).unwrap());
    assert_eq!(case.out("src/ten"), "1\n2\n3\n4\nFIVE\nand a half\nand a half\n6\n7\n8\n9\n10\n");
    assert_eq!(fs::read_to_string(case.path("pristine/src/ten")).unwrap(), "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n");
    assert_eq!(case.out("src/same"), "x\n".repeat(9));
}

#[test]
fn one_patch_may_create_change_and_delete_several_files() {
    let case = Case::with(&[(
        "p.patch",
        &format!(
            "{CHANGE_TEN}diff --git a/new/dir/tool b/new/dir/tool\nnew file mode 100755\n--- /dev/null\n\
             +++ b/new/dir/tool\n@@ -0,0 +1 @@\n+#!/bin/sh\n\
             diff --git a/src/deep/run b/src/deep/run\ndeleted file mode 100755\n--- a/src/deep/run\n+++ /dev/null\n\
             @@ -1 +0,0 @@\n-#!\n"
        ),
    )]);
    case.apply().unwrap();
    let first = case.listing();
    assert_snapshot!(first, @"
    100644 binary
    100755 new/dir/tool
    100644 src/same
    100644 src/ten
    ");
    case.apply().unwrap();
    assert_eq!(case.listing(), first);
}

#[test]
fn what_is_right_keeps_its_time_and_what_is_wrong_is_repaired() {
    let case = Case::with(&[("p.patch", CHANGE_TEN)]);
    case.apply().unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let files = ["binary", "src/deep/run", "src/same", "src/ten"];
    let full = |path: &str| case.path("out/copy").join(path);
    let time = |path: &str| fs::metadata(full(path)).unwrap().modified().unwrap();
    for path in files {
        fs::File::options().write(true).open(full(path)).unwrap().set_modified(old).unwrap();
    }
    case.apply().unwrap();
    assert!(files.iter().all(|path| time(path) == old));

    fs::write(full("src/same"), "").unwrap();
    fs::set_permissions(full("src/deep/run"), Permissions::from_mode(0o644)).unwrap();
    fs::write(full("src/extra"), "").unwrap();
    fs::create_dir_all(full("more/dirs")).unwrap();
    fs::remove_file(full("binary")).unwrap();
    // Writing through this link would change the pristine tree.
    symlink(case.path("pristine/binary"), full("binary")).unwrap();
    case.apply().unwrap();
    assert_eq!(time("src/ten"), old);
    assert_eq!(case.out("src/same"), "x\n".repeat(9));
    assert_snapshot!(case.listing(), @"
    100644 binary
    100755 src/deep/run
    100644 src/same
    100644 src/ten
    ");
    assert!(!full("more").exists());

    fs::remove_file(case.path("patches/p.patch")).unwrap();
    assert!(case.apply().unwrap().is_empty());
    assert!(case.out("src/ten").contains("\n5\n"));
}

#[test]
fn a_patch_that_does_not_fit_is_named_with_file_and_hunk() {
    let header = |path: &str| format!("diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n");
    let in_ten = "@@ -1,2 +1,2 @@\n 1\n-2\n+two\n@@ -8,2 +8,2 @@\n 8\n-eight\n+EIGHT\n";
    let messages = [
        refused(&format!("{}{in_ten}", header("src/ten"))),
        refused(&format!("{}@@ -20,1 +20,1 @@\n-x\n+y\n", header("src/same"))),
        refused(&format!("{}@@ -1 +1 @@\n-x\n+y\n", header("no/such"))),
        refused(&format!("{}@@ -1 +1 @@\n-x\n+y\n", header("binary"))),
        refused(&format!("{}@@ -1 +1 @@\n-x\n+y\n", header("../x"))),
        refused(&format!("{}@@ -1,9 +1,2 @@\n 1\n-2\n", header("src/ten"))),
        refused(
            "diff --git a/src/ten b/src/ten\nnew file mode 100644\n--- /dev/null\n+++ b/src/ten\n@@ -0,0 +1 @@\n+x\n",
        ),
        refused("diff --git a/src/ten b/ten\nsimilarity index 100%\nrename from src/ten\nrename to ten\n"),
        refused("diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc\n"),
        refused("nothing to see\n"),
    ];
    assert_snapshot!(messages.join("\n"), @"
    patch `p.patch` does not fit `src/ten`: what hunk 2 of 2 changes at line 8 is not there
    patch `p.patch` does not fit `src/same`: what hunk 1 of 1 changes at line 20 is there 9 times
    patch `p.patch` changes `no/such`, which does not exist
    patch `p.patch` changes `binary`, which is not text
    patch `p.patch` names `../x`, which is not a plain path below the source
    patch `p.patch` cannot be read: error parsing patches: error parsing patch at byte 28: hunk header does not match hunk
    patch `p.patch` creates `src/ten`, which exists already
    patch `p.patch` renames or copies a file, which is not supported
    patch `p.patch` makes `l` a link or a submodule, which is not supported
    patch `p.patch` holds no `diff --git` section
    ");
}

#[test]
fn a_hunk_may_have_moved_when_there_is_only_one_place() {
    let case = Case::with(&[("p.patch", &CHANGE_TEN.replace("-4,3 +4,4", "-2,3 +2,4"))]);
    case.apply().unwrap();
    assert!(case.out("src/ten").starts_with("1\n2\n3\n4\nfive\n"));
}

#[test]
fn a_patch_must_say_why_it_exists_and_until_when() {
    for head in ["", "# Why: a test\n", "# Until: it ends\n", "# Why: \n# Until: it ends\n"] {
        let case = Case::new();
        fs::write(case.path("patches/p.patch"), format!("{head}{CHANGE_TEN}")).unwrap();
        let error = case.apply().unwrap_err();
        assert_eq!(error.code(), codes::PATCH_FAILED);
        assert!(error.to_string().contains("does not say `# "), "{error}");
    }
}

#[test]
fn our_patches_are_well_formed_and_listed() {
    // Whether they fit the pinned source shows when it is built; here is no source, so the first file is missing.
    let vendor = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vendor");
    let readme = fs::read_to_string(vendor.join("README.md")).unwrap();
    let empty = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(vendor.join("patches")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(readme.contains(&format!("`{name}`")), "vendor/README.md does not list {name}");
        let alone = tempfile::tempdir().unwrap();
        fs::copy(&path, alone.path().join(name)).unwrap();
        let error = apply(empty.path(), alone.path(), &empty.path().join("out")).unwrap_err();
        assert!(error.to_string().ends_with("which does not exist"), "{error}");
    }
}

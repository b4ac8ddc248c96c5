//! The pinned source on a small tree: what is verified, where it may come from, and what stays when it fails.

#![expect(clippy::unwrap_used, reason = "helpers of tests, as the tests themselves, fail by panicking")]

mod common {
    pub(crate) mod archives;
    pub(crate) mod server;
}

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::archives::{Item, file, files_below, tar_gz};
use common::server::{Answer, Server, answer, ok};
use diagnostic::codes;
use fetch::pin::{self, Mirror, Pin};
use fetch::vendor::{self, Origin, Outcome, Progress, VendorPlan};
use fetch::{manifest, tree};
use insta::assert_snapshot;
use tempfile::TempDir;

/// A workspace whose pin names the tree of [`source`], as git itself computes it.
struct Workspace {
    dir: TempDir,
    plan: VendorPlan,
}

/// `git ls-tree -r` and `git write-tree` of the files of [`source`].
const LISTING: &str = "\
100644 blob 257cc5642cb1a054f08cc83f2d943e56fd3ebe99\ta\n\
100644 blob e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\tdir.txt\n\
100755 blob 5716ca5987cbf97d6bb54920bea6adde242d87e6\tdir/run\n\
100644 blob 257cc5642cb1a054f08cc83f2d943e56fd3ebe99\tdir/sub/b\n";
const TREE: &str = "691b88def5a2c4f3d9dd4d84cbb89f856bdc02ec";

fn source(prefix: &str) -> Vec<(String, u32, &'static [u8])> {
    let files: [(&str, u32, &[u8]); 4] =
        [("a", 0o644, b"foo\n"), ("dir/run", 0o755, b"bar\n"), ("dir/sub/b", 0o644, b"foo\n"), ("dir.txt", 0o644, b"")];
    files.into_iter().map(|(path, mode, data)| (format!("{prefix}{path}"), mode, data)).collect()
}

fn archive_of(files: &[(String, u32, &'static [u8])]) -> Vec<u8> {
    tar_gz(&files.iter().map(|(path, mode, data)| Item { mode: *mode, ..file(path, data) }).collect::<Vec<_>>())
}

fn write_source(dir: &Path) {
    for (path, mode, data) in source("") {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, data).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
}

impl Workspace {
    fn new() -> Workspace {
        let dir = tempfile::tempdir().unwrap();
        let vendor = dir.path().join("vendor");
        fs::create_dir(&vendor).unwrap();
        let text = format!(
            "upstream = \"https://example.org/x\"\ncommit = \"0123456789012345678901234567890123456789\"\n\
             tree = \"{TREE}\"\ndate = \"2026-10-01\"\nversion = \"1.0\"\n\
             [[mirror]]\nkind = \"archive\"\nurl = \"https://example.org/{{commit}}.tar.gz\"\n"
        );
        fs::write(vendor.join(pin::FILE), text).unwrap();
        fs::write(vendor.join(manifest::FILE), LISTING).unwrap();
        let plan = vendor::plan(&vendor, None).unwrap();
        Workspace { dir, plan }
    }

    fn with_source() -> Workspace {
        let workspace = Workspace::new();
        write_source(&workspace.plan.tree());
        workspace
    }

    fn with_mirrors(urls: &[&str]) -> Workspace {
        let mut workspace = Workspace::new();
        let archive = |url: &&str| Mirror::Archive { url: (*url).to_owned() };
        workspace.plan.pin = Pin { mirrors: urls.iter().map(archive).collect(), ..workspace.plan.pin.clone() };
        workspace
    }

    fn run(&self) -> diagnostic::Result<Outcome> {
        vendor::run(&self.plan, &mut |_| {})
    }

    /// The message of a failing check, without the temporary directory.
    fn difference(&self) -> String {
        let error = vendor::check(&self.plan).unwrap_err();
        assert_eq!(error.code(), codes::TREE_MISMATCH);
        error.to_string().replace(&self.dir.path().display().to_string(), "")
    }

    /// What lies in `vendor/`, hidden files too.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.plan.vendor).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.plan.tree().join(path)
    }
}

const CLEAN: [&str; 4] = [".llama.cpp.lock", "llama.cpp", "llama.cpp.files", "llama.cpp.toml"];
const EMPTY: [&str; 3] = [".llama.cpp.lock", "llama.cpp.files", "llama.cpp.toml"];

#[test]
fn tree_ids_are_those_of_git() {
    let workspace = Workspace::with_source();
    let files = tree::list(&workspace.plan.tree()).unwrap();
    assert_eq!(tree::id(&files).unwrap().to_string(), TREE);
    assert_eq!(String::from_utf8(manifest::print(&files)).unwrap(), LISTING);
    // The empty tree has a well-known id, and directories without files do not count.
    fs::create_dir_all(workspace.dir.path().join("empty/inner")).unwrap();
    let files = tree::list(&workspace.dir.path().join("empty")).unwrap();
    assert_eq!(tree::id(&files).unwrap().to_string(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
}

#[test]
fn the_committed_manifest_is_the_pinned_tree() {
    let vendor = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vendor");
    let pin = Pin::read(&vendor.join(pin::FILE)).unwrap();
    let files = manifest::read(&vendor.join(manifest::FILE), pin.tree).unwrap();
    assert_eq!(manifest::print(&files), fs::read(vendor.join(manifest::FILE)).unwrap());
}

#[test]
fn what_differs_is_named() {
    let workspace = Workspace::with_source();
    assert_eq!(vendor::check(&workspace.plan).unwrap(), 4);
    fs::write(workspace.path("a"), "fop\n").unwrap();
    fs::remove_file(workspace.path("dir.txt")).unwrap();
    fs::write(workspace.path("dir/extra"), "").unwrap();
    fs::write(workspace.path(".git"), "gitdir: elsewhere").unwrap();
    fs::set_permissions(workspace.path("dir/run"), Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(workspace.path("dir/sub/b")).unwrap();
    symlink("../../a", workspace.path("dir/sub/b")).unwrap();
    assert_snapshot!(workspace.difference(), @"
    `/vendor/llama.cpp` is not the pinned source tree
      `.git` does not belong there
      `a` has other bytes
      `dir.txt` is missing
      `dir/extra` does not belong there
      `dir/run` has mode 100644, not 100755
      `dir/sub/b` has other bytes
      `dir/sub/b` has mode 120000, not 100644
    ");
}

#[test]
fn many_differences_are_counted() {
    let workspace = Workspace::with_source();
    for n in 10..25 {
        fs::write(workspace.path(&format!("x{n}")), "").unwrap();
    }
    let message = workspace.difference();
    assert_eq!(message.matches("does not belong there").count(), 10);
    assert!(message.ends_with("and 5 more differences"), "{message}");
}

#[test]
fn without_a_manifest_of_this_tree_the_ids_are_compared() {
    let workspace = Workspace::with_source();
    fs::write(workspace.path("a"), "fop\n").unwrap();
    let deep = format!("100644 blob 257cc5642cb1a054f08cc83f2d943e56fd3ebe99\t{}x\n", "d/".repeat(100_000));
    for text in ["", "nonsense", &LISTING[..LISTING.len() / 2], &LISTING.replace("755", "644"), &deep] {
        fs::write(workspace.plan.vendor.join(manifest::FILE), text).unwrap();
        let message = workspace.difference();
        assert!(message.contains(&format!("the pin says {TREE}")) && !message.contains("`a`"), "{message}");
    }
    // It can only explain: a wrong one does not make a right tree wrong.
    fs::write(workspace.path("a"), "foo\n").unwrap();
    vendor::check(&workspace.plan).unwrap();
}

#[test]
fn what_is_no_file_is_refused() {
    let workspace = Workspace::with_source();
    let _socket = std::os::unix::net::UnixListener::bind(workspace.path("s")).unwrap();
    let error = vendor::check(&workspace.plan).unwrap_err();
    assert_eq!(error.code(), codes::TREE_MISMATCH);
    assert!(error.to_string().contains("neither a file"), "{error}");
}

#[test]
fn a_tree_that_is_there_needs_no_mirror_and_no_write() {
    let workspace = Workspace::with_source();
    assert_eq!(workspace.run().unwrap(), Outcome::Present { files: 4 });
    assert_eq!(workspace.names(), &CLEAN[1..]);
}

#[test]
fn the_first_mirror_that_delivers_is_taken() {
    let wrong: Vec<_> = source("top/").into_iter().skip(1).collect();
    let bad = [
        Server::start(vec![ok(&archive_of(&wrong))]),
        Server::start(vec![ok(b"<html>log in first</html>")]),
        Server::start(vec![answer("HTTP/1.1 404 Not Found\r\ncontent-length: 0", "")]),
    ];
    let good = Server::start(vec![ok(&archive_of(&source("x-0123/")))]);
    let workspace = Workspace::with_mirrors(&[
        &bad[0].url,
        &bad[1].url,
        &bad[2].url,
        &format!("{}/{{commit}}", good.url),
        "http://no",
    ]);
    let mut notes = Vec::new();
    let outcome = vendor::run(&workspace.plan, &mut |progress| {
        if let Progress::Note(note) = progress {
            notes.push(note);
        }
    });
    assert!(matches!(outcome.unwrap(), Outcome::Installed { files: 4, .. }));
    assert!(notes.iter().any(|note| note.contains("`a` is missing")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("does not exist (HTTP 404)")), "{notes:?}");
    assert!(good.requests()[0].contains("0123456789012345678901234567890123456789"));
    assert_eq!(workspace.names(), CLEAN);
    assert_eq!(workspace.run().unwrap(), Outcome::Present { files: 4 });
}

#[test]
fn when_no_mirror_delivers_one_error_says_why_and_nothing_changes() {
    let cut = archive_of(&source("top/"));
    let short = Server::start(vec![ok(&cut[..cut.len() / 2])]);
    let workspace = Workspace::with_mirrors(&["http://127.0.0.1:1/x", &short.url]);
    fs::create_dir(workspace.plan.tree()).unwrap();
    fs::write(workspace.path("mine"), "kept").unwrap();
    let error = workspace.run().unwrap_err();
    assert_eq!(error.code(), codes::ARCHIVE_INVALID);
    let message = error.to_string();
    assert!(message.contains("onnection refused") && message.contains("truncated"), "{message}");
    assert!(error.hints().iter().any(|hint| hint.contains("--source")));
    assert_eq!(workspace.names(), CLEAN);
    assert_eq!(fs::read(workspace.path("mine")).unwrap(), b"kept");
}

#[test]
fn a_commit_that_nobody_knows_is_the_pins_fault() {
    let unknown = Server::start(vec![answer("HTTP/1.1 404 Not Found\r\ncontent-length: 0", "")]);
    let workspace = Workspace::with_mirrors(&[&unknown.url]);
    let error = workspace.run().unwrap_err();
    assert_eq!(error.code(), codes::PIN_INVALID);
    assert!(error.to_string().contains("0123456789012345678901234567890123456789"), "{error}");
    assert_eq!(workspace.names(), EMPTY);
}

#[test]
fn a_wrong_tree_is_replaced_and_leftovers_are_swept() {
    let server = Server::start(vec![ok(&archive_of(&source("t/")))]);
    let workspace = Workspace::with_mirrors(&[&server.url]);
    write_source(&workspace.plan.tree());
    fs::write(workspace.path("extra"), "").unwrap();
    let leftover = workspace.plan.vendor.join(".llama.cpp.staging-dead");
    fs::create_dir_all(leftover.join("tree/deep")).unwrap();
    let mut notes = Vec::new();
    vendor::run(&workspace.plan, &mut |progress| notes.push(progress)).unwrap();
    assert!(matches!(&notes[0], Progress::Note(note) if note.contains("`extra` does not belong there")), "{notes:?}");
    assert_eq!(workspace.names(), CLEAN);
    assert_eq!(vendor::check(&workspace.plan).unwrap(), 4);
}

#[test]
fn two_runs_at_once_fetch_once() {
    // The second waits for the lock until the first, whose server is slow, has put the tree in place.
    let slow = Answer { silence: Duration::from_millis(300), ..ok(&archive_of(&source("t/"))) };
    let server = Server::start(vec![slow]);
    let workspace = Workspace::with_mirrors(&[&server.url]);
    let (started, first_has_started) = mpsc::channel();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let first = scope.spawn(|| vendor::run(&workspace.plan, &mut |_| started.send(()).unwrap()));
        first_has_started.recv().unwrap();
        let second = scope.spawn(|| workspace.run());
        [first.join().unwrap(), second.join().unwrap()].into()
    });
    assert!(matches!(outcomes[0], Ok(Outcome::Installed { .. })), "{outcomes:?}");
    assert!(matches!(outcomes[1], Ok(Outcome::Present { .. })), "{outcomes:?}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_local_directory_is_copied_without_git_and_verified() {
    let mut workspace = Workspace::new();
    let local = workspace.dir.path().join("local");
    write_source(&local);
    fs::create_dir(local.join(".git")).unwrap();
    fs::write(local.join(".git/HEAD"), "x").unwrap();
    workspace.plan.origin = vendor::plan(&workspace.plan.vendor, Some(&local)).unwrap().origin;
    assert_eq!(workspace.plan.origin, Origin::Directory(local.clone()));
    workspace.run().unwrap();
    assert_eq!(files_below(&workspace.plan.tree()).len(), 4);

    fs::remove_dir_all(workspace.plan.tree()).unwrap();
    fs::write(local.join("build.ninja"), "").unwrap();
    let error = workspace.run().unwrap_err();
    assert_eq!(error.code(), codes::TREE_MISMATCH);
    assert!(error.to_string().contains("local` is not the pinned source tree\n  `build.ninja` does not belong there"));
    assert_eq!(workspace.names(), EMPTY);
    assert!(local.join(".git/HEAD").exists());
}

#[test]
fn a_local_archive_is_unpacked_and_verified() {
    let mut workspace = Workspace::new();
    let local = workspace.dir.path().join("local.tar.gz");
    let mut files = source("any-name/");
    files.push(("any-name/.git".to_owned(), 0o644, b"gitdir: elsewhere"));
    fs::write(&local, archive_of(&files)).unwrap();
    workspace.plan.origin = vendor::plan(&workspace.plan.vendor, Some(&local)).unwrap().origin;
    workspace.run().unwrap();
    assert_eq!(workspace.names(), CLEAN);

    fs::remove_dir_all(workspace.plan.tree()).unwrap();
    files[0].2 = b"evil";
    fs::write(&local, archive_of(&files)).unwrap();
    let error = workspace.run().unwrap_err();
    assert!(error.to_string().contains("`a` has other bytes"), "{error}");
    assert_eq!(workspace.names(), EMPTY);
}

#[test]
fn the_pinned_source_distribution_is_known_by_its_digest() {
    let mut workspace = Workspace::new();
    let local = workspace.dir.path().join("local.tar.gz");
    let mut files = source("p-1/vendor/x/");
    files.push(("p-1/setup.py".to_owned(), 0o644, b"import os"));
    fs::write(&local, archive_of(&files)).unwrap();
    let digest = fetch::http::sha256_of(&local).unwrap();
    let table = format!(
        "kind = \"pypi-sdist\"\npackage = \"p\"\nversion = \"1\"\nsha256 = \"{digest}\"\n\
         directory = \"p-1/vendor/x\"\nbackend = \"b\"\n"
    );
    let text = fs::read_to_string(workspace.plan.vendor.join(pin::FILE)).unwrap();
    workspace.plan.pin = Pin::parse(&format!("{text}[[mirror]]\n{table}"), Path::new("pin")).unwrap();
    workspace.plan.origin = Origin::Tarball(local);
    workspace.run().unwrap();
    assert_eq!(files_below(&workspace.plan.tree()).len(), 4);
}

#[test]
fn a_source_that_does_not_exist_is_named() {
    let workspace = Workspace::new();
    let error = vendor::plan(&workspace.plan.vendor, Some(Path::new("no/such/place"))).unwrap_err();
    assert!(error.to_string().contains("no/such/place"), "{error}");
}

#[test]
fn the_plan_says_what_will_be_done() {
    let workspace = Workspace::new();
    let text = workspace.plan.to_string().replace(&workspace.dir.path().display().to_string(), "");
    assert_snapshot!(text, @"
    llama.cpp 1.0+ of 2026-10-01, https://example.org/x
      commit  0123456789012345678901234567890123456789
      tree    691b88def5a2c4f3d9dd4d84cbb89f856bdc02ec
      into    /vendor/llama.cpp
      from    archive at `example.org`
    ");
}

#[test]
fn the_pin_moves_to_a_commit_that_upstream_has() {
    let next = "9999999999999999999999999999999999999999";
    let upstream = Server::start(vec![
        answer("HTTP/1.1 404 Not Found\r\ncontent-length: 0", ""),
        ok(&archive_of(&source("x-9999/")[..2])),
    ]);
    let workspace = Workspace::with_mirrors(&[&format!("{}/{{commit}}", upstream.url)]);
    write_source(&workspace.plan.tree());
    let pin_file = workspace.plan.vendor.join(pin::FILE);
    let before = fs::read_to_string(&pin_file).unwrap();
    let refused = |commit: &str| {
        let error = vendor::bump(&workspace.plan, commit, &mut |_| {}).unwrap_err();
        assert_eq!(error.code(), codes::PIN_INVALID);
        assert_eq!(fs::read_to_string(&pin_file).unwrap(), before);
        assert_eq!(vendor::check(&workspace.plan).unwrap(), 4);
        error.to_string()
    };
    assert!(refused("main").contains("`main` is not a full git id"));
    assert!(refused(next).contains(next));

    let bumped = vendor::bump(&workspace.plan, next, &mut |_| {}).unwrap();
    assert_eq!((bumped.files, bumped.new.commit.to_string()), (2, next.to_owned()));
    assert_eq!(bumped.new.date.to_string(), "2000-02-29", "the time that the archive's entries have");
    assert_eq!(Pin::read(&pin_file).unwrap(), bumped.new);
    let plan = vendor::plan(&workspace.plan.vendor, None).unwrap();
    assert_eq!(vendor::check(&plan).unwrap(), 2);
    manifest::read(&plan.vendor.join(manifest::FILE), plan.pin.tree).unwrap();
    assert_eq!(workspace.names(), CLEAN);
}

#[test]
fn the_pin_does_not_move_without_upstream() {
    let workspace = Workspace::with_mirrors(&["http://127.0.0.1:1/{commit}"]);
    let error = vendor::bump(&workspace.plan, "9999999999999999999999999999999999999999", &mut |_| {}).unwrap_err();
    assert_eq!(error.code(), codes::UNREACHABLE);
    assert_eq!(error.hints().len(), 1);
    assert_eq!(workspace.names(), EMPTY);
}

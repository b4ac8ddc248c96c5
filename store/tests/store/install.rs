//! From a staged directory to an installed build.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

use build_info::BuildInfo;
use diagnostic::codes;
use store::{Outcome, Smoke, SmokePlan};

use crate::child;
use crate::support::*;

#[test]
fn an_installed_build_is_active_intact_and_described() {
    let home = home();
    let id = install(&home.store, "oak");
    assert_eq!(home.store.active().unwrap(), Some(id.clone()));
    assert_eq!(active_says(&home.store), "oak");
    // The same file by the path that the runtime reads.
    let info = BuildInfo::read(&home.store.lib().join("build_info.json")).unwrap();
    assert_eq!(info, home.store.info(&id).unwrap());
    let paths: Vec<&str> = info.digests.keys().map(String::as_str).collect();
    assert_eq!(paths, ["bin/llama-server", "lib/libname.so", "lib/libname.so.1", "share/LICENSE"]);
    // sha256 of "oak\n", by sha256sum; a link counts as its file.
    let oak = "38376757e5c870d200d2c8b13cdec16c0997bd9c089d857d56e3c856f99b8f38";
    assert_eq!(info.digests["lib/libname.so"].to_string(), oak);
    assert_eq!(info.digests["lib/libname.so.1"].to_string(), oak);
    insta::assert_snapshot!(id, @"native-0.5.0-0c1e5709-b360a86e");
}

#[test]
fn nothing_temporary_stays_and_others_may_read() {
    let home = home();
    let id = install(&home.store, "oak");
    assert_eq!(names(home.store.root()), [".lock", "bin", "builds", "current", "lib"]);
    assert_eq!(names(&home.store.builds()), [id.to_string()]);
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    // Whatever the umask is, a build is as readable as any new directory.
    let any = home.directory.path().join("any");
    fs::create_dir(&any).unwrap();
    assert_eq!(mode(home.store.build(&id)), mode(any));
}

#[test]
fn the_same_files_are_installed_once() {
    let home = home();
    let first = install(&home.store, "oak");
    install(&home.store, "elm");
    let receipt = try_install(&writer(&home.store), "oak").unwrap();
    assert_eq!(receipt.outcome, Outcome::AlreadyInstalled);
    assert_eq!(receipt.activation.to, first);
    assert_eq!(active_says(&home.store), "oak");
    assert_eq!(names(&home.store.builds()).len(), 2);
}

#[test]
fn the_same_build_again_is_not_written_again() {
    let home = home();
    let id = install(&home.store, "oak");
    let written = || fs::metadata(home.store.info_path(&id)).unwrap().ino();
    let before = written();
    assert_eq!(try_install(&writer(&home.store), "oak").unwrap().outcome, Outcome::AlreadyInstalled);
    assert_eq!(written(), before);
}

#[test]
fn files_that_were_hashed_already_are_installed_with_those_digests() {
    let home = home();
    let digests = home.store.info(&install(&home.store, "oak")).unwrap().digests;
    let active = home.store.active().unwrap();
    let elsewhere = store::Store::at(home.directory.path().join("elsewhere"));
    let writer = writer(&elsewhere);
    let commit = |name: &str, digests: &std::collections::BTreeMap<_, _>, more: Option<&str>| {
        let staging = writer.stage().unwrap();
        fill(&staging, name);
        if let Some(path) = more {
            fs::write(staging.path().join(path), "more\n").unwrap();
        }
        writer.commit_hashed(staging, &BuildInfo { digests: digests.clone(), ..info() }, &smoke())
    };
    let refused = |digests: &std::collections::BTreeMap<_, _>, more| {
        let error = commit("oak", digests, more).unwrap_err();
        assert_eq!(error.code(), codes::GATE_FAILED);
        error.to_string()
    };
    // Names are compared, whoever hashed.
    let mut fewer = digests.clone();
    fewer.remove("share/LICENSE");
    insta::assert_snapshot!(refused(&fewer, None), @"`share/LICENSE` cannot be part of a build: it has no digest");
    insta::assert_snapshot!(refused(&digests, Some("lib/more")), @"`lib/more` cannot be part of a build: it has no digest");
    let mut more = digests.clone();
    more.insert("lib/gone".to_owned(), digests["share/LICENSE"]);
    insta::assert_snapshot!(refused(&more, None), @"the build lacks `lib/gone`");
    assert_eq!(names(&elsewhere.builds()), Vec::<String>::new());

    let receipt = commit("oak", &digests, None).unwrap();
    assert_eq!((receipt.outcome, Some(receipt.activation.to.clone())), (Outcome::Added, active));
    assert_only_works(&elsewhere, &receipt.activation.to, "oak");
}

#[test]
fn the_same_files_measured_again_have_the_newer_figures() {
    let home = home();
    let id = install(&home.store, "oak");
    let writer = writer(&home.store);
    let staging = writer.stage().unwrap();
    fill(&staging, "oak");
    let mut newer = info();
    newer.blas.reason = "measured on a quiet machine".to_owned();
    let receipt = writer.commit(staging, newer, &smoke()).unwrap();
    assert_eq!(receipt.outcome, Outcome::AlreadyInstalled);
    assert_eq!(home.store.info(&id).unwrap().blas.reason, "measured on a quiet machine");
    assert!(home.store.verify(&id).unwrap().is_intact());
}

#[test]
fn a_damaged_build_is_replaced_by_the_same_files_even_while_active() {
    let home = home();
    let id = install(&home.store, "oak");
    fs::write(home.store.build(&id).join("lib/libname.so.1"), "rotten\n").unwrap();
    assert_eq!(active_says(&home.store), "rotten");
    let receipt = try_install(&writer(&home.store), "oak").unwrap();
    assert_eq!(receipt.outcome, Outcome::Repaired);
    assert_only_works(&home.store, &id, "oak");
}

#[test]
fn a_build_without_readable_information_is_replaced_too() {
    let home = home();
    let id = install(&home.store, "oak");
    fs::write(home.store.info_path(&id), "{").unwrap();
    assert_eq!(try_install(&writer(&home.store), "oak").unwrap().outcome, Outcome::Repaired);
    fs::remove_file(home.store.info_path(&id)).unwrap();
    assert_eq!(try_install(&writer(&home.store), "oak").unwrap().outcome, Outcome::Repaired);
    fs::remove_dir_all(home.store.build(&id)).unwrap();
    fs::write(home.store.build(&id), "a file where a directory should be").unwrap();
    assert_eq!(try_install(&writer(&home.store), "oak").unwrap().outcome, Outcome::Repaired);
    assert_only_works(&home.store, &id, "oak");
}

#[test]
fn a_build_of_a_newer_caravan_is_not_overwritten() {
    let home = home();
    let id = install(&home.store, "oak");
    let path = home.store.info_path(&id);
    let newer = fs::read_to_string(&path).unwrap().replace("\"schema_version\": 1", "\"schema_version\": 9");
    fs::write(&path, &newer).unwrap();
    let error = try_install(&writer(&home.store), "oak").unwrap_err();
    assert_eq!(error.code(), codes::SCHEMA_NEWER);
    assert_eq!(fs::read_to_string(&path).unwrap(), newer);
    assert_eq!(active_says(&home.store), "oak");
}

#[test]
fn a_moved_store_keeps_working() {
    let home = home();
    let oak = install(&home.store, "oak");
    install(&home.store, "elm");
    let moved = store::Store::at(home.directory.path().join("elsewhere"));
    fs::rename(home.store.root(), moved.root()).unwrap();
    assert_eq!(active_says(&moved), "elm");
    assert_eq!(writer(&moved).rollback().unwrap().activation.to, oak);
    assert_eq!(active_says(&moved), "oak");
}

#[test]
fn a_store_may_be_named_by_a_relative_path() {
    let home = home();
    let relative = store::Store::at(".local");
    let installed = child::start_in(home.directory.path(), &relative, "install oak").result();
    assert_eq!(installed.as_deref(), Some("ok"));
    assert_eq!(active_says(&home.store), "oak");
}

/// Installs a second build whose tool has this body; it must be refused without a trace.
fn smoke_error(body: &str, smoke: &SmokePlan) -> String {
    let home = home();
    let id = install(&home.store, "oak");
    let writer = writer(&home.store);
    let staging = writer.stage().unwrap();
    fill(&staging, "elm");
    script(&staging.bin().join(TOOL), body);
    let error = writer.commit(staging, info(), smoke).unwrap_err();
    assert_eq!(error.code(), codes::SMOKE_FAILED);
    assert_only_works(&home.store, &id, "oak");
    format!("{error}\nhint: {}", error.hints().join("\nhint: "))
}

#[test]
fn a_tool_with_an_illegal_instruction_is_a_finding() {
    insta::assert_snapshot!(smoke_error("echo starting >&2; kill -ILL $$", &smoke()), @"
        `llama-server --version` does not run on this machine: signal 4 (SIGILL, illegal instruction): starting
        hint: the build needs instructions that this CPU, or its hypervisor, does not offer: build on this machine
    ");
}

#[test]
fn a_tool_that_lacks_a_library_is_a_finding() {
    // What the dynamic loader prints, and its exit status.
    let body = "echo \"$0: error while loading shared libraries: libgone.so.1: cannot open shared object file: \
                No such file or directory\" | sed 's|.*/bin/||' >&2; exit 127";
    insta::assert_snapshot!(smoke_error(body, &smoke()), @"
        `llama-server --version` does not run on this machine: exit status 127: llama-server: error while loading shared libraries: libgone.so.1: cannot open shared object file: No such file or directory
        hint: install the missing library, or build again without what needs it
    ");
}

#[test]
fn a_tool_that_hangs_is_a_finding() {
    let hasty = SmokePlan { timeout: Duration::from_millis(200), ..smoke() };
    let error = smoke_error("sleep 600", &hasty);
    assert!(error.starts_with("`llama-server --version` does not run on this machine: "), "{error}");
    assert!(error.contains("it ran longer than"), "{error}");
}

#[test]
fn a_tool_that_cannot_be_started_is_a_finding() {
    // `script` puts its own first line before the body; this one asks for a loader that does not exist.
    let home = home();
    let writer = writer(&home.store);
    let staging = writer.stage().unwrap();
    fs::write(staging.bin().join(TOOL), "#!/no/such/loader\n").unwrap();
    fs::set_permissions(staging.bin().join(TOOL), fs::Permissions::from_mode(0o755)).unwrap();
    let error = writer.commit(staging, info(), &smoke()).unwrap_err();
    assert_eq!(error.code(), codes::SMOKE_FAILED);
    assert_eq!(home.store.active().unwrap(), None);
}

#[test]
fn an_exit_status_is_good_only_when_it_is_accepted() {
    let accepts = |accepted: &[i32]| SmokePlan { tools: vec![Smoke::new(TOOL, &["--help"], accepted)], ..smoke() };
    let error = smoke_error("echo usage; exit 1", &accepts(&[0]));
    assert!(error.contains("`llama-server --help` does not run on this machine: exit status 1: usage"), "{error}");
    let home = home();
    let writer = writer(&home.store);
    let staging = writer.stage().unwrap();
    script(&staging.bin().join(TOOL), "exit 1");
    assert_eq!(writer.commit(staging, info(), &accepts(&[0, 1])).unwrap().outcome, Outcome::Added);
}

#[test]
fn a_tool_is_tried_with_the_libraries_of_its_build_only_and_leaves_nothing_in_it() {
    let home = home();
    let writer = writer(&home.store);
    let staging = writer.stage().unwrap();
    // Cargo sets LD_LIBRARY_PATH for this very test.
    script(&staging.bin().join(TOOL), "[ -z \"${LD_LIBRARY_PATH+set}\" ] && echo left > server.log");
    let id = writer.commit(staging, info(), &smoke()).unwrap().activation.to;
    assert!(home.store.verify(&id).unwrap().is_intact());
    assert_eq!(names(&home.store.build(&id)), ["bin", "lib", "share"]);
}

#[test]
fn every_tool_must_be_tried_and_be_there() {
    let home = home();
    let writer = writer(&home.store);
    let refused = |tools: &[&str]| {
        let staging = writer.stage().unwrap();
        fill(&staging, "oak");
        let tools = tools.iter().map(|tool| Smoke::new(tool, &[], &[0])).collect();
        let error = writer.commit(staging, info(), &SmokePlan { tools, ..smoke() }).unwrap_err();
        assert_eq!(error.code(), codes::GATE_FAILED);
        error.to_string()
    };
    insta::assert_snapshot!(refused(&[]), @"nothing says how to try the tool `llama-server`");
    insta::assert_snapshot!(refused(&[TOOL, "llama-cli"]), @"the build lacks the tool `llama-cli`");
    let empty = writer.commit(writer.stage().unwrap(), info(), &SmokePlan { tools: vec![], ..smoke() }).unwrap_err();
    insta::assert_snapshot!(empty, @"the build has no tools");
}

#[test]
fn links_that_would_break_or_escape_are_refused() {
    let home = home();
    let writer = writer(&home.store);
    let secret = home.directory.path().join("secret");
    fs::write(&secret, "x").unwrap();
    let refused = |target: &std::path::Path| {
        let staging = writer.stage().unwrap();
        fill(&staging, "oak");
        symlink(target, staging.lib().join("libodd.so")).unwrap();
        let error = writer.commit(staging, info(), &smoke()).unwrap_err();
        assert_eq!(error.code(), codes::GATE_FAILED);
        error.to_string()
    };
    insta::assert_snapshot!(refused(&secret), @"`lib/libodd.so` cannot be part of a build: it is an absolute link");
    insta::assert_snapshot!(refused("../../../../secret".as_ref()), @"`lib/libodd.so` cannot be part of a build: it is a link that leaves the build");
    insta::assert_snapshot!(refused("gone".as_ref()), @"`lib/libodd.so` cannot be part of a build: it is a link to nothing");
    insta::assert_snapshot!(refused("../bin".as_ref()), @"`lib/libodd.so` cannot be part of a build: it is a link to something that is not a file");
    assert_eq!(names(&home.store.builds()), Vec::<String>::new());
}

#[test]
fn information_that_gives_no_id_is_refused() {
    let home = home();
    let writer = writer(&home.store);
    let staging = writer.stage().unwrap();
    fill(&staging, "oak");
    let error =
        writer.commit(staging, BuildInfo { llama_version: "../0.5.0".to_owned(), ..info() }, &smoke()).unwrap_err();
    assert_eq!(error.code(), codes::GATE_FAILED);
    insta::assert_snapshot!(error, @"the build has no id: `../0.5.0` is not a llama.cpp version that can be part of a build id");
}

#[test]
fn another_build_with_the_same_id_is_refused() {
    let home = home();
    // Found by trying: an id has 32 bits of the content, so 2^17 names are enough. The files that `fill` makes count, too.
    let [first, second] = ["tree56003", "tree111913"];
    let id = install(&home.store, first);
    assert_eq!(id.content(), "e8c14c1d");
    let error = try_install(&writer(&home.store), second).unwrap_err();
    assert_eq!(error.code(), codes::GATE_FAILED);
    assert!(error.to_string().contains(&format!("`{id}` is installed")), "{error}");
    assert_only_works(&home.store, &id, first);
}

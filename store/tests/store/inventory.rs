//! Listing, finding and verifying builds.

use std::fs;

use diagnostic::codes;

use crate::support::*;

#[test]
fn list_shows_every_build_and_which_is_active() {
    let home = home();
    let [oak, elm] = ["oak", "elm"].map(|name| install(&home.store, name));
    let builds = home.store.list().unwrap();
    let mut expected = [(oak, false), (elm, true)];
    expected.sort();
    assert_eq!(builds.iter().map(|build| (build.id.clone(), build.active)).collect::<Vec<_>>(), expected);
    for build in &builds {
        assert_eq!(build.info.as_ref().unwrap().llama_version, "0.5.0");
        let info_size = fs::metadata(home.store.info_path(&build.id)).unwrap().len();
        let tool_size = fs::metadata(build.path.join("bin/llama-server")).unwrap().len();
        assert_eq!(build.size_bytes, info_size + tool_size + "oak\n".len() as u64 + "MIT\n".len() as u64);
    }
}

#[test]
fn damaged_and_newer_builds_are_listed_with_the_reason() {
    let home = home();
    let [oak, elm, fir] = ["oak", "elm", "fir"].map(|name| install(&home.store, name));
    fs::write(home.store.info_path(&oak), "{ \"schema_version\": 1").unwrap();
    fs::write(home.store.info_path(&elm), "{ \"schema_version\": 2 }").unwrap();
    fs::create_dir(home.store.builds().join("not-a-build")).unwrap();
    let builds = home.store.list().unwrap();
    assert_eq!(builds.len(), 3);
    let code =
        |id| builds.iter().find(|build| build.id == id).unwrap().info.as_ref().err().map(diagnostic::Error::code);
    assert_eq!(code(oak), Some(codes::BUILD_CORRUPT));
    assert_eq!(code(elm), Some(codes::SCHEMA_NEWER));
    assert_eq!(code(fir), None);
    assert_eq!(active_says(&home.store), "fir");
}

#[test]
fn a_build_is_found_by_id_prefix_or_content() {
    let home = home();
    let [oak, elm] = ["oak", "elm"].map(|name| install(&home.store, name));
    assert_eq!(home.store.find(&oak.to_string()).unwrap(), oak);
    assert_eq!(home.store.find(elm.content()).unwrap(), elm);
    assert_eq!(home.store.find(&elm.content()[..4]).unwrap(), elm);
    let ambiguous = home.store.find("native").unwrap_err();
    assert_eq!(ambiguous.code(), codes::NO_SUCH_BUILD);
    assert!(ambiguous.to_string().starts_with("`native` names 2 builds: `native-0.5.0-0c1e5709-"), "{ambiguous}");
    assert_eq!(home.store.find("").unwrap_err().code(), codes::NO_SUCH_BUILD);
    writer(&home.store).uninstall(&oak.to_string()).unwrap();
    assert_eq!(home.store.find("native-").unwrap(), elm);
}

#[test]
fn an_unknown_id_gets_the_nearest_ones() {
    let home = home();
    let show = |text: &str| {
        let error = home.store.find(text).unwrap_err();
        assert_eq!(error.code(), codes::NO_SUCH_BUILD);
        format!("{error}\nhint: {}", error.hints().join("\nhint: "))
    };
    insta::assert_snapshot!(show("native-0.4"), @"
        no installed build has the id `native-0.4`
        hint: nothing is installed yet: `cargo xtask install-fast`
    ");
    let oak = install(&home.store, "oak");
    install(&home.store, "elm");
    let mut typo = oak.to_string();
    typo.pop();
    typo.push('x');
    insta::assert_snapshot!(show(&typo), @"
        no installed build has the id `native-0.5.0-0c1e5709-b360a86x`
        hint: nearest: `native-0.5.0-0c1e5709-b360a86e`, `native-0.5.0-0c1e5709-48525d8a`
    ");
}

#[test]
fn verify_names_every_difference() {
    let home = home();
    let id = install(&home.store, "oak");
    let build = home.store.build(&id);
    assert_eq!(home.store.verify(&id).unwrap().to_string(), "intact");
    fs::write(build.join("lib/libname.so.1"), "elm\n").unwrap();
    fs::remove_file(build.join("share/LICENSE")).unwrap();
    fs::write(build.join("share/NEW"), "").unwrap();
    insta::assert_snapshot!(home.store.verify(&id).unwrap(), @"wrong: lib/libname.so, lib/libname.so.1; missing: share/LICENSE; extra: share/NEW");
    // A library replaced by a link to the same bytes elsewhere would break when the store moves.
    fs::remove_file(build.join("lib/libname.so.1")).unwrap();
    let elsewhere = home.directory.path().join("elsewhere");
    fs::write(&elsewhere, "oak\n").unwrap();
    std::os::unix::fs::symlink(&elsewhere, build.join("lib/libname.so.1")).unwrap();
    insta::assert_snapshot!(home.store.verify(&id).unwrap(), @"wrong: lib/libname.so, lib/libname.so.1; missing: share/LICENSE; extra: share/NEW");
}

#[test]
fn verify_notices_information_of_another_build() {
    let home = home();
    let [oak, elm] = ["oak", "elm"].map(|name| install(&home.store, name));
    fs::copy(home.store.info_path(&elm), home.store.info_path(&oak)).unwrap();
    let error = home.store.verify(&oak).unwrap_err();
    assert_eq!(error.code(), codes::BUILD_CORRUPT);
    assert!(error.to_string().contains("belongs to another build"), "{error}");
}

#[test]
fn uninstall_removes_a_build_but_never_the_active_one() {
    let home = home();
    let [oak, elm] = ["oak", "elm"].map(|name| install(&home.store, name));
    let writer = writer(&home.store);
    let error = writer.uninstall(&elm.to_string()).unwrap_err();
    assert_eq!(error.code(), codes::BUILD_ACTIVE);
    assert!(error.hints()[0].contains("rollback"), "{error:?}");
    let size = home.store.list().unwrap().iter().find(|build| build.id == oak).unwrap().size_bytes;
    let removed = writer.uninstall(&oak.to_string()).unwrap();
    assert_eq!((removed.id, removed.size_bytes), (oak.clone(), size));
    assert_eq!(writer.uninstall(&oak.to_string()).unwrap_err().code(), codes::NO_SUCH_BUILD);
    assert_only_works(&home.store, &elm, "elm");
}

#[test]
fn a_damaged_build_can_be_uninstalled() {
    let home = home();
    let [oak, elm] = ["oak", "elm"].map(|name| install(&home.store, name));
    fs::remove_file(home.store.info_path(&oak)).unwrap();
    writer(&home.store).uninstall(&oak.to_string()).unwrap();
    assert_only_works(&home.store, &elm, "elm");
}

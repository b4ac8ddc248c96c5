//! What a person may get wrong.

use std::fs;

use diagnostic::codes;
use testkit::registry::{REPOSITORY, RealRegistry};

use crate::home::{Done, Home};

#[test]
fn a_wrong_name_gets_one_clear_error() {
    let home = Home::new();
    fs::write(home.file("text.tar"), "not an archive").unwrap();
    fs::create_dir(home.file("empty")).unwrap();
    let long = format!("registry.example/{}", "a".repeat(5000));
    let cases = [
        ("", codes::REFERENCE_INVALID, "it is empty"),
        ("llama", codes::REFERENCE_INVALID, "it has no registry"),
        ("owner/llama:1", codes::REFERENCE_INVALID, "`owner` is not the host of a registry"),
        ("https://registry.example/owner/llama:1", codes::REFERENCE_INVALID, "it is a URL"),
        ("registry.example/Owner/llama:1", codes::REFERENCE_INVALID, "is not a repository"),
        ("registry.example/owner/llama:", codes::REFERENCE_INVALID, "is not a tag"),
        ("registry.example/owner/llama@sha256:12", codes::REFERENCE_INVALID, "is not a digest"),
        ("registry.example:port/owner/llama", codes::REFERENCE_INVALID, "is not a host"),
        ("../layout", codes::REFERENCE_INVALID, "a path needs a word before it"),
        ("oci:", codes::REFERENCE_INVALID, "it has no path"),
        ("oci://layout", codes::REFERENCE_INVALID, "not by a URL"),
        ("a\u{1b}[31mb", codes::REFERENCE_INVALID, "control characters"),
        (&long, codes::REFERENCE_INVALID, "too long"),
        ("oci:/no/such/layout", codes::NOT_FOUND, "does not exist"),
        ("oci:empty", codes::MANIFEST_INVALID, "it has no `oci-layout`"),
        ("oci-archive:/no/such/file.tar", codes::NOT_FOUND, "does not exist"),
        ("oci-archive:text.tar", codes::ARCHIVE_INVALID, "layout archive `text.tar` is refused: it is damaged"),
    ];
    for (name, code, saying) in cases {
        for command in ["install-fast", "verify"] {
            let done = home.run(&[command, name]).fails(code, saying);
            assert!(!done.said.contains('\u{1b}'), "{:?}", done.said);
        }
        // An empty variable is as good as none.
        if !name.is_empty() {
            Done::of(home.command(&["install-fast"]).env("CARAVAN_REF", name)).fails(code, saying);
        }
    }
    let advised = [
        ("oci:/no/such/layout", codes::NOT_FOUND, "`cargo xtask package` makes one"),
        ("oci-archive:/no/such/file.tar", codes::NOT_FOUND, "`skopeo copy"),
        ("oci-archive:text.tar", codes::ARCHIVE_INVALID, "copy it again"),
    ];
    for (name, code, hint) in advised {
        home.run(&["install-fast", name])
            .fails(code, name.split_once(':').unwrap().1)
            .saying(&format!("\nhint: {hint}"));
    }
    home.assert_nothing_installed();
}

#[test]
fn only_a_tag_in_a_registry_can_be_pushed_to() {
    let home = Home::new();
    let v1 = crate::artefacts::v1(home.path());
    let push = |name: &str| home.run(&["push", name, "--from", v1.dir()]);
    push("llama").fails(codes::REFERENCE_INVALID, "it has no registry").saying("HOST/REPOSITORY:TAG");
    push("oci:layout").fails(codes::REFERENCE_INVALID, "is not in a registry");
    let digest = v1.index().digest;
    push(&format!("127.0.0.1:1/owner/llama@{digest}")).fails(codes::REFERENCE_INVALID, "has no tag to push to");
}

#[test]
fn what_the_registry_does_not_have_is_named() {
    let (home, registry) = (Home::new(), RealRegistry::start());
    let name = format!("{}/{REPOSITORY}:nothing", registry.host);
    for command in ["install-fast", "verify"] {
        home.run(&[command, &name]).fails(codes::NOT_FOUND, &format!("`{name}`"));
    }
    home.assert_nothing_installed();
}

#[test]
fn a_wrong_key_or_mirror_is_named() {
    let home = Home::new();
    let v1 = crate::artefacts::v1(home.path());
    let name = v1.reference();
    fs::write(home.file("text.pub"), "not a key").unwrap();
    home.run(&["install-fast", &name, "--key", "missing.pub"]).fails(codes::IO, "missing.pub");
    home.run(&["install-fast", &name, "--key", "text.pub"]).fails(codes::KEY_UNUSABLE, "is not a minisign public key");
    let mirror = ["install-fast", "registry.example/a:1", "--registry-mirror", "http://mirror.example"];
    home.run(&mirror).fails(codes::REFERENCE_INVALID, "is not a mirror");
    home.assert_nothing_installed();
}

#[test]
fn package_replaces_nothing_but_a_layout() {
    let home = Home::new();
    fs::create_dir(home.file("docs")).unwrap();
    fs::write(home.file("docs/notes.md"), "years of work").unwrap();
    // Even a dry run says so: nobody should compile first.
    let done = home.run(&["package", "--out", "docs", "--dry-run"]);
    done.fails(codes::MANIFEST_INVALID, "is there and is no layout").saying("--out");
    assert!(fs::exists(home.file("docs/notes.md")).unwrap());
}

//! Names of artefacts.

use diagnostic::codes;
use insta::assert_snapshot;
use oci::{Digest, Reference};
use proptest::prelude::*;

const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

fn parsed(text: &str) -> Reference {
    text.parse().unwrap()
}

/// The message and the hints of a name that is refused.
fn refused(text: &str) -> String {
    let error = text.parse::<Reference>().unwrap_err();
    assert_eq!(error.code(), codes::REFERENCE_INVALID);
    let hints: Vec<String> = error.hints().iter().map(|hint| format!("\nhint: {hint}")).collect();
    format!("{error}{}", hints.concat())
}

#[test]
fn names_in_registries_are_taken_apart() {
    let Reference::Registry(name) = parsed("ghcr.io/owner/llama.cpp:v1") else { panic!("not a registry") };
    assert_eq!((name.host.as_str(), name.repository.as_str()), ("ghcr.io", "owner/llama.cpp"));
    assert_eq!((name.tag.as_deref(), name.digest), (Some("v1"), None));
    let Reference::Registry(name) = parsed(&format!("localhost:5000/a/b_c/d__e/f--g:1@{DIGEST}")) else {
        panic!("not a registry")
    };
    assert_eq!((name.host.as_str(), name.repository.as_str()), ("localhost:5000", "a/b_c/d__e/f--g"));
    assert_eq!(name.digest.unwrap().to_string(), DIGEST);
    assert_eq!(name.manifest(), DIGEST);
    assert_eq!(parsed("[::1]:5000/a").to_string(), "[::1]:5000/a:latest");
    assert_eq!(parsed(&format!("ghcr.io/a/b@{DIGEST}")).to_string(), format!("ghcr.io/a/b@{DIGEST}"));
    assert_eq!(parsed("ghcr.io/a/b").to_string(), "ghcr.io/a/b:latest");
}

#[test]
fn names_in_layouts_are_taken_apart() {
    let Reference::Layout(name) = parsed("oci:/srv/a:v1") else { panic!("not a layout") };
    assert_eq!((name.path.to_str(), name.tag.as_deref()), (Some("/srv/a"), Some("v1")));
    let Reference::Layout(name) = parsed("oci:some dir/with@sign") else { panic!("not a layout") };
    assert_eq!((name.path.to_str(), name.tag), (Some("some dir/with@sign"), None));
    let Reference::Archive(name) = parsed(&format!("oci-archive:a.tar:v1@{DIGEST}")) else { panic!("not an archive") };
    assert_eq!((name.path.to_str(), name.tag.as_deref()), (Some("a.tar"), Some("v1")));
    assert_eq!(name.digest, Some(Digest::of(b"{}")));
}

#[test]
fn a_pinned_reference_has_a_digest_and_no_tag() {
    let pinned = parsed("ghcr.io/a/b:v1").pinned(Digest::of(b"{}"));
    assert_eq!(pinned.to_string(), format!("ghcr.io/a/b@{DIGEST}"));
    assert_eq!(parsed(&pinned.to_string()), pinned);
}

#[test]
fn what_is_no_name_is_refused_with_what_to_write() {
    assert_snapshot!(refused(""), @"`` is not the name of an artefact: it is empty, too long, or holds control characters");
    assert_snapshot!(refused("ghcr.io/Owner/Name:v1"), @r#"
    `ghcr.io/Owner/Name:v1` is not the name of an artefact: `Owner/Name` is not a repository
    hint: repositories are lower case: `ghcr.io/owner/name`
    "#);
    assert_snapshot!(refused("ghcr.io/owner/name:"), @r#"
    `ghcr.io/owner/name:` is not the name of an artefact: its tag is invalid: `` is not a tag
    hint: a tag is up to 128 letters, digits, `_`, `.`, `-`, and begins with a letter, digit or `_`
    "#);
    assert_snapshot!(refused("ghcr.io/owner/name:a b"), @r#"
    `ghcr.io/owner/name:a b` is not the name of an artefact: its tag is invalid: `a b` is not a tag
    hint: a tag is up to 128 letters, digits, `_`, `.`, `-`, and begins with a letter, digit or `_`
    "#);
    assert_snapshot!(refused("ghcr.io/owner//name"), @r#"
    `ghcr.io/owner//name` is not the name of an artefact: `owner//name` is not a repository
    hint: a repository is words of lower-case letters and digits, joined by `/`, `.`, `-`, `_`
    "#);
    assert_snapshot!(refused("owner/name"), @r#"
    `owner/name` is not the name of an artefact: `owner` is not the host of a registry
    hint: write the host too, as in `docker.io/owner/name`
    hint: a layout directory is written `oci:DIR[:TAG]`
    "#);
    assert_snapshot!(refused("name"), @r#"
    `name` is not the name of an artefact: it has no registry
    hint: write `HOST/REPOSITORY:TAG`, for example `ghcr.io/owner/name:tag`
    "#);
    assert_snapshot!(refused("docker://ghcr.io/owner/name"), @r#"
    `docker://ghcr.io/owner/name` is not the name of an artefact: it is a URL
    hint: leave the scheme out: `ghcr.io/owner/name`
    "#);
    assert_snapshot!(refused("/srv/layout"), @r#"
    `/srv/layout` is not the name of an artefact: a path needs a word before it
    hint: write `oci:DIR[:TAG]` for a layout directory, `oci-archive:FILE[:TAG]` for a layout archive
    "#);
    assert_snapshot!(refused("./layout.tar"), @r#"
    `./layout.tar` is not the name of an artefact: a path needs a word before it
    hint: write `oci:DIR[:TAG]` for a layout directory, `oci-archive:FILE[:TAG]` for a layout archive
    "#);
    assert_snapshot!(refused("layout.tar"), @r#"
    `layout.tar` is not the name of an artefact: a path needs a word before it
    hint: write `oci:DIR[:TAG]` for a layout directory, `oci-archive:FILE[:TAG]` for a layout archive
    "#);
    assert_snapshot!(refused("oci:"), @r#"
    `oci:` is not the name of an artefact: it has no path
    hint: write `oci:DIR[:TAG]` or `oci-archive:FILE[:TAG]`
    "#);
    assert_snapshot!(refused("oci:dir:"), @r#"
    `oci:dir:` is not the name of an artefact: its tag is invalid: `` is not a tag
    hint: a tag is up to 128 letters, digits, `_`, `.`, `-`, and begins with a letter, digit or `_`
    "#);
    assert_snapshot!(refused("oci://ghcr.io/owner/name"), @r#"
    `oci://ghcr.io/owner/name` is not the name of an artefact: a layout is named by a path, not by a URL
    hint: write `oci:DIR` or `oci-archive:FILE`, without `//`
    "#);
    assert_snapshot!(refused("ghcr.io/owner/name@sha256:1234"), @r#"
    `ghcr.io/owner/name@sha256:1234` is not the name of an artefact: what follows `@` is not a digest
    hint: a digest is `sha256:` and 64 lower-case digits
    "#);
    assert_snapshot!(refused("ghcr.io:0/owner/name"), @"`ghcr.io:0/owner/name` is not the name of an artefact: `ghcr.io:0` is not a host with an optional port");
    assert_snapshot!(refused("user@ghcr.io/owner/name"), @"`user@ghcr.io/owner/name` is not the name of an artefact: `user@ghcr.io` is not a host with an optional port");
    assert_snapshot!(refused("ghcr.io/owner/name\n"), @r#"`ghcr.io/owner/name\n` is not the name of an artefact: it is empty, too long, or holds control characters"#);
}

proptest! {
    #[test]
    fn what_is_read_is_written_the_same(text in "((oci|oci-archive):)?[a-zA-Z0-9.:/_@-]{1,40}") {
        if let Ok(name) = text.parse::<Reference>() {
            prop_assert_eq!(name.to_string().parse::<Reference>().unwrap(), name);
        }
    }

    #[test]
    fn good_names_are_read(
        host in "[a-z]{1,8}(\\.[a-z]{1,8}){1,2}(:[1-9][0-9]{1,3})?",
        repository in "[a-z0-9]{1,8}((/|\\.|_|__|-{1,3})[a-z0-9]{1,8}){0,4}",
        tag in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}",
    ) {
        let text = format!("{host}/{repository}:{tag}");
        prop_assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        let _ = text.parse::<Reference>();
    }
}

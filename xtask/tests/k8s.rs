//! The manifests for Kubernetes, through a real kustomize and the API's own schemas. They are the same on every machine, and
//! PyPI has a kubectl for x86-64 alone.

#![cfg(target_arch = "x86_64")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// The program, with a store of the tests' own for what it fetches.
fn xtask(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(arguments)
        .env("CARAVAN_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/k8s"))
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn render(arguments: &[&str]) -> String {
    let done = xtask(&[&["k8s", "render"], arguments].concat());
    assert!(done.status.success(), "{}", text(&done.stderr));
    text(&done.stdout)
}

#[test]
fn the_stable_overlay_is_rendered_as_it_was() {
    insta::assert_snapshot!("stable", render(&["stable"]));
}

#[test]
fn the_research_overlay_is_rendered_as_it_was() {
    insta::assert_snapshot!("research", render(&["research"]));
}

#[test]
fn images_are_named_after_the_artefact_of_this_repository() {
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let artefact = manifest["workspace"]["metadata"]["caravan"]["artefact"].as_str().unwrap();
    let name = artefact.rsplit_once(':').unwrap().0;
    for (overlay, suffix) in [("stable", "server"), ("research", "server-native")] {
        let rendered = render(&[overlay]);
        assert!(rendered.contains(&format!("image: {name}-{suffix}@sha256:")), "{overlay}: {name}\n{rendered}");
    }
}

#[test]
fn an_image_is_set_by_digest_and_nothing_else_changes() {
    let image = format!("localhost:5000/own/server@sha256:{}", "ab".repeat(32));
    let (plain, set) = (render(&["stable"]), render(&["stable", "--image", &image]));
    let changed: Vec<_> = plain.lines().zip(set.lines()).filter(|(plain, set)| plain != set).collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!(changed[0].1.trim(), format!("image: {image}"));

    for (image, exit) in [("localhost:5000/own/server:1", 27), ("oci:dist", 27), ("a b", 27)] {
        let done = xtask(&["k8s", "render", "stable", "--image", image]);
        assert_eq!(done.status.code(), Some(exit), "{image}: {}", text(&done.stderr));
        assert_eq!(text(&done.stdout), "");
    }
}

#[test]
fn what_is_not_published_is_said_and_an_unknown_overlay_is_refused() {
    let done = xtask(&["k8s", "render", "stable"]);
    assert!(text(&done.stderr).contains("not published yet"), "{}", text(&done.stderr));
    let done = xtask(&["k8s", "render", "unstable"]);
    assert_eq!(done.status.code(), Some(90), "{}", text(&done.stderr));
    assert!(text(&done.stderr).contains("hint: ours are `research`, `stable`"), "{}", text(&done.stderr));
}

#[test]
fn our_overlays_pass_alone_and_with_each_component() {
    let done = xtask(&["k8s", "check", "--json"]);
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(said["kubernetes"].as_array().unwrap().len(), 3, "{said}");
    let overlays = said["overlays"].as_array().unwrap();
    assert_eq!(overlays.len(), 10, "{said}");
    for overlay in overlays {
        assert!(overlay["objects"].as_u64().unwrap() >= 6, "{overlay}");
        for finding in overlay["findings"].as_array().unwrap() {
            assert_eq!(finding["rule"], "image-not-published", "{finding}");
            assert_eq!(finding["severity"], "note", "{finding}");
        }
    }
}

/// An overlay of a person, over ours.
fn overlay(dir: &Path, more: &str) -> String {
    let stable = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("k8s/overlays/stable");
    let up = "../".repeat(dir.canonicalize().unwrap().components().count() - 1);
    let base = format!("{up}{}", stable.strip_prefix("/").unwrap().display());
    fs::write(dir.join("kustomization.yaml"), format!("resources: [{base}]\n{more}")).unwrap();
    dir.to_str().unwrap().to_owned()
}

#[test]
fn a_manifest_that_the_api_does_not_know_is_found_in_every_version() {
    let dir = tempfile::tempdir().unwrap();
    let patch = "patches:\n- target: {kind: Deployment}\n  patch: |-\n    - op: add\n      path: /spec/template/spec/replicsa\n      value: 3\n";
    let done = xtask(&["k8s", "check", &overlay(dir.path(), patch)]);
    assert_eq!(done.status.code(), Some(91), "{}{}", text(&done.stdout), text(&done.stderr));
    let said = text(&done.stdout);
    assert!(said.contains("Kubernetes 1.35, 1.36, 1.37") && said.contains("'replicsa' was unexpected"), "{said}");
    assert!(said.contains("[schema]"), "{said}");
    assert!(text(&done.stderr).contains("1 error in the manifests [k8s::unfit]"), "{}", text(&done.stderr));
}

#[test]
fn a_thread_count_above_the_limit_is_found_and_a_kind_without_a_schema_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: a}\n";
    fs::write(dir.path().join("keda.yaml"), foreign).unwrap();
    let generator = "configMapGenerator:\n- name: caravan\n  behavior: merge\n  literals: [CODING_THREADS=9]\n";
    let own = overlay(dir.path(), generator);
    let file = dir.path().join("kustomization.yaml");
    let kustomization = fs::read_to_string(&file).unwrap().replace("resources: [", "resources: [keda.yaml, ");
    fs::write(&file, kustomization).unwrap();
    let done = xtask(&["k8s", "check", &own]);
    assert_eq!(done.status.code(), Some(91), "{}{}", text(&done.stdout), text(&done.stderr));
    let said = text(&done.stdout);
    assert!(said.contains("`CODING_THREADS` is 9") && said.contains("[threads-above-limit]"), "{said}");
    assert!(said.contains("note: ScaledObject/a kind: not validated"), "{said}");
}

#[test]
fn what_kustomize_cannot_render_is_an_error_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let own = overlay(dir.path(), "patches:\n- path: missing.yaml\n");
    let done = xtask(&["k8s", "check", &own]);
    assert_eq!(done.status.code(), Some(90), "{}", text(&done.stderr));
    assert!(text(&done.stderr).contains("missing.yaml"), "{}", text(&done.stderr));
}

#[test]
fn without_kubectl_and_kustomize_one_is_fetched_that_renders_the_same() {
    let bin = tempfile::tempdir().unwrap();
    let found = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    std::os::unix::fs::symlink(text(&found.stdout).trim(), bin.path().join("python3")).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["k8s", "render", "stable"])
        .env("CARAVAN_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/k8s"))
        .env("PATH", bin.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(text(&done.stdout), render(&["stable"]));
}

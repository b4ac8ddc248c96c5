//! What docker and podman stored.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use diagnostic::codes;
use insta::assert_snapshot;
use oci::Credentials;

use crate::child;
use crate::support::registry::RealRegistry;
use crate::support::*;

/// `caravan:s3cret:with:colons`
const AUTH: &str = "Y2FyYXZhbjpzM2NyZXQ6d2l0aDpjb2xvbnM=";

fn file(dir: &Path, name: &str, content: &str) -> PathBuf {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn the_first_file_that_knows_the_registry_counts() {
    let dir = tempfile::tempdir().unwrap();
    let podman = file(dir.path(), "auth.json", r#"{"auths":{"other.example":{"auth":"YTpi"}}}"#);
    let docker = file(dir.path(), "config.json", &format!(r#"{{"auths":{{"ghcr.io":{{"auth":"{AUTH}"}}}}}}"#));
    let missing = dir.path().join("missing.json");
    let files = [missing, podman, docker];
    assert_eq!(Credentials::find("ghcr.io", REPOSITORY, &files).unwrap(), basic(PASSWORD));
    assert_eq!(
        Credentials::find("other.example", REPOSITORY, &files).unwrap(),
        Credentials::Basic { username: "a".to_owned(), password: "b".to_owned() }
    );
    assert_eq!(Credentials::find("unknown.example", REPOSITORY, &files).unwrap(), Credentials::Anonymous);
    assert_eq!(Credentials::find("ghcr.io", REPOSITORY, &[]).unwrap(), Credentials::Anonymous);
    let debug = format!("{:?}", Credentials::find("ghcr.io", REPOSITORY, &files).unwrap());
    assert!(!debug.contains("s3cret"), "{debug}");
}

#[test]
fn dockers_own_registry_is_found_under_its_old_address() {
    let dir = tempfile::tempdir().unwrap();
    let old = format!(r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{AUTH}"}}}}}}"#);
    let files = [file(dir.path(), "config.json", &old)];
    for host in ["docker.io", "index.docker.io"] {
        assert_eq!(Credentials::find(host, REPOSITORY, &files).unwrap(), basic(PASSWORD));
    }
}

#[test]
fn what_is_stored_for_the_repository_counts_before_what_is_stored_for_the_host() {
    let dir = tempfile::tempdir().unwrap();
    // `a:b`, `c:d` and `e:f`.
    let auths = r#"{"auths":{"ghcr.io":{"auth":"YTpi"},"ghcr.io/owner":{"auth":"Yzpk"},"ghcr.io/owner/deep/name":{"auth":"ZTpm"}}}"#;
    let podman = [file(dir.path(), "auth.json", auths)];
    let found = |repository: &str| match Credentials::find("ghcr.io", repository, &podman).unwrap() {
        Credentials::Basic { username, .. } => username,
        other => panic!("{other:?}"),
    };
    assert_eq!(found("owner/deep/name"), "e");
    assert_eq!(found("owner/deep/other"), "c");
    assert_eq!(found("owner/name"), "c");
    assert_eq!(found("owners/name"), "a");
    let hub = r#"{"auths":{"docker.io/owner":{"auth":"YTpi"},"https://index.docker.io/v1/":{"auth":"Yzpk"}}}"#;
    let hub = [file(dir.path(), "hub.json", hub)];
    let a = Credentials::Basic { username: "a".to_owned(), password: "b".to_owned() };
    assert_eq!(Credentials::find("index.docker.io", "owner/name", &hub).unwrap(), a);
    assert_ne!(Credentials::find("index.docker.io", "other/name", &hub).unwrap(), a);
}

#[test]
fn what_is_damaged_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |content: &str| {
        let files = [file(dir.path(), "config.json", content)];
        let error = Credentials::find("ghcr.io", REPOSITORY, &files).unwrap_err();
        assert_eq!(error.code(), codes::REGISTRY_REFUSED);
        error.to_string().replace(dir.path().to_str().unwrap(), "DIR")
    };
    assert_snapshot!(refused("{"), @"cannot take credentials for `ghcr.io` from `DIR/config.json`: it is not a valid configuration");
    assert_snapshot!(refused(r#"{"auths":{"ghcr.io":{"auth":"%%%"}}}"#), @"cannot take credentials for `ghcr.io` from `DIR/config.json`: the entry is damaged");
    assert_snapshot!(refused(r#"{"auths":{"ghcr.io":{"identitytoken":"t"}}}"#), @"cannot take credentials for `ghcr.io` from `DIR/config.json`: an identity token is stored, which is not supported");
    assert_snapshot!(refused(r#"{"credHelpers":{"ghcr.io":"caravan-no-such-helper"}}"#), @"cannot take credentials for `ghcr.io` from `DIR/config.json`: the credential helper that it names cannot be asked");
}

/// Pulls in a process of its own, whose environment has a home and this helper, which has to read what it is asked.
fn pull_with_helper(registry: &RealRegistry, script: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let helper = file(dir.path(), "bin/docker-credential-test", &format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    file(dir.path(), "home/.docker/config.json", r#"{"credsStore":"test"}"#);
    let mut command = child::command(dir.path(), &format!("pull-with-stored-credentials {}", registry.host));
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", dir.path().join("bin").display())).env("HOME", dir.path().join("home"));
    for variable in ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"] {
        command.env_remove(variable);
    }
    let result = testkit::child::start(&mut command).result().unwrap();
    result.replace(dir.path().to_str().unwrap(), "DIR").replace(&registry.host, "HOST")
}

#[test]
fn helpers_are_asked_and_their_failures_reported() {
    let dir = tempfile::tempdir().unwrap();
    let artefact = artefact(dir.path());
    let registry = RealRegistry::with_password();
    push_as(&artefact, &reference(&registry.host), basic(PASSWORD)).unwrap();
    let knows = format!(
        r#"[ "$1" = get ] && [ "$(cat)" = "{}" ] && echo '{{"Username":"{USER}","Secret":"{PASSWORD}"}}'"#,
        registry.host
    );
    assert_eq!(pull_with_helper(&registry, &knows), "ok");
    assert_snapshot!(pull_with_helper(&registry, "cat >/dev/null; echo credentials not found in native keychain; exit 1"), @"oci::registry_refused registry `HOST` refuses access to `HOST/owner/artefact`: authentication required");
    assert_snapshot!(pull_with_helper(&registry, "cat >/dev/null; echo the keychain is locked; exit 1"), @"oci::registry_refused cannot take credentials for `HOST` from `DIR/home/.docker/config.json`: `docker-credential-test` failed: the keychain is locked");
    assert_snapshot!(pull_with_helper(&registry, "cat >/dev/null; echo nonsense"), @"oci::registry_refused cannot take credentials for `HOST` from `DIR/home/.docker/config.json`: the credential helper that it names gave no valid answer");
    // Nobody is asked where nothing is demanded.
    let open = RealRegistry::start();
    push(&artefact, &open.host);
    assert_eq!(pull_with_helper(&open, "cat >/dev/null; echo the keychain is locked; exit 1"), "ok");
}

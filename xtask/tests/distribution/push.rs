//! Making keys, signing, and bringing an artefact to a registry.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use diagnostic::codes;
use oci::{Index, Layout};
use testkit::registry::RealRegistry;

use crate::artefacts;
use crate::home::{Done, Home, reference};

#[test]
fn a_key_pair_is_for_its_owner_and_never_overwritten() {
    let home = Home::new();
    let keys = home.keys("signer");
    assert_eq!(fs::metadata(&keys.secret).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&keys.secret).unwrap();
    home.run(&["keygen", &keys.secret, "--no-password"]).fails(codes::IO, "file exists");
    assert_eq!(fs::read(&keys.secret).unwrap(), before);
    home.run(&["keygen", "/no/such/dir/key", "--no-password"]).fails(codes::IO, "/no/such/dir/key");
    // A secret key without its public one is not left behind.
    let other = home.file("other");
    fs::write(format!("{other}.pub"), "somebody's").unwrap();
    home.run(&["keygen", &other, "--no-password"]).fails(codes::IO, "other.pub");
    assert!(!Path::new(&other).exists());
    assert_eq!(fs::read(format!("{other}.pub")).unwrap(), b"somebody's");
}

#[test]
fn a_key_with_a_password_signs_only_with_it() {
    let (home, registry) = (Home::new(), RealRegistry::start());
    let (key, v1) = (home.file("locked"), artefacts::v1(home.path()));
    home.run(&["keygen", &key]).fails(codes::KEY_UNUSABLE, "no terminal").saying("CARAVAN_SIGN_PASSWORD");
    assert!(!Path::new(&key).exists());
    let with =
        |password: &str, arguments: &[&str]| Done::of(home.command(arguments).env("CARAVAN_SIGN_PASSWORD", password));
    // An empty variable is as good as none.
    with("", &["keygen", &key]).fails(codes::KEY_UNUSABLE, "no terminal");
    with("correct", &["keygen", &key]).succeeds();
    let reference = reference(&registry.host);
    let push = ["push", &reference, "--from", v1.dir(), "--sign-key", &key];
    with("wrong", &push).fails(codes::KEY_UNUSABLE, "the secret key cannot be used");
    home.run(&push).fails(codes::KEY_UNUSABLE, "no terminal");
    assert_eq!(registry.get("manifests/stable").0, 404, "nothing was pushed without a signature");
    with("correct", &push).succeeds();
    home.run(&["install-fast", &reference, "--key", &format!("{key}.pub")]).succeeds();
}

#[test]
fn what_is_there_is_not_pushed_again() {
    let (home, registry) = (Home::new(), RealRegistry::start());
    let v1 = artefacts::v1(home.path());
    let reference = reference(&registry.host);
    let first = home.push(&v1, &reference, None).succeeds();
    assert_eq!(first.printed, format!("{reference}@{}\n", v1.index().digest));
    assert!(!first.said.contains("pushed    0 of"), "{}", first.said);
    let again = home.push(&v1, &reference, None).succeeds();
    assert!(again.said.contains("pushed    0 of"), "{}", again.said);
    assert_eq!(again.printed, first.printed);
}

#[test]
fn a_layout_is_named_from_the_working_directory() {
    let home = Home::new();
    let v1 = artefacts::v1(home.path());
    let name = Path::new(v1.dir()).file_name().unwrap().to_str().unwrap();
    let done = home.run(&["push", "registry.example/a/b:1", "--from", name, "--dry-run"]).succeeds();
    assert!(done.printed.contains(&v1.index().digest.to_string()), "{}", done.printed);
}

#[test]
fn what_was_signed_stays_signed_when_it_is_pushed_again() {
    let (home, registry) = (Home::new(), RealRegistry::start());
    let (keys, v1) = (home.keys("signer"), artefacts::v1(home.path()));
    let reference = reference(&registry.host);
    let signatures = |digest: &oci::Digest| {
        let (status, list) = registry.get(&format!("manifests/{}", digest.fallback_tag()));
        assert_eq!(status, 200);
        Index::parse(&list, "the list").unwrap().manifests.len()
    };
    for keys in [Some(&keys), Some(&keys), None] {
        home.push(&v1, &reference, keys).succeeds();
        assert_eq!(signatures(&v1.index().digest), 1, "a second signature by the same key says nothing new");
    }
    home.run(&["install-fast", &reference, "--key", &keys.public]).succeeds();
    home.assert_active(&v1);
    // Another key does.
    let next = home.keys("next");
    home.push(&v1, &reference, Some(&next)).succeeds();
    assert_eq!(signatures(&v1.index().digest), 2);
    home.run(&["verify", &reference, "--key", &next.public]).succeeds();
}

#[test]
fn the_manifest_alone_is_signed_too() {
    let (home, registry) = (Home::new(), RealRegistry::start());
    let (keys, v1) = (home.keys("signer"), artefacts::v1(home.path()));
    home.push(&v1, &reference(&registry.host), Some(&keys)).succeeds();
    let manifest = format!("{}/{}@{}", registry.host, testkit::registry::REPOSITORY, v1.manifest().0.digest);
    home.run(&["install-fast", &manifest, "--key", &keys.public]).succeeds();
    home.assert_active(&v1);
}

#[test]
fn a_registry_with_a_password_takes_what_docker_stored() {
    let (home, registry) = (Home::new(), RealRegistry::with_password());
    let (keys, v1) = (home.keys("signer"), artefacts::v1(home.path()));
    let reference = reference(&registry.host);
    home.push(&v1, &reference, Some(&keys)).fails(codes::REGISTRY_REFUSED, "refuses access").saying("docker login");
    log_in(&home, &registry, "Y2FyYXZhbjp3cm9uZw==");
    home.push(&v1, &reference, Some(&keys)).fails(codes::REGISTRY_REFUSED, "refuses access");
    log_in(&home, &registry, "Y2FyYXZhbjpzM2NyZXQ6d2l0aDpjb2xvbnM=");
    let pushed = home.push(&v1, &reference, Some(&keys)).succeeds();
    assert!(!pushed.said.contains("s3cret"), "{}", pushed.said);
    home.run(&["install-fast", &reference, "--key", &keys.public]).succeeds();
    home.assert_active(&v1);

    let stranger = Home::new();
    stranger.run(&["install-fast", &reference, "--key", &keys.public]).fails(codes::REGISTRY_REFUSED, "refuses access");
    stranger.assert_nothing_installed();
}

/// What `docker login` leaves: `user:password` in base64.
fn log_in(home: &Home, registry: &RealRegistry, auth: &str) {
    fs::create_dir_all(home.path().join("docker")).unwrap();
    let config = format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, registry.host);
    fs::write(home.path().join("docker/config.json"), config).unwrap();
}

#[test]
fn a_plan_pushes_and_signs_nothing() {
    let (home, registry) = (Home::new(), RealRegistry::start());
    let v1 = artefacts::v1(home.path());
    let plan = home.run(&["push", &reference(&registry.host), "--from", v1.dir(), "--dry-run"]).succeeds();
    assert!(plan.printed.starts_with(&format!("push {} of ", v1.index().digest)), "{}", plan.printed);
    assert_eq!(registry.get("manifests/stable").0, 404);
}

#[test]
fn what_cannot_be_pushed_or_signed_is_one_error() {
    let home = Home::new();
    let (keys, reference) = (home.keys("signer"), "127.0.0.1:1/owner/artefact:stable");
    let missing = home.file("missing");
    home.run(&["push", reference, "--from", &missing]).fails(codes::NOT_FOUND, "does not exist").saying("package");
    let empty = Layout::create(&home.path().join("empty")).unwrap();
    let from = home.file("empty");
    home.run(&["push", reference, "--from", &from]).fails(codes::NOT_FOUND, "no single entry");
    // An index that lists nothing has nothing to sign.
    empty.tag(&empty.put_index(&Index::new(vec![])).unwrap(), "stable").unwrap();
    let sign = ["push", reference, "--from", &from, "--sign-key", &keys.secret];
    home.run(&sign).fails(codes::MANIFEST_INVALID, "there is nothing to sign");
    // The public key is no secret key.
    let v1 = artefacts::v1(home.path());
    let public = ["push", reference, "--from", v1.dir(), "--sign-key", &keys.public];
    home.run(&public).fails(codes::KEY_UNUSABLE, "not one of minisign's");
}

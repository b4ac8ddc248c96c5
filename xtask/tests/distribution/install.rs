//! Installing what is as it should be.

use std::fs;
use std::process::Command;

use diagnostic::codes;
use testkit::proxy::{Fault, Proxy, rule, status};

use crate::artefacts;
use crate::home::{Done, Home, Published, reference, spawn};

#[test]
fn what_is_published_is_installed_and_remembered() {
    let published = Published::new();
    let (home, v1) = (&published.home, &published.v1);
    let done = home.run(&published.install(&[])).succeeds();
    assert!(done.said.contains("verified  sha256:") && done.said.contains(": signed by the key `"), "{}", done.said);
    home.assert_active(v1);
    assert_eq!(home.builds(), [v1.id.to_string()]);
    assert_eq!(home.cached(), [""; 0], "what is installed need not be kept twice");

    let origin = home.origin(&v1.id);
    assert_eq!(origin["reference"], published.reference);
    assert_eq!(origin["digest"], v1.index().digest.to_string());
    assert_eq!(origin["manifest"], v1.manifest().0.digest.to_string());
    let key = origin["signed_by"].as_str().unwrap();
    assert!(key.len() == 16 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
    assert!(done.said.contains(key), "{}", done.said);

    let listed = home.run(&["list", "--json"]).succeeds();
    let listed: serde_json::Value = serde_json::from_str(&listed.printed).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["id"], v1.id.to_string());
    assert_eq!(listed[0]["active"], true);
    home.run(&["show-build", "--verify"]).succeeds();
}

#[test]
fn what_is_installed_is_not_asked_for_again() {
    let published = Published::new();
    let home = &published.home;
    let proxy = Proxy::start(&published.registry.host, vec![]);
    let reference = reference(&proxy.host);
    home.run(&published.install_from(&reference, &[])).succeeds();
    let asked = proxy.seen("").len();
    assert!(asked > 0);
    home.run(&published.install_from(&reference, &[])).succeeds().saying("it was already");
    home.run(&published.install_from(&reference, &["--offline"])).succeeds().saying("it was already");
    assert_eq!(proxy.seen("").len(), asked);
    drop((proxy, published.registry));
    home.run(&["install-fast", &reference, "--key", &published.keys.public]).succeeds().saying("it was already");
    home.assert_active(&published.v1);
}

#[test]
fn the_same_build_by_another_name_is_not_downloaded_and_both_names_are_remembered() {
    let published = Published::installed();
    let (home, v1) = (&published.home, &published.v1);
    let layout = v1.reference();
    let done = home.run(&["install-fast", &layout, "--allow-unsigned"]).succeeds().saying("nothing is newer");
    assert!(!done.said.contains("fetched"), "{}", done.said);
    let names: Vec<_> = home.origins(&v1.id).iter().map(|origin| origin["reference"].clone()).collect();
    assert_eq!(names, [published.reference.as_str(), &layout]);
    home.run(&published.install(&["--offline"])).succeeds().saying("it was already");
}

#[test]
fn what_other_runs_have_left_is_swept_but_not_what_they_are_at() {
    let published = Published::new();
    let home = &published.home;
    let blobs = home.store.cache().join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let names = ["a", "b", "c"].map(|digit| digit.repeat(64));
    let [whole, part, busy] = [names[0].clone(), format!("{}.part", names[1]), format!("{}.part", names[2])];
    for name in [&whole, &part, &busy] {
        fs::write(blobs.join(name), "left").unwrap();
    }
    let lock = fs::File::open(blobs.join(&busy)).unwrap();
    lock.lock().unwrap();
    home.run(&published.install(&[])).succeeds();
    assert_eq!(home.cached(), [busy]);
    drop(lock);
    home.run(&published.install(&["--update"])).succeeds();
    assert_eq!(home.cached(), [""; 0]);
}

#[test]
fn a_damaged_build_is_installed_again() {
    let published = Published::installed();
    let home = &published.home;
    fs::write(home.store.build(&published.v1.id).join("lib/filler.bin"), "not what it was").unwrap();
    home.run(&published.install(&[])).succeeds().saying("fetched");
    home.assert_active(&published.v1);
    assert_eq!(home.builds().len(), 1);
}

#[test]
fn an_update_is_installed_beside_and_can_be_taken_back() {
    let published = Published::installed();
    let (home, v1) = (&published.home, &published.v1);
    home.run(&published.install(&["--update"])).succeeds().saying("nothing is newer");
    let v2 = published.publish_v2();
    home.run(&published.install(&[])).succeeds().saying("it was already");
    home.assert_active(v1);
    home.run(&published.install(&["--update"])).succeeds().saying(&format!("{} (before: {})", v2.id, v1.id));
    home.assert_active(&v2);
    assert_eq!(home.builds().len(), 2);
    assert_eq!(home.origin(&v2.id)["reference"], home.origin(&v1.id)["reference"]);
    assert_ne!(home.origin(&v2.id)["digest"], home.origin(&v1.id)["digest"]);
    home.run(&["rollback"]).succeeds();
    home.assert_active(v1);
    // By its digest the old one is still there for everybody.
    let pinned = format!("{}@{}", published.reference.rsplit_once(':').unwrap().0, v1.index().digest);
    let other = Home::new();
    other.run(&published.install_from(&pinned, &[])).succeeds();
    other.assert_active(v1);
}

#[test]
fn a_layout_and_its_archive_are_installed_without_a_network() {
    let home = Home::new();
    let (keys, v1) = (home.keys("signer"), artefacts::v1(home.path()));
    // Signing happens on the way to a registry; nobody is there.
    home.push(&v1, "127.0.0.1:1/owner/artefact:stable", None).fails(codes::REGISTRY_FAILED, "127.0.0.1");
    crate::trust::sign(&v1, &keys);
    let archive = home.file("v1.tar");
    let packed = Command::new("tar").args(["-cf", &archive, "-C", v1.dir(), "."]).status().unwrap();
    assert!(packed.success());
    for reference in [v1.reference(), format!("{}:v1", v1.reference()), format!("oci-archive:{archive}")] {
        let other = Home::new();
        other.run(&["install-fast", &reference, "--offline", "--key", &keys.public]).succeeds().saying("signed by");
        other.assert_active(&v1);
        assert_eq!(other.origin(&v1.id)["reference"], reference);
        other.run(&["install-fast", &reference, "--key", &keys.public]).succeeds().saying("nothing is newer");
    }
}

#[test]
fn the_environment_names_the_artefact_when_no_argument_does() {
    let published = Published::new();
    let home = &published.home;
    let mut command = home.command(&["install-fast", "--key", &published.keys.public]);
    Done::of(command.env("CARAVAN_REF", &published.reference)).succeeds();
    home.assert_active(&published.v1);
}

#[test]
fn a_registry_that_stumbles_is_asked_again() {
    let published = Published::new();
    let proxy = Proxy::start(
        &published.registry.host,
        vec![
            rule("/manifests/stable", 1, status("429 Too Many Requests\r\nretry-after: 0")),
            rule("/manifests/stable", 1, status("503 Service Unavailable\r\nretry-after: 0")),
            rule(format!("/blobs/{}", published.v1.layer().digest), 1, status("500 Internal Server Error")),
            rule(format!("/blobs/{}", published.v1.layer().digest), 1, Fault::Cut(2_000_000)),
            rule(format!("/blobs/{}", published.v1.layer().digest), 1, Fault::Cut(2_000_000)),
        ],
    );
    let home = &published.home;
    home.run(&published.install_from(&reference(&proxy.host), &[])).succeeds();
    home.assert_active(&published.v1);
    let asked = proxy.seen(&format!("/blobs/{}", published.v1.layer().digest));
    let ranges: Vec<_> = asked.iter().map(|seen| seen.header("range")).collect();
    assert_eq!(ranges, [None, None, Some("bytes=2000000-"), Some("bytes=4000000-")]);
}

#[test]
fn a_mirror_is_asked_instead_and_not_remembered() {
    let published = Published::new();
    let home = &published.home;
    let name = format!("registry.example/{}:stable", testkit::registry::REPOSITORY);
    let mirror = ["--registry-mirror", &published.registry.host];
    home.run(&published.install_from(&name, &mirror)).succeeds();
    home.assert_active(&published.v1);
    assert_eq!(home.origin(&published.v1.id)["reference"], name);
}

#[test]
fn two_at_once_both_succeed_and_share_one_build() {
    for _ in 0..3 {
        let published = Published::new();
        let home = &published.home;
        let both = [(); 2].map(|()| home.start(&published.install(&[])));
        for child in both {
            Done::wait(child).succeeds();
        }
        home.assert_active(&published.v1);
        assert_eq!(home.builds().len(), 1);
        assert_eq!(home.cached(), [""; 0]);
    }
}

/// Both wait for some 25 seconds, for the tries that might have helped: so they do it at the same time.
#[test]
fn a_registry_that_cannot_be_reached_is_one_error() {
    let home = Home::new();
    let named = home.start(&["install-fast", "127.0.0.1:1/owner/artefact:stable"]);
    // What the repository names, at a mirror that is not there: nothing is built instead.
    let other = Home::new();
    let mut default = other.command(&["install-fast", "--no-build", "--registry-mirror", "127.0.0.1:1"]);
    let default = spawn(&mut default);
    for (child, home, hint) in [(named, &home, "`--registry-mirror HOST`"), (default, &other, "leave out `--no-build`")]
    {
        let done = Done::wait(child).fails(codes::REGISTRY_FAILED, "cannot connect to `127.0.0.1`: ");
        done.saying("connection refused").saying(&format!("\nhint: {hint}"));
        home.assert_nothing_installed();
    }
}

#[test]
fn offline_with_nothing_installed_is_an_error() {
    let home = Home::new();
    home.run(&["install-fast", "registry.example/owner/artefact:1", "--offline"])
        .fails(codes::REGISTRY_FAILED, "is not installed")
        .saying("oci-archive:FILE");
    home.run(&["install-fast", "--offline"]).fails(codes::REGISTRY_FAILED, "is not installed");
    home.assert_nothing_installed();
}

#[test]
fn a_dry_run_asks_nobody_and_touches_nothing() {
    let home = Home::new();
    let done = home.run(&["install-fast", "registry.example/owner/artefact:1", "--dry-run"]).succeeds();
    assert!(done.printed.starts_with("install registry.example/owner/artefact:1 (as asked for)\n"), "{}", done.printed);
    assert!(!home.store.root().exists());
}

//! Whom we believe.

use std::fs;
use std::path::Path;

use artefact::signature::{self, SecretKey, Statement};
use diagnostic::codes;

use crate::artefacts::{self, Artefact};
use crate::home::{Home, Keys, Published, reference};

fn signed(artefact: &Artefact, keys: &Keys) -> String {
    let key = SecretKey::read(Path::new(&keys.secret), || panic!("the key has no password")).unwrap();
    let statement = Statement { version: "0.5.0", date: "2026-10-02T00:00:00Z".parse().unwrap() };
    signature::sign(&artefact.index().digest, &statement, &key).unwrap()
}

/// Signs what the tag of a layout names.
pub(crate) fn sign(artefact: &Artefact, keys: &Keys) {
    signature::attach(&artefact.layout, &artefact.index(), &signed(artefact, keys)).unwrap();
}

/// The id in a public key file, as it is shown.
fn key_id(keys: &Keys) -> String {
    let text = fs::read_to_string(&keys.public).unwrap();
    let id = text.lines().next().unwrap().rsplit(' ').next().unwrap();
    assert_eq!(id.len(), 16, "{text}");
    id.to_owned()
}

#[test]
fn what_nobody_signed_is_refused_unless_a_person_allows_it() {
    let (home, registry) = (Home::new(), testkit::registry::RealRegistry::start());
    let (keys, v1) = (home.keys("signer"), artefacts::v1(home.path()));
    let reference = reference(&registry.host);
    home.push(&v1, &reference, None).succeeds();
    let install = ["install-fast", &reference, "--key", &keys.public];
    home.run(&install).fails(codes::UNSIGNED, "has no signature").saying("--allow-unsigned");
    home.run(&["install-fast", &reference]).fails(codes::UNSIGNED, "has no signature").saying("--key");
    home.assert_nothing_installed();
    assert_eq!(home.cached(), [""; 0], "nothing is downloaded before it is trusted");

    let done = home.run(&["install-fast", &reference, "--allow-unsigned"]).succeeds();
    assert!(done.said.contains("no signature is asked for"), "{}", done.said);
    home.assert_active(&v1);
    assert!(home.origin(&v1.id)["signed_by"].is_null());
}

#[test]
fn what_was_installed_unsigned_is_not_used_silently() {
    let (home, registry) = (Home::new(), testkit::registry::RealRegistry::start());
    let (keys, v1) = (home.keys("signer"), artefacts::v1(home.path()));
    let reference = reference(&registry.host);
    home.push(&v1, &reference, None).succeeds();
    home.run(&["install-fast", &reference, "--allow-unsigned"]).succeeds();
    let install = ["install-fast", &reference, "--key", &keys.public];
    let offline = ["install-fast", &reference, "--key", &keys.public, "--offline"];
    home.run(&install).fails(codes::UNSIGNED, "has no signature");
    home.run(&offline).fails(codes::UNSIGNED, "but was not signed").saying("--allow-unsigned");
    home.run(&["install-fast", &reference, "--allow-unsigned", "--offline"]).succeeds().saying("it was already");
    // Signed since: that is looked up once, and nothing is downloaded.
    home.push(&v1, &reference, Some(&keys)).succeeds();
    let done = home.run(&install).succeeds().saying("signed by");
    assert!(!done.said.contains("fetched"), "{}", done.said);
    assert_eq!(home.origin(&v1.id)["signed_by"], key_id(&keys));
    home.run(&offline).succeeds().saying("it was already");
}

#[test]
fn what_a_key_signed_is_not_used_after_the_key_is_gone() {
    let published = Published::installed();
    let home = &published.home;
    let name = published.reference.as_str();
    let why = format!("by the key `{}`, which is not trusted here", key_id(&published.keys));
    home.run(&["install-fast", name]).fails(codes::UNSIGNED, &why);
    home.run(&["install-fast", name, "--offline"]).fails(codes::UNSIGNED, &why).saying("--key FILE");
    home.run(&published.install(&["--offline"])).succeeds().saying("it was already");
}

#[test]
fn a_signature_is_credited_only_to_files_that_were_compared_with_it() {
    let (home, registry) = (Home::new(), testkit::registry::RealRegistry::start());
    let (keys, v1) = (home.keys("signer"), artefacts::v1(home.path()));
    let reference = reference(&registry.host);
    let layout = v1.reference();
    home.run(&["install-fast", &layout, "--allow-unsigned"]).succeeds();
    // The same id, but another manifest: its files may be others.
    let other = |manifest: &mut oci::Manifest| {
        manifest.annotations.insert("org.example.note".to_owned(), "packed again".to_owned());
    };
    v1.change(other, |_| {});
    home.push(&v1, &reference, Some(&keys)).succeeds();
    home.run(&["install-fast", &reference, "--key", &keys.public]).succeeds().saying("fetched");
    let origins = home.origins(&v1.id);
    assert_eq!(origins.len(), 2);
    assert!(origins[0]["signed_by"].is_null());
    assert_eq!(origins[1]["signed_by"], key_id(&keys));
    assert_eq!(home.builds(), [v1.id.to_string()]);
    // Now they have been.
    let again = home.run(&["install-fast", &reference, "--key", &keys.public, "--update"]).succeeds();
    assert!(!again.said.contains("fetched"), "{}", again.said);
}

#[test]
fn what_a_stranger_signed_is_refused_and_the_key_named() {
    let published = Published::new();
    let (home, stranger) = (&published.home, published.home.keys("stranger"));
    let install = ["install-fast", &published.reference, "--key", &stranger.public];
    let why = format!("is signed only by the key `{}`, which is not trusted here", key_id(&published.keys));
    home.run(&install).fails(codes::UNSIGNED, &why);
    home.run(&["verify", &published.reference, "--key", &stranger.public]).fails(codes::UNSIGNED, &why);
    home.assert_nothing_installed();
    // Beside the right one, a further key does no harm.
    home.run(&published.install(&["--key", &stranger.public])).succeeds();
}

#[test]
fn a_signature_of_something_else_is_refused() {
    let (home, registry) = (Home::new(), testkit::registry::RealRegistry::start());
    let keys = home.keys("signer");
    let (v1, v2) = (artefacts::v1(home.path()), artefacts::v2(home.path()));
    signature::attach(&v1.layout, &v1.index(), &signed(&v2, &keys)).unwrap();
    let reference = reference(&registry.host);
    home.push(&v1, &reference, None).succeeds();
    let why = format!("has a bad signature by the key `{}`", key_id(&keys));
    for reference in [reference, v1.reference()] {
        home.run(&["install-fast", &reference, "--key", &keys.public]).fails(codes::UNSIGNED, &why);
    }
    home.assert_nothing_installed();
}

#[test]
fn a_signature_that_was_changed_is_refused() {
    let home = Home::new();
    let (keys, v1) = (home.keys("signer"), artefacts::v1(home.path()));
    let text = signed(&v1, &keys).replace("version:0.5.0", "version:0.5.1");
    signature::attach(&v1.layout, &v1.index(), &text).unwrap();
    home.run(&["install-fast", &v1.reference(), "--key", &keys.public]).fails(codes::UNSIGNED, "has a bad signature");
    home.assert_nothing_installed();
}

#[test]
fn a_good_signature_among_bad_ones_counts() {
    let home = Home::new();
    let [keys, stranger] = ["signer", "stranger"].map(|name| home.keys(name));
    let (v1, v2) = (artefacts::v1(home.path()), artefacts::v2(home.path()));
    signature::attach(&v1.layout, &v1.index(), "no signature at all").unwrap();
    signature::attach(&v1.layout, &v1.index(), &signed(&v2, &keys)).unwrap();
    sign(&v1, &stranger);
    sign(&v1, &keys);
    home.run(&["install-fast", &v1.reference(), "--key", &keys.public]).succeeds();
    assert_eq!(home.origin(&v1.id)["signed_by"], key_id(&keys));
}

#[test]
fn verify_tells_what_is_good_and_installs_nothing() {
    let published = Published::new();
    let home = &published.home;
    let good = home.run(&["verify", &published.reference, "--key", &published.keys.public]).succeeds();
    assert!(good.printed.contains(&format!("signed by the key `{}`", key_id(&published.keys))), "{}", good.printed);
    assert!(good.printed.contains(&published.v1.id.to_string()), "{}", good.printed);
    let json = home.run(&["verify", &published.reference, "--key", &published.keys.public, "--json"]).succeeds();
    let json: serde_json::Value = serde_json::from_str(&json.printed).unwrap();
    assert_eq!(json["signed_by"], key_id(&published.keys));
    assert_eq!(json["build_id"], published.v1.id.to_string());
    assert_eq!(json["digest"], published.v1.index().digest.to_string());
    assert_eq!(json["files"], 11 + 4 + 2);
    home.assert_nothing_installed();
    assert!(!home.store.cache().join(".verify").exists(), "what was looked at is gone");
}

#[test]
fn verify_removes_what_a_killed_one_has_left() {
    let home = Home::new();
    let v1 = artefacts::v1(home.path());
    let left = home.store.cache().join(".verify/tree/bin");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("llama-server"), "half a to").unwrap();
    home.run(&["verify", &v1.reference(), "--allow-unsigned"]).succeeds();
    assert!(!home.store.cache().join(".verify").exists());
}

#[test]
fn verify_tells_what_is_not_signed() {
    let home = Home::new();
    let v1 = artefacts::v1(home.path());
    home.run(&["verify", &v1.reference()]).fails(codes::UNSIGNED, "has no signature");
    let allowed = home.run(&["verify", &v1.reference(), "--allow-unsigned"]).succeeds();
    assert!(allowed.printed.contains("signature  not signed"), "{}", allowed.printed);
}

//! What `docs/ci.md` tells people to type, typed.

use std::fs;
use std::path::Path;
use std::process::Command;

use testkit::registry::RealRegistry;

use crate::artefacts;
use crate::home::{Done, Home, reference};

/// The first block of commands under a heading of the page.
fn commands(heading: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/ci.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect("the heading is there");
    let (_, block) = section.split_once("\n```sh\n").expect("it has commands");
    block.split_once("\n```").expect("they end").0.to_owned()
}

/// Runs commands in a shell, with other values for their first line. Loopback registries have no certificates.
fn run(home: &Home, values: &str, commands: &str, hosts: &[&str]) -> Done {
    let registries: String =
        hosts.iter().map(|host| format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true\n")).collect();
    let settings = home.path().join(".config/containers");
    fs::create_dir_all(&settings).unwrap();
    fs::write(settings.join("registries.conf"), registries).unwrap();
    let (_, rest) = commands.split_once('\n').unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("set -eu\n{values}\n{rest}\n")]).current_dir(home.path()).env("HOME", home.path());
    Done::of(&mut command)
}

#[test]
fn public_tools_verify_what_was_pushed_and_notice_what_was_not_signed() {
    let (home, registry) = (Home::new(), RealRegistry::start());
    let (keys, other, v1) = (home.keys("signer"), home.keys("other"), artefacts::v1(home.path()));
    let name = reference(&registry.host);
    home.push(&v1, &name, Some(&keys)).succeeds();
    let verify = commands("Verify by hand");
    let with = |key: &str| run(&home, &format!("REF={name} KEY={key}"), &verify, &[&registry.host]);
    let done = with(&keys.public).succeeds();
    assert!(done.printed.contains("Signature and comment signature verified"), "{}", done.printed);
    let found = fs::read_to_string(home.file("digest")).unwrap();
    assert_eq!(found.trim(), v1.index().digest.to_string());

    let refused = with(&other.public);
    assert_ne!(refused.exit, Some(0), "{}", refused.said);
    // Another artefact under the same tag, which nobody has signed.
    home.push(&artefacts::v2(home.path()), &name, None).succeeds();
    let refused = with(&keys.public);
    assert_ne!(refused.exit, Some(0), "{}", refused.said);
}

#[test]
fn a_mirror_that_was_made_by_hand_is_as_good() {
    let (home, registry, mirror) = (Home::new(), RealRegistry::start(), RealRegistry::start());
    let (keys, v1) = (home.keys("signer"), artefacts::v1(home.path()));
    let name = reference(&registry.host);
    home.push(&v1, &name, Some(&keys)).succeeds();
    let (repository, tag) = name.rsplit_once(':').unwrap();
    let below = repository.split_once('/').unwrap().1;
    let values = format!("FROM={repository} TO={}/mirror/{below} TAG={tag}", mirror.host);
    run(&home, &values, &commands("Mirrors"), &[&registry.host, &mirror.host]).succeeds();
    drop(registry);
    let at = format!("{}/mirror", mirror.host);
    home.run(&["install-fast", &name, "--key", &keys.public, "--registry-mirror", &at]).succeeds();
    home.assert_active(&v1);
}

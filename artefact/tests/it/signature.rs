//! Signatures: who signed, and what.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use artefact::Split;
use artefact::signature::{
    ARTIFACT_TYPE, Candidate, KeyPair, PublicKey, SecretKey, Statement, attach, candidates, candidates_of, sign, verify,
};
use diagnostic::{Error, codes};
use insta::assert_snapshot;
use oci::{Access, Credentials, Descriptor, Digest, LayoutReference, Limits, Manifest, ReadLayout, Reference, Source};
use proptest::prelude::*;

use crate::support::*;

struct Keys {
    secret: SecretKey,
    public: PublicKey,
}

fn keys() -> Keys {
    let pair = KeyPair::generate(None).unwrap();
    let secret = SecretKey::parse(&pair.secret, || panic!("the key is not encrypted")).unwrap();
    Keys { secret, public: PublicKey::parse(&pair.public, "the key").unwrap() }
}

fn statement() -> Statement<'static> {
    Statement { version: "0.5.0", date: "2026-10-02T00:00:00Z".parse().unwrap() }
}

fn digest() -> Digest {
    Digest::of(b"an index")
}

fn signed(keys: &Keys) -> String {
    sign(&digest(), &statement(), &keys.secret).unwrap()
}

/// What verification says about these texts; key ids are replaced.
fn refused(texts: &[&[u8]], keys: &[PublicKey]) -> String {
    let candidates: Vec<_> = texts.iter().map(|text| Candidate::new(digest(), text)).collect();
    let error = verify("`x`", &candidates, keys).unwrap_err();
    assert_eq!(error.code(), codes::UNSIGNED);
    assert!(error.hints()[0].contains("`--allow-unsigned`"), "{error:?}");
    let text = error.to_string();
    match text.find("key `") {
        Some(at) => format!("{}KEY{}", &text[..at + 5], &text[at + 21..]),
        None => text,
    }
}

#[test]
fn a_signature_by_a_trusted_key_holds() {
    let (ours, old) = (keys(), keys());
    let text = signed(&ours);
    let verified =
        verify("`x`", &[Candidate::new(digest(), text.as_bytes())], &[old.public, ours.public.clone()]).unwrap();
    assert_eq!((verified.subject, verified.key), (digest(), ours.public.id()));
    assert_snapshot!(verified.comment, @"timestamp:1790899200 digest:sha256:13f28396e236ef752a2f8e7911c5ecc6750e3c9b96114475b260cc73cdd06d3a version:0.5.0");
}

/// Made with minisign 0.11, from a file with the line `sha256:2cf2...`.
const PUBLIC_OF_THE_TOOL: &str = "RWTlqApYxY+37ZVJr9xoux3usjEcUFyczEWSEOBS8Ck7o/kDzVfvqBr4";
const SIGNATURE_OF_THE_TOOL: &str = "untrusted comment: signature from minisign secret key
RUTlqApYxY+37a9hwj1yrEZToWQHcKIVikeZCy5pkVXtg/lgQTrXKVNZ012sKxCwEJXRflHfdxJ5hJBexGJOHAshjxNsUSTFpQY=
trusted comment: digest:sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\tversion:0.5.0
K9ayDIIS62zG3HoAWJjB9+WwxOyEoCZSeI7SdY7yMDQq3wO8fWWuUCtvuq3hdAQpcxzBFdhzUuwsi9OP0GgWAw==
";

#[test]
fn signatures_of_the_minisign_tool_hold() {
    let public = PublicKey::parse(PUBLIC_OF_THE_TOOL, "the key").unwrap();
    let candidate = Candidate::new(Digest::of(b"hello"), SIGNATURE_OF_THE_TOOL.as_bytes());
    let verified = verify("`x`", &[candidate], &[public]).unwrap();
    assert_eq!(verified.key.to_string(), "EDB78FC5580AA8E5");
}

#[test]
fn what_is_not_signed_by_a_trusted_key_is_refused_with_the_reason() {
    let (ours, theirs) = (keys(), keys());
    let trusted = [ours.public.clone()];
    let good = signed(&ours);
    let other_key = signed(&theirs);
    let other_digest = sign(&Digest::of(b"another index"), &statement(), &ours.secret).unwrap();
    let tampered_comment = good.replace("0.5.0", "9.9.9");
    let lines: Vec<&str> = good.lines().collect();
    let swapped = {
        let again = signed(&ours);
        let again: Vec<&str> = again.lines().collect();
        [lines[0], again[1], lines[2], lines[3]].join("\n")
    };
    // The first letters of the second line are the algorithm: "RU" begins `ED`, prehashed; "RW" begins `Ed`, legacy.
    let legacy = good.replacen("\nRU", "\nRW", 1);
    let long = format!("{good}{}", "x".repeat(5000));
    let messages = [
        refused(&[], &trusted),
        refused(&[good.as_bytes()], &[]),
        refused(&[other_key.as_bytes()], &trusted),
        refused(&[other_digest.as_bytes()], &trusted),
        refused(&[tampered_comment.as_bytes()], &trusted),
        refused(&[swapped.as_bytes()], &trusted),
        refused(&[legacy.as_bytes()], &trusted),
        refused(&[long.as_bytes()], &trusted),
        refused(&[b""], &trusted),
        refused(&[b"\xff\xfe"], &trusted),
        refused(&[lines[..3].join("\n").as_bytes()], &trusted),
        // Of several reasons, the one that tells most.
        refused(&[b"", other_key.as_bytes(), other_digest.as_bytes(), other_key.as_bytes()], &trusted),
    ];
    assert_ne!(legacy, good);
    assert_snapshot!(messages.join("\n"), @"
    `x` has no signature
    `x` is signed only by the key `KEY`, which is not trusted here
    `x` is signed only by the key `KEY`, which is not trusted here
    `x` has a bad signature by the key `KEY`: it was made for something else, or changed
    `x` has a bad signature by the key `KEY`: it was made for something else, or changed
    `x` has a bad signature by the key `KEY`: it was made for something else, or changed
    `x` has a signature by the key `KEY` of a kind that is not accepted any more
    `x` has a signature that cannot be read
    `x` has a signature that cannot be read
    `x` has a signature that cannot be read
    `x` has a signature that cannot be read
    `x` has a bad signature by the key `KEY`: it was made for something else, or changed
    ");
}

#[test]
fn one_good_signature_among_bad_ones_is_enough() {
    let (ours, theirs) = (keys(), keys());
    let texts = [String::new(), signed(&theirs), "x".repeat(10_000), signed(&ours)];
    let candidates: Vec<_> = texts.iter().map(|text| Candidate::new(digest(), text.as_bytes())).collect();
    assert!(verify("`x`", &candidates, &[ours.public]).is_ok());
}

#[test]
fn a_comment_that_speaks_of_another_digest_is_refused() {
    let ours = keys();
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let public = PublicKey::parse(&pair.pk.to_box().unwrap().into_string(), "the key").unwrap();
    let message = format!("{}\n", digest());
    let sign =
        |comment: &str| minisign::sign(None, &pair.sk, message.as_bytes(), Some(comment), None).unwrap().into_string();
    let trusted = [ours.public, public];
    let contradicting = format!("digest:{}\tversion:1", Digest::of(b"another"));
    assert_snapshot!(refused(&[sign(&contradicting).as_bytes()], &trusted), @"`x` has a bad signature by the key `KEY`: it was made for something else, or changed");
    // A signer who says something else altogether has still signed this digest.
    let free = verify("`x`", &[Candidate::new(digest(), sign("made by \u{1b}[2Jhand").as_bytes())], &trusted).unwrap();
    assert_eq!(free.comment, "made by \\u{1b}[2Jhand");
}

#[test]
fn index_and_manifest_are_signed_in_the_layout() {
    let (ours, theirs, image) = (keys(), keys(), image(Split::One));
    let index = artefact::pack::publish(&image.layout, std::slice::from_ref(&image.packed), "a").unwrap();
    let reference = Reference::Layout(LayoutReference { path: image.layout.root().into(), tag: None, digest: None });
    let access = Access { mirror: None, credentials: Credentials::Anonymous, limits: Limits::USUAL };
    let source = Source::open(&reference, &access).unwrap();
    for subject in [&index, &image.packed.manifest] {
        for key in [&theirs, &ours] {
            let text = sign(&subject.digest, &statement(), &key.secret).unwrap();
            attach(&image.layout, subject, &text).unwrap();
        }
        let found = candidates_of(&source, &subject.digest).unwrap();
        // The bill of materials refers to the manifest too, and is no signature.
        assert_eq!(found.len(), 2);
        assert_eq!(verify("`x`", &found, std::slice::from_ref(&ours.public)).unwrap().subject, subject.digest);
    }
    let listed = image.layout.referrers(&index.digest).unwrap();
    assert!(listed.iter().all(|entry| entry.artifact_type.as_deref() == Some(ARTIFACT_TYPE)), "{listed:?}");
    // What a registry shows of a signature.
    let (oci::Document::Manifest(manifest), _) = image.layout.document(&listed[0]).unwrap() else { panic!() };
    assert_eq!(manifest.layers[0].annotations["org.opencontainers.image.title"], "caravan.minisig");
    assert_eq!(manifest.subject.unwrap().digest, index.digest);
}

/// A referrer and what reading it gives.
fn referrer(image: &Image, subject: &Descriptor, kind: &str, texts: &[&[u8]]) -> Descriptor {
    let blobs = texts.iter().map(|text| image.layout.put(kind, text).unwrap()).collect();
    let mut manifest = Manifest::new(Descriptor::empty_config(), blobs);
    manifest.artifact_type = Some(kind.to_owned());
    manifest.subject = Some(subject.clone());
    image.layout.add_referrer(&manifest).unwrap()
}

#[test]
fn bad_referrers_do_not_hide_a_good_one() {
    let (ours, image) = (keys(), image(Split::One));
    let subject = image.packed.manifest.clone();
    let other = Descriptor::of(oci::IMAGE_MANIFEST, b"something else");
    let text = sign(&subject.digest, &statement(), &ours.secret).unwrap();
    let mut referrers = vec![
        referrer(&image, &subject, ARTIFACT_TYPE, &[]),
        referrer(&image, &subject, ARTIFACT_TYPE, &[b"a", b"b"]),
        referrer(&image, &subject, ARTIFACT_TYPE, &[&[b'x'; 5000]]),
        referrer(&image, &other, ARTIFACT_TYPE, &[text.as_bytes()]),
        image.layout.put(oci::IMAGE_MANIFEST, b"no manifest").unwrap(),
        Descriptor::of(oci::IMAGE_MANIFEST, b"not there"),
        Descriptor::new(oci::IMAGE_MANIFEST, Digest::of(b"huge"), 1 << 40),
        Descriptor::new(oci::IMAGE_MANIFEST, subject.digest, 3),
    ];
    let layout = &image.layout;
    let mut read = |descriptor: &Descriptor, limit| layout.read_blob(descriptor, limit);
    let found = candidates(&subject.digest, &referrers, &mut read).unwrap();
    let refused = verify("`x`", &found, std::slice::from_ref(&ours.public)).unwrap_err();
    assert_snapshot!(refused, @"`x` has a signature that cannot be read");
    // A registry that lists it without its type.
    let mut good = referrer(&image, &subject, ARTIFACT_TYPE, &[text.as_bytes()]);
    good.artifact_type = None;
    referrers.push(good);
    let found = candidates(&subject.digest, &referrers, &mut read).unwrap();
    assert!(verify("`x`", &found, &[ours.public]).is_ok());
}

#[test]
fn a_registry_that_fails_is_not_an_artefact_without_signature() {
    let entry = Descriptor::of(oci::IMAGE_MANIFEST, b"x");
    let mut read = |_: &Descriptor, _| Err(Error::new(codes::REGISTRY_FAILED, "gone"));
    assert_eq!(candidates(&digest(), &[entry], &mut read).unwrap_err().code(), codes::REGISTRY_FAILED);
}

#[test]
fn only_so_many_referrers_are_looked_at() {
    let entries: Vec<_> = (0..1000).map(|i: u32| Descriptor::of(oci::IMAGE_MANIFEST, &i.to_le_bytes())).collect();
    let mut looked = 0;
    let mut read = |_: &Descriptor, limit| {
        looked += 1;
        assert!(limit <= 64 << 10);
        Err(Error::new(codes::NOT_FOUND, "gone"))
    };
    assert_eq!(candidates(&digest(), &entries, &mut read).unwrap(), []);
    assert_eq!(looked, 32);
}

#[test]
fn an_encrypted_key_needs_its_password() {
    let dir = tempfile::tempdir().unwrap();
    let (secret, public) = (dir.path().join("k"), dir.path().join("k.pub"));
    let pair = KeyPair::generate(Some("correct horse".to_owned())).unwrap();
    pair.write(&secret, &public).unwrap();
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(pair.write(&secret, &public).unwrap_err().code(), codes::IO);
    assert!(!format!("{pair:?}").contains(pair.secret.lines().nth(1).unwrap()));

    let key = SecretKey::read(&secret, || Ok("correct horse".to_owned())).unwrap();
    assert_eq!(format!("{key:?}"), "SecretKey");
    let text = sign(&digest(), &statement(), &key).unwrap();
    let public = PublicKey::read(&public).unwrap();
    assert!(verify("`x`", &[Candidate::new(digest(), text.as_bytes())], &[public]).is_ok());

    let wrong = SecretKey::read(&secret, || Ok("battery staple".to_owned())).unwrap_err();
    assert!(wrong.to_string().ends_with("the secret key cannot be used: wrong password for that key"), "{wrong}");
    let stopped = SecretKey::read(&secret, || Err(Error::new(codes::INTERRUPTED, "stopped"))).unwrap_err();
    assert_eq!(stopped.code(), codes::INTERRUPTED);
}

#[test]
fn what_is_no_key_is_refused() {
    let pair = KeyPair::generate(None).unwrap();
    let secret = |text: &str| SecretKey::parse(text, || panic!("nothing to decrypt")).unwrap_err().to_string();
    let line = pair.secret.lines().nth(1).unwrap();
    for text in ["", "a\nb", &pair.public, &format!("comment\n{}", &line[..line.len() - 8])] {
        assert_eq!(secret(text), "the secret key is not one of minisign's", "{text}");
    }
    let public = |text: &str| PublicKey::parse(text, "key 1").map(|key| key.id()).map_err(|error| error.to_string());
    let id = public(&pair.public).unwrap();
    // The key alone, as it stands in a source file or an environment variable.
    assert_eq!(public(pair.public.lines().nth(1).unwrap()), Ok(id));
    for text in ["", "untrusted comment: x", &pair.secret, "RWQ"] {
        assert_eq!(public(text).unwrap_err(), "key 1 is not a minisign public key", "{text}");
    }
}

proptest! {
    /// No text that is not a signature verifies, and none makes us panic.
    #[test]
    fn garbage_never_verifies(text in "(untrusted comment: .{0,9}\n)?[A-Za-z0-9+/=]{0,110}\n(trusted comment: .{0,9}\n)?[A-Za-z0-9+/=]{0,90}") {
        let key = PublicKey::parse("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3", "the key").unwrap();
        let candidate = Candidate::new(digest(), text.as_bytes());
        prop_assert_eq!(verify("`x`", &[candidate], &[key]).unwrap_err().code(), codes::UNSIGNED);
    }

    /// A change of any byte of what is signed, or of the signature's own lines, is noticed.
    #[test]
    fn a_changed_byte_never_verifies(at in 0usize..400, flip in 1u8..=255) {
        let ours = keys();
        let mut text = signed(&ours).into_bytes();
        let comment = text.iter().position(|byte| *byte == b'\n').unwrap();
        let at = comment + 1 + at % (text.len() - comment - 2);
        text[at] ^= flip;
        let candidate = Candidate::new(digest(), &text);
        prop_assert_eq!(verify("`x`", &[candidate], &[ours.public]).unwrap_err().code(), codes::UNSIGNED);
    }
}

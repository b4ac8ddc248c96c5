//! Signatures of artefacts, in minisign's format: made once by a key that nobody else has, checked offline by everybody.
//!
//! What is signed is the digest of a manifest or index as a line of text, `sha256:<64 hexadecimal digits>` and a newline:
//! the digest covers all that it leads to. So `minisign` itself can check one too:
//!
//! ```text
//! echo sha256:... > digest && minisign -V -p caravan.pub -m digest -x caravan.minisig
//! ```
//!
//! A tag leads to an index and that to a manifest; people copy both. Each is signed by itself, and a client accepts either:
//! the index names the manifest by digest.

mod key;

use std::fmt;

use build_info::Timestamp;
use diagnostic::{Code, Error, Result, codes};
use oci::{Descriptor, Digest, Layout, Manifest, Source, is_manifest};

pub use self::key::{KeyId, KeyPair, PublicKey, SecretKey};
use crate::{printable, referrer};

/// What kind of artefact a signature is, and the media type of its text.
pub const ARTIFACT_TYPE: &str = "application/vnd.caravan.signature.minisign.v1";

/// Bytes of the largest signature that is looked at; real ones have some 350.
const TEXT_LIMIT: u64 = 4 << 10;
/// Bytes of the largest manifest of a referrer that is looked at.
const MANIFEST_LIMIT: u64 = 64 << 10;
/// How many referrers of one subject are looked at: anybody who can push may add some.
const REFERRERS_LIMIT: usize = 32;

/// What a signature says beside the digest; shown when it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement<'a> {
    /// The version of llama.cpp.
    pub version: &'a str,
    /// When it is signed.
    pub date: Timestamp,
}

/// Signs a digest; returns the text of the signature.
///
/// # Errors
/// The key does not work, or the system has no random numbers.
pub fn sign(digest: &Digest, statement: &Statement<'_>, key: &SecretKey) -> Result<String> {
    let seconds = statement.date.as_second();
    let comment = format!("timestamp:{seconds}\tdigest:{digest}\tversion:{}", statement.version);
    key.sign(message(digest).as_bytes(), &comment)
}

/// The bytes that are signed.
fn message(digest: &Digest) -> String {
    format!("{digest}\n")
}

/// Stores a signature in a layout and lists it under what it signs.
///
/// # Errors
/// The layout is damaged or cannot be written.
pub fn attach(layout: &Layout, subject: &Descriptor, signature: &str) -> Result<Descriptor> {
    referrer::attach(layout, subject, ARTIFACT_TYPE, "caravan.minisig", None, signature.as_bytes())
}

/// A text that claims to sign something; nothing in it has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What it was found attached to, and must sign.
    pub subject: Digest,
    /// The text, or as much of it as was read; nothing when it could not be.
    text: Option<String>,
}

impl Candidate {
    /// A text from elsewhere, such as a file beside the artefact.
    pub fn new(subject: Digest, text: &[u8]) -> Candidate {
        let text = (text.len() as u64 <= TEXT_LIMIT).then(|| String::from_utf8(text.to_vec()).ok());
        Candidate { subject, text: text.flatten() }
    }
}

/// Reads the signatures among what refers to `subject`. `read` gives a whole blob or manifest, verified, of at most so
/// many bytes.
///
/// What cannot be understood becomes a candidate that never verifies: one bad referrer must not hide a good one.
///
/// # Errors
/// What `read` fails with, except that something is missing, damaged or too large.
pub fn candidates(
    subject: &Digest,
    referrers: &[Descriptor],
    read: &mut dyn FnMut(&Descriptor, u64) -> Result<Vec<u8>>,
) -> Result<Vec<Candidate>> {
    let says_so = |entry: &&Descriptor| entry.artifact_type.as_deref() == Some(ARTIFACT_TYPE);
    // Registries without an API for referrers may list them with another type, or with none: those come last.
    let (first, others): (Vec<_>, Vec<_>) = referrers.iter().partition(says_so);
    let mut found = Vec::new();
    for entry in first.into_iter().chain(others).take(REFERRERS_LIMIT) {
        match text_of(subject, entry, read) {
            Ok(None) => {}
            Ok(Some(text)) => found.push(Candidate::new(*subject, &text)),
            Err(error) if is_their_fault(error.code()) => {
                if says_so(&entry) {
                    found.push(Candidate { subject: *subject, text: None });
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// As [`candidates`], of wherever an artefact comes from.
///
/// # Errors
/// The source cannot be read.
pub fn candidates_of(source: &Source, subject: &Digest) -> Result<Vec<Candidate>> {
    candidates(subject, &source.referrers(subject)?, &mut |descriptor, limit| {
        if is_manifest(&descriptor.media_type) {
            source.manifest(descriptor).map(|(_, bytes)| bytes)
        } else {
            source.blob(descriptor, limit)
        }
    })
}

fn is_their_fault(code: &Code) -> bool {
    [codes::MANIFEST_INVALID, codes::DIGEST_MISMATCH, codes::NOT_FOUND].contains(&code)
}

/// The text of a signature; nothing when the referrer is something else.
fn text_of(
    subject: &Digest,
    entry: &Descriptor,
    read: &mut dyn FnMut(&Descriptor, u64) -> Result<Vec<u8>>,
) -> Result<Option<Vec<u8>>> {
    let mut read = |descriptor: &Descriptor, limit| match descriptor.size {
        // Before anything is fetched.
        size if size > limit => Err(Error::new(codes::MANIFEST_INVALID, format!("a referrer has {size} bytes"))),
        _ => read(descriptor, limit),
    };
    let manifest = Manifest::parse(&read(entry, MANIFEST_LIMIT)?, "a referrer")?;
    let refers = manifest.subject.as_ref().is_some_and(|of| of.digest == *subject);
    match manifest.layers.as_slice() {
        [text] if manifest.kind() == ARTIFACT_TYPE && refers => read(text, TEXT_LIMIT).map(Some),
        _ => Ok(None),
    }
}

/// A signature that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What is signed.
    pub subject: Digest,
    /// By which key.
    pub key: KeyId,
    /// What the signer says beside it, on one line.
    pub comment: String,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signed by the key `{}` ({})", self.key, self.comment)
    }
}

/// Finds a signature by one of the trusted `keys`; one good signature is enough. `what` names the artefact in errors.
///
/// # Errors
/// [`codes::UNSIGNED`], saying whether there is no signature, only one by another key, or a bad one.
pub fn verify(what: &str, candidates: &[Candidate], keys: &[PublicKey]) -> Result<Verified> {
    let mut worst = Verdict::Missing;
    for candidate in candidates {
        match judge(candidate, keys) {
            Ok(verified) => return Ok(verified),
            Err(verdict) => worst = worst.max(verdict),
        }
    }
    let message = match worst {
        Verdict::Missing => format!("{what} has no signature"),
        Verdict::Unreadable => format!("{what} has a signature that cannot be read"),
        Verdict::Legacy(key) => {
            format!("{what} has a signature by the key `{key}` of a kind that is not accepted any more")
        }
        Verdict::OtherKey(key) => format!("{what} is signed only by the key `{key}`, which is not trusted here"),
        Verdict::Bad(key) => {
            format!("{what} has a bad signature by the key `{key}`: it was made for something else, or changed")
        }
    };
    Err(Error::new(codes::UNSIGNED, message)
        .hint("use it without proof of where it comes from with `--allow-unsigned`"))
}

/// Why a candidate does not count, the more telling the greater.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Missing,
    Unreadable,
    OtherKey(KeyId),
    Legacy(KeyId),
    Bad(KeyId),
}

fn judge(candidate: &Candidate, keys: &[PublicKey]) -> Result<Verified, Verdict> {
    let text = candidate.text.as_deref().ok_or(Verdict::Unreadable)?;
    let signature = minisign_verify::Signature::decode(text).map_err(|_| Verdict::Unreadable)?;
    let id = key::id_of_signature(text).ok_or(Verdict::Unreadable)?;
    let mut verdict = Verdict::OtherKey(id);
    for key in keys.iter().filter(|key| key.id() == id) {
        match key.verify(message(&candidate.subject).as_bytes(), &signature) {
            Ok(()) if contradicts(signature.trusted_comment(), &candidate.subject) => {}
            Ok(()) => {
                let comment = printable(&signature.trusted_comment().replace('\t', " "));
                return Ok(Verified { subject: candidate.subject, key: id, comment });
            }
            Err(minisign_verify::Error::UnexpectedAlgorithm) => {
                verdict = Verdict::Legacy(id);
                continue;
            }
            Err(_) => {}
        }
        verdict = Verdict::Bad(id);
    }
    Err(verdict)
}

/// Whether the signer's own comment speaks of another digest. A comment of another form says nothing about it.
fn contradicts(comment: &str, subject: &Digest) -> bool {
    let mut digests = comment.split('\t').filter_map(|field| field.strip_prefix("digest:"));
    digests.any(|digest| digest != subject.to_string())
}

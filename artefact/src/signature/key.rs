//! Keys in minisign's file formats.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ct_codecs::{Base64, Decoder};
use diagnostic::{Error, Result, codes};
use minisign_verify::Signature;

/// Bytes of the largest key file; real ones have some 250.
const SIZE_LIMIT: u64 = 4 << 10;
const COMMENT: &str = "untrusted comment: ";

/// The name of a key pair: a random number, in hexadecimal as `minisign` writes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u64);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

/// The key id in the binary form of a public key or signature: two bytes of algorithm, then the id.
fn id(binary: &[u8]) -> Option<KeyId> {
    Some(KeyId(u64::from_le_bytes(binary.get(2..10)?.try_into().ok()?)))
}

/// Whose signature a text claims to be.
pub(super) fn id_of_signature(text: &str) -> Option<KeyId> {
    id(&Base64::decode_to_vec(text.lines().nth(1)?, None).ok()?)
}

/// A key that is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: minisign_verify::PublicKey,
    id: KeyId,
}

impl PublicKey {
    /// Reads a key from the text of a `.pub` file, or from its second line alone; `what` names it in errors.
    ///
    /// # Errors
    /// [`codes::KEY_UNUSABLE`] when it is no minisign public key.
    pub fn parse(text: &str, what: &str) -> Result<PublicKey> {
        let line = text.lines().find(|line| !line.starts_with(COMMENT)).unwrap_or_default().trim();
        let parsed = minisign_verify::PublicKey::from_base64(line).ok();
        let id = Base64::decode_to_vec(line, None).ok().and_then(|binary| id(&binary));
        match (parsed, id) {
            (Some(key), Some(id)) => Ok(PublicKey { key, id }),
            _ => Err(Error::new(codes::KEY_UNUSABLE, format!("{what} is not a minisign public key"))),
        }
    }

    /// Reads a `.pub` file.
    ///
    /// # Errors
    /// It cannot be read, or as [`PublicKey::parse`].
    pub fn read(path: &Path) -> Result<PublicKey> {
        PublicKey::parse(&text(path)?, &format!("`{}`", path.display()))
    }

    /// The name of the key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Signatures over the message itself, as minisign made them before 2021, are refused.
    pub(super) fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), minisign_verify::Error> {
        self.key.verify(message, signature, false)
    }
}

/// A key that signs.
pub struct SecretKey(minisign::SecretKey);

impl fmt::Debug for SecretKey {
    /// Never shows the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey")
    }
}

impl SecretKey {
    /// Reads a key from the text of a secret key file. `password` is asked only when the key is encrypted.
    ///
    /// # Errors
    /// [`codes::KEY_UNUSABLE`]: it is no minisign secret key, or the password is wrong; what `password` fails with.
    pub fn parse(text: &str, password: impl FnOnce() -> Result<String>) -> Result<SecretKey> {
        let not_a_key = || Error::new(codes::KEY_UNUSABLE, "the secret key is not one of minisign's");
        let line = text.lines().nth(1).ok_or_else(not_a_key)?;
        let binary = Base64::decode_to_vec(line, None).map_err(|_| not_a_key())?;
        let boxed = minisign::SecretKeyBox::from(text.to_owned());
        match binary.get(2..4) {
            // No key derivation: the key is not encrypted.
            Some([0, 0]) => boxed.into_unencrypted_secret_key().map(SecretKey).map_err(|_| not_a_key()),
            Some(b"Sc") => boxed.into_secret_key(Some(password()?)).map(SecretKey).map_err(|error| {
                Error::new(
                    codes::KEY_UNUSABLE,
                    format!("the secret key cannot be used: {}", lower_case(&error.to_string())),
                )
            }),
            _ => Err(not_a_key()),
        }
    }

    /// Reads a secret key file.
    ///
    /// # Errors
    /// It cannot be read, or as [`SecretKey::parse`].
    pub fn read(path: &Path, password: impl FnOnce() -> Result<String>) -> Result<SecretKey> {
        SecretKey::parse(&text(path)?, password).map_err(|error| error.context(format!("`{}`", path.display())))
    }

    /// The key that checks what this one signs.
    ///
    /// # Errors
    /// The key does not work.
    pub fn public(&self) -> Result<PublicKey> {
        let text = minisign::PublicKey::from_secret_key(&self.0).and_then(|key| key.to_box());
        let text = text.map_err(|error| {
            Error::new(
                codes::KEY_UNUSABLE,
                format!("the secret key has no public one: {}", lower_case(&error.to_string())),
            )
        })?;
        PublicKey::parse(&text.into_string(), "the public key")
    }

    pub(super) fn sign(&self, message: &[u8], trusted_comment: &str) -> Result<String> {
        let signature =
            minisign::sign(None, &self.0, message, Some(trusted_comment), Some("signature of a Caravan artefact"));
        match signature {
            Ok(signature) => Ok(signature.into_string()),
            Err(error) => {
                Err(Error::new(codes::KEY_UNUSABLE, format!("cannot sign: {}", lower_case(&error.to_string()))))
            }
        }
    }
}

/// The texts of a new key pair.
pub struct KeyPair {
    /// What signs; to be kept secret.
    pub secret: String,
    /// What checks; to be published.
    pub public: String,
}

impl fmt::Debug for KeyPair {
    /// Shows the public key only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

impl KeyPair {
    /// Makes a key pair; the secret key is encrypted when there is a password.
    ///
    /// # Errors
    /// The system has no random numbers, or not the 32 MiB that encryption takes.
    pub fn generate(password: Option<String>) -> Result<KeyPair> {
        let comment = if password.is_some() { "minisign encrypted secret key" } else { "minisign secret key" };
        let pair = match password {
            Some(password) => minisign::KeyPair::generate_encrypted_keypair(Some(password)),
            None => minisign::KeyPair::generate_unencrypted_keypair(),
        };
        let texts = pair.and_then(|pair| Ok((pair.sk.to_box(Some(comment))?, pair.pk.to_box()?)));
        let (secret, public) = texts.map_err(|error| {
            Error::new(codes::KEY_UNUSABLE, format!("cannot make a key: {}", lower_case(&error.to_string())))
        })?;
        Ok(KeyPair { secret: secret.into_string(), public: public.into_string() })
    }

    /// Writes the pair into two new files; only the owner may read the secret one.
    ///
    /// # Errors
    /// A file is there already, or cannot be written. Then neither is left: a secret key without its public one is of no
    /// use, and would lie about.
    pub fn write(&self, secret: &Path, public: &Path) -> Result<()> {
        create(secret, &self.secret, 0o600)?;
        create(public, &self.public, 0o644).inspect_err(|_| {
            let _ = fs::remove_file(secret);
        })
    }
}

/// Writes a file that must not be there yet; a part of it is not left.
fn create(path: &Path, text: &str, mode: u32) -> Result<()> {
    let fail = |error| Error::io("cannot write", path, error);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(fail)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| {
        let _ = fs::remove_file(path);
        fail(error)
    })
}

/// The text of a small file.
fn text(path: &Path) -> Result<String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(SIZE_LIMIT).read_to_string(&mut text));
    read.map(|_| text).map_err(|error| Error::io("cannot read", path, error))
}

/// A library's sentence in house style.
fn lower_case(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().into_iter().flat_map(char::to_lowercase).chain(chars).collect()
}

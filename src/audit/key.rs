//! The key that checkpoints are signed with (Ed25519), and the one that they are checked with.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::AuditError;

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// Signs checkpoints.
pub struct Signer(Ed25519KeyPair);

impl Signer {
    /// Reads the key in `path`, PKCS#8 in PEM, as `openssl genpkey -algorithm ed25519` writes it. Where there is no
    /// file, one is made, which only this user may read.
    ///
    /// # Errors
    ///
    /// [`AuditError`] if the file cannot be read or written, or holds no such key.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::read(&text).map_err(|why| AuditError::Key(format!("{}: {why}", path.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::make(path),
            Err(error) => Err(AuditError::io(format!("cannot read {}", path.display()))(error)),
        }
    }

    fn read(text: &str) -> Result<Self, String> {
        let body = text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map(|(body, _)| body);
        let body: String = body.unwrap_or_default().split_whitespace().collect();
        let bytes = STANDARD.decode(body).unwrap_or_default();
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&bytes);
        key.map(Self).map_err(|_| "no Ed25519 key; make one with `openssl genpkey -algorithm ed25519`".to_owned())
    }

    fn make(path: &Path) -> Result<Self, AuditError> {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let made = made.map_err(|_| AuditError::Key("the system gives no random numbers".to_owned()))?;
        let text = format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(made.as_ref()));
        let io = || AuditError::io(format!("cannot write {}", path.display()));
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io())?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io())?;
        Self::read(&text).map_err(AuditError::Key)
    }

    /// The public key, in base64: what [`Verifier::new`] takes.
    #[must_use]
    pub fn public(&self) -> String {
        STANDARD.encode(self.0.public_key())
    }

    pub(super) fn sign(&self, bytes: &[u8]) -> String {
        STANDARD.encode(self.0.sign(bytes))
    }
}

/// Does not print the key.
impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.public())
    }
}

/// Checks signatures of one key.
#[derive(Clone, Debug)]
pub struct Verifier {
    text: String,
    key: Vec<u8>,
}

impl Verifier {
    /// A public key, in base64.
    ///
    /// # Errors
    ///
    /// A text for a person, if it is none.
    pub fn new(text: &str) -> Result<Self, String> {
        let key = STANDARD.decode(text).ok().filter(|key| key.len() == 32);
        let key = key.ok_or_else(|| "this is no public Ed25519 key (32 bytes in base64)".to_owned())?;
        Ok(Self { text: text.to_owned(), key })
    }

    /// True if it is the key with this text, and `signature` is its signature of `bytes`.
    pub(super) fn check(&self, key: &str, bytes: &[u8], signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        self.text == key && UnparsedPublicKey::new(&ED25519, &self.key).verify(bytes, &signature).is_ok()
    }
}

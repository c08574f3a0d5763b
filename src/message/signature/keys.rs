//! Keys: one's own, in PKCS#8, and those of others, as JWK sets (RFC 7517) or public keys in PEM.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SecureRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

use super::chain::Anchor;
use super::{SignatureFault, chain};
use crate::Sha256;

/// A key file that cannot be used, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(String);

impl KeyError {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }
}

/// How a signature is made (RFC 7518 §3.1, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    EdDsa,
    Es256,
    Es384,
    Rs256,
}

impl Algorithm {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::EdDsa, Self::Es256, Self::Es384, Self::Rs256].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// A private key that signs what leaves: Ed25519 or ECDSA on P-256. Does not print.
pub struct SigningKey {
    kid: String,
    key: Pair,
    /// Our certificate and those that it leads to, in base64, for the header.
    chain: Vec<String>,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl SigningKey {
    /// Reads a private key, PKCS#8 in PEM, as `openssl genpkey` writes it; receivers know it as `kid`.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the text holds no such key.
    pub fn read(pem: &str, kid: &str, random: &dyn SecureRandom) -> Result<Self, KeyError> {
        let none = || {
            KeyError(
                "it holds no private key, Ed25519 or P-256 in PKCS#8: make one with `openssl genpkey -algorithm ed25519`"
                    .to_owned(),
            )
        };
        let der = block(pem, "PRIVATE KEY").ok_or_else(none)?;
        let ed25519 = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map(Pair::Ed25519);
        let key = ed25519
            .or_else(|_| EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, random).map(Pair::P256));
        Ok(Self { kid: kid.to_owned(), key: key.map_err(|_| none())?, chain: Vec::new() })
    }

    /// Says with each signature by which certificates its key is known: the key's own first, in PEM.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the text holds none, or the first is of another key.
    pub fn with_certificates(mut self, pem: &str) -> Result<Self, KeyError> {
        let all = chain::certificates(pem)?;
        let own = match &self.key {
            Pair::Ed25519(key) => key.public_key().as_ref(),
            Pair::P256(key) => key.public_key().as_ref(),
        };
        let is_own = |der: &[u8]| memchr::memmem::find(der, own).is_some();
        if !all.first().is_some_and(|der| is_own(der)) {
            return Err(KeyError("its first certificate is not of the key that signs".to_owned()));
        }
        self.chain = all.iter().map(|der| STANDARD.encode(der)).collect();
        Ok(self)
    }

    pub(super) fn chain(&self) -> &[String] {
        &self.chain
    }

    /// What receivers know it as.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        match self.key {
            Pair::Ed25519(_) => Algorithm::EdDsa,
            Pair::P256(_) => Algorithm::Es256,
        }
    }

    pub(super) fn sign(&self, bytes: &[u8], random: &dyn SecureRandom) -> Result<Vec<u8>, SignatureFault> {
        match &self.key {
            Pair::Ed25519(key) => Ok(key.sign(bytes).as_ref().to_vec()),
            Pair::P256(key) => {
                let signature = key.sign(random, bytes);
                let failed = |_| SignatureFault::Unknown("the system gives no random numbers".to_owned());
                signature.map(|signature| signature.as_ref().to_vec()).map_err(failed)
            }
        }
    }

    /// Its public half as a JWK: what receivers trust.
    #[must_use]
    pub fn public_jwk(&self) -> serde_json::Value {
        let part = |bytes: Option<&[u8]>| URL_SAFE_NO_PAD.encode(bytes.unwrap_or_default());
        let (alg, kid) = (self.algorithm().name(), &self.kid);
        match &self.key {
            Pair::Ed25519(key) => serde_json::json!({
                "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": alg, "kid": kid,
                "x": part(Some(key.public_key().as_ref())),
            }),
            Pair::P256(key) => {
                // An uncompressed point: 4, x, y.
                let point = key.public_key().as_ref();
                serde_json::json!({
                    "kty": "EC", "crv": "P-256", "use": "sig", "alg": alg, "kid": kid,
                    "x": part(point.get(1..33)), "y": part(point.get(33..65)),
                })
            }
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({}, {})", self.kid, self.algorithm().name())
    }
}

/// The public keys whose signatures are taken.
#[derive(Clone, Debug, Default)]
pub struct TrustedKeys(Vec<Trusted>, Vec<Anchor>);

#[derive(Clone, Debug)]
struct Trusted {
    kid: String,
    key: Public,
}

#[derive(Clone, Debug)]
pub(super) enum Public {
    /// Bytes as the algorithm has them: 32 of Ed25519, an uncompressed point of a curve.
    Point(Algorithm, Vec<u8>),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// RSAPublicKey in DER (RFC 8017 appendix A.1.1).
    RsaDer(Vec<u8>),
}

/// What is read of a JWK (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    crv: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

impl TrustedKeys {
    /// Adds the keys of a file: a JWK set, a JWK, a public key in PEM, which is known by `name`, or certificates in PEM,
    /// that the chain in a JWS may lead to.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the text holds no key that can be used, or a private one.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), KeyError> {
        if text.trim_start().starts_with('{') {
            return self.add_jwks(text);
        }
        if text.contains("-----BEGIN CERTIFICATE-----") {
            self.1.extend(chain::anchors(name, text)?);
            return Ok(());
        }
        let der = block(text, "PUBLIC KEY").ok_or_else(|| {
            KeyError(
                "it is neither a JWK set nor a public key or certificate in PEM (-----BEGIN PUBLIC KEY-----)"
                    .to_owned(),
            )
        })?;
        let key = of_spki(&der)
            .ok_or_else(|| KeyError("its key must be Ed25519, P-256, P-384 or RSA of 2048 bits and more".to_owned()))?;
        self.0.push(Trusted { kid: name.to_owned(), key });
        Ok(())
    }

    fn add_jwks(&mut self, text: &str) -> Result<(), KeyError> {
        let wrong = |what: &str| KeyError(what.to_owned());
        let keys = serde_json::from_str::<JwkSet>(text).map(|set| set.keys);
        let keys = keys.or_else(|_| serde_json::from_str::<Jwk>(text).map(|key| vec![key]));
        let keys = keys.map_err(|_| wrong("it is no JWK set: {\"keys\": [{\"kty\": …, \"kid\": …}]}"))?;
        if keys.iter().any(|key| key.d.is_some()) {
            return Err(wrong("it holds a private key, which belongs to its owner alone: ask for the public one"));
        }
        let before = self.0.len();
        for jwk in keys.into_iter().filter(|jwk| jwk.usage.as_deref().is_none_or(|usage| usage == "sig")) {
            let kid = jwk.kid.clone().unwrap_or_default();
            self.0.extend(jwk.public().map(|key| Trusted { kid, key }));
        }
        if self.0.len() == before {
            return Err(wrong("none of its keys can be used: Ed25519, P-256, P-384 or RSA of 2048 bits and more"));
        }
        Ok(())
    }

    /// The SHA-256 of all of them, in hexadecimal: by which keys something was verified.
    #[must_use]
    pub fn version(&self) -> String {
        Sha256::of(format!("{self:?}").as_bytes()).to_string()
    }

    /// True without keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty() && self.1.is_empty()
    }

    /// True if a key is called `kid`.
    pub(super) fn knows(&self, kid: Option<&str>) -> bool {
        kid.is_some_and(|kid| self.0.iter().any(|trusted| trusted.kid == kid))
    }

    /// The certificates that a chain may lead to.
    pub(super) fn anchors(&self) -> &[Anchor] {
        &self.1
    }

    /// The name of the key that `signature` of `bytes` was made with: the one called `kid`, or any of that algorithm
    /// where that is not said.
    pub(super) fn verify(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        bytes: &[u8],
        signature: &[u8],
    ) -> Result<String, SignatureFault> {
        let named = |trusted: &&Trusted| kid.is_none_or(|kid| trusted.kid == kid);
        let mut known = self.0.iter().filter(named).filter(|trusted| trusted.key.algorithm() == algorithm).peekable();
        let name = kid.map_or_else(|| "none is named".to_owned(), |kid| kid.chars().take(80).collect());
        if known.peek().is_none() {
            return Err(SignatureFault::Untrusted(format!("{name}, {}", algorithm.name())));
        }
        let fits = known.find(|trusted| trusted.key.verify(bytes, signature));
        fits.map(|trusted| trusted.kid.clone()).ok_or(SignatureFault::Broken(name))
    }
}

impl Jwk {
    fn public(&self) -> Option<Public> {
        let bytes = |part: &Option<String>| URL_SAFE_NO_PAD.decode(part.as_deref()?.trim_end_matches('=')).ok();
        let point = |algorithm, length: usize| {
            let (x, y) = (bytes(&self.x)?, bytes(&self.y)?);
            let fits = x.len() == length && y.len() == length;
            fits.then(|| Public::Point(algorithm, [&[4], x.as_slice(), y.as_slice()].concat()))
        };
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => {
                bytes(&self.x).filter(|x| x.len() == 32).map(|x| Public::Point(Algorithm::EdDsa, x))
            }
            ("EC", Some("P-256")) => point(Algorithm::Es256, 32),
            ("EC", Some("P-384")) => point(Algorithm::Es384, 48),
            ("RSA", _) => Some(Public::Rsa { n: bytes(&self.n).filter(|n| n.len() >= 256)?, e: bytes(&self.e)? }),
            _ => None,
        }
    }
}

impl Public {
    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Point(algorithm, _) => *algorithm,
            Self::Rsa { .. } | Self::RsaDer(_) => Algorithm::Rs256,
        }
    }

    pub(super) fn verify(&self, bytes: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Point(Algorithm::EdDsa, key) => {
                UnparsedPublicKey::new(&ED25519, key).verify(bytes, signature).is_ok()
            }
            Self::Point(Algorithm::Es384, key) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, key).verify(bytes, signature).is_ok()
            }
            Self::Point(_, key) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(bytes, signature).is_ok()
            }
            Self::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, bytes, signature).is_ok()
            }
            Self::RsaDer(key) => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(bytes, signature).is_ok()
            }
        }
    }
}

/// What stands before the key in a SubjectPublicKeyInfo (RFC 8410 §4, RFC 5480 §2).
const SPKI: [(&[u8], Algorithm, usize); 3] = [
    (&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00], Algorithm::EdDsa, 32),
    (
        &[
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
            0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ],
        Algorithm::Es256,
        65,
    ),
    (
        &[
            0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04,
            0x00, 0x22, 0x03, 0x62, 0x00,
        ],
        Algorithm::Es384,
        97,
    ),
];

/// The algorithm of an RSA key, and the tag of the BIT STRING that it stands in (RFC 8017 appendix A.1), for keys of 1024
/// bits and more: both lengths take three bytes, and the first byte of the string is 0.
const RSA: [u8; 17] =
    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00, 0x03, 0x82];

/// The key of a SubjectPublicKeyInfo.
pub(super) fn of_spki(der: &[u8]) -> Option<Public> {
    let point = SPKI.iter().find_map(|(head, algorithm, length)| {
        let key = der.strip_prefix(*head).filter(|key| key.len() == *length)?;
        Some(Public::Point(*algorithm, key.to_vec()))
    });
    point.or_else(|| {
        let [_, _, 0, key @ ..] = der.strip_prefix(&[0x30, 0x82])?.get(2..)?.strip_prefix(&RSA)? else { return None };
        Some(Public::RsaDer(key.to_vec()))
    })
}

/// Base64 in lines.
pub(super) fn decode(body: &str) -> Option<Vec<u8>> {
    STANDARD.decode(body.split_whitespace().collect::<String>()).ok()
}

/// The bytes of the first block of that name in a PEM file (RFC 7468).
fn block(pem: &str, name: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once(&format!("-----BEGIN {name}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {name}-----"))?;
    decode(body)
}

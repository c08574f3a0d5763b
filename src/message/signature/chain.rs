//! Certificates: the chain in a JWS header (`x5c`, RFC 7515 §4.1.6), and the authorities that it must lead to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter};

use super::keys::{Algorithm, KeyError, Public, of_spki};
use super::{SignatureFault, keys};
use crate::Sha256;

/// Longest chain that is looked at.
const MOST: usize = 8;
/// TLS servers (RFC 5280 §4.2.1.12): what is for nothing else signs no documents.
const SERVER: &[usize] = &[1, 3, 6, 1, 5, 5, 7, 3, 1];

/// A certificate that is trusted: an authority's, or a sender's own.
#[derive(Clone, Debug)]
pub(super) struct Anchor {
    name: String,
    der: CertificateDer<'static>,
}

/// The certificates of a PEM file, each known by `name`.
pub(super) fn anchors(name: &str, pem: &str) -> Result<Vec<Anchor>, KeyError> {
    let all: Vec<Anchor> = certificates(pem)?
        .into_iter()
        .map(|der| Anchor { name: name.to_owned(), der: CertificateDer::from(der) })
        .collect();
    for anchor in &all {
        webpki::anchor_from_trusted_cert(&anchor.der)
            .map_err(|error| KeyError::new(format!("its certificate cannot be used: {error}")))?;
    }
    Ok(all)
}

/// The bytes of the certificates in a PEM file, in order.
pub(super) fn certificates(pem: &str) -> Result<Vec<Vec<u8>>, KeyError> {
    let blocks = pem.split("-----BEGIN CERTIFICATE-----").skip(1);
    let read = blocks.map(|rest| rest.split_once("-----END CERTIFICATE-----").and_then(|(body, _)| keys::decode(body)));
    let all: Option<Vec<_>> = read.collect();
    all.filter(|all| !all.is_empty()).ok_or_else(|| KeyError::new("its certificates cannot be read".to_owned()))
}

/// Who signed, and with which key, by the chain in a header: the first certificate is the signer's. It must lead to one
/// of `anchors`, and be valid at `at`.
pub(super) fn signer(x5c: &[String], anchors: &[Anchor], at: Timestamp) -> Result<(String, Public), SignatureFault> {
    let unknown = |what: &str| SignatureFault::Unknown(what.to_owned());
    if x5c.len() > MOST {
        return Err(unknown("its certificates are too many"));
    }
    let chain: Option<Vec<CertificateDer<'_>>> =
        x5c.iter().map(|text| STANDARD.decode(text).ok().map(CertificateDer::from)).collect();
    let chain = chain.ok_or_else(|| unknown("its certificates are no base64"))?;
    let (first, others) = chain.split_first().ok_or_else(|| unknown("it has an empty chain of certificates"))?;
    let signer = EndEntityCert::try_from(first).map_err(|_| unknown("its certificate cannot be read"))?;
    let name = leads_to(&signer, first, others, anchors, at)
        .map_err(|why| SignatureFault::Untrusted(format!("its certificate leads to none that is trusted: {why}")))?;
    let key = of_spki(&signer.subject_public_key_info())
        .ok_or_else(|| unknown("its certificate's key must be Ed25519, P-256, P-384 or RSA"))?;
    Ok((format!("{name} (certificate {})", Sha256::of(first)), key))
}

/// The name of the anchor that a certificate leads to.
fn leads_to(
    signer: &EndEntityCert<'_>,
    first: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    anchors: &[Anchor],
    at: Timestamp,
) -> Result<String, Error> {
    let since = std::time::Duration::try_from(at.duration_since(Timestamp::UNIX_EPOCH)).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(since);
    let mut last = Error::UnknownIssuer;
    for anchor in anchors {
        let trusted = [webpki::anchor_from_trusted_cert(&anchor.der)?];
        let path = signer.verify_for_usage(ALL_VERIFICATION_ALGS, &trusted, others, now, Documents, None, None);
        match path {
            Ok(_) => return Ok(anchor.name.clone()),
            // One that is trusted itself, and signed by itself.
            Err(Error::CaUsedAsEndEntity | Error::UnknownIssuer) if anchor.der == *first => {
                return Ok(anchor.name.clone());
            }
            Err(Error::UnknownIssuer) => {}
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// For signing documents: any use, or none said, but not TLS servers alone.
struct Documents;

impl ExtendedKeyUsageValidator for Documents {
    fn validate(&self, uses: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let (mut any, mut fits) = (false, false);
        for one in uses {
            any = true;
            fits |= one?.to_decoded_oid() != SERVER;
        }
        let refused =
            webpki::RequiredEkuNotFoundContext { required: webpki::KeyUsage::client_auth(), present: Vec::new() };
        if any && !fits { Err(Error::RequiredEkuNotFoundContext(refused)) } else { Ok(()) }
    }
}

/// The signature of `bytes` by the key of a chain.
pub(super) fn verify(
    (name, key): (String, Public),
    algorithm: Algorithm,
    bytes: &[u8],
    signature: &[u8],
) -> Result<String, SignatureFault> {
    if key.algorithm() != algorithm {
        return Err(SignatureFault::Unknown("its algorithm is not that of its certificate's key".to_owned()));
    }
    if key.verify(bytes, signature) { Ok(name) } else { Err(SignatureFault::Broken(name)) }
}

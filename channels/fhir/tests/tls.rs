//! `https`: whom we believe, and who we say we are.

use expect_test::{Expect, expect};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A certification authority, and files of what it issued.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
    dir: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), certificate, dir }
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        (certificate, key)
    }

    /// The setting `key`, with a file of this authority's folder.
    fn setting(&self, key: &str, file: &str) -> String {
        format!("{key} = \"{}\"\n", self.dir.path().join(file).display())
    }

    /// A server at `localhost` with a certificate of this authority, and whether it asks for one too.
    async fn serve(&self, asks: bool) -> Server {
        let (certificate, key) = self.issue("localhost");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let builder = builder.unwrap();
        let builder = if asks { builder.with_client_cert_verifier(verifier) } else { builder.with_no_client_auth() };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Server::lying(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                // A client that does not believe us hangs up.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = Vec::new();
                while !request.ends_with(TRANSACTION.as_bytes()) {
                    let Ok(byte) = stream.read_u8().await else { return };
                    request.push(byte);
                }
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{TAKEN}", TAKEN.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        })
        .await
    }
}

async fn check(server: &Server, host: &str, settings: &str, expected: Expect) {
    let destination = destination(&format!("https://{host}:{}/fhir", server.address.port()), settings).unwrap();
    expected.assert_eq(&print(&deliver(&destination, TRANSACTION).await));
}

#[tokio::test]
async fn a_server_of_the_sites_own_authority_is_believed() {
    let authority = Authority::new();
    let server = authority.serve(false).await;
    check(&server, "localhost", &authority.setting("ca_file", "ca.pem"), expect!["delivered: 200 OK, 2 entries"]).await;
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_is_not() {
    let server = Authority::new().serve(false).await;
    check(
        &server,
        "localhost",
        &Authority::new().setting("ca_file", "ca.pem"),
        expect!["unavailable and down: TLS: invalid peer certificate: BadSignature"],
    )
    .await;
}

#[tokio::test]
async fn a_server_of_another_name_is_not() {
    let authority = Authority::new();
    let server = authority.serve(false).await;
    let destination =
        destination(&format!("https://127.0.0.1:{}", server.address.port()), &authority.setting("ca_file", "ca.pem"))
            .unwrap();
    let result = deliver(&destination, TRANSACTION).await;
    assert!(print(&result).starts_with("unavailable and down: TLS: invalid peer certificate"), "{result:?}");
}

#[tokio::test]
async fn clear_text_is_no_tls() {
    let server = Server::saying(200, &[], TAKEN).await;
    check(
        &server,
        "localhost",
        &Authority::new().setting("ca_file", "ca.pem"),
        expect!["unavailable and down: TLS: received corrupt message of type InvalidContentType"],
    )
    .await;
}

#[tokio::test]
async fn a_server_that_asks_who_we_are_is_told() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("tributary");
    std::fs::write(authority.dir.path().join("us.pem"), format!("{}{}", certificate.pem(), key.serialize_pem()))
        .unwrap();
    let server = authority.serve(true).await;
    let settings = authority.setting("ca_file", "ca.pem") + &authority.setting("identity_file", "us.pem");
    check(&server, "localhost", &settings, expect!["delivered: 200 OK, 2 entries"]).await;
}

#[tokio::test]
async fn a_server_that_asks_who_we_are_and_is_not_told_does_not_take_it() {
    let authority = Authority::new();
    let server = authority.serve(true).await;
    let destination =
        destination(&format!("https://localhost:{}", server.address.port()), &authority.setting("ca_file", "ca.pem"))
            .unwrap();
    let result = deliver(&destination, TRANSACTION).await;
    assert!(matches!(result, Err(DeliveryError::Unknown { .. } | DeliveryError::Unavailable { .. })), "{result:?}");
}

#[tokio::test]
async fn files_that_are_none_are_told_of() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("x.pem"), "no PEM").unwrap();
    let check = |key: &str, file: &str, expected: Expect| {
        let settings = format!("{key} = \"{}\"", dir.path().join(file).display());
        let what = destination("https://localhost:1", &settings).err().unwrap().what;
        expected.assert_eq(&what.replace(&*dir.path().to_string_lossy(), "DIR"));
    };
    check("ca_file", "none.pem", expect!["cannot read ca_file DIR/none.pem"]);
    check("ca_file", "x.pem", expect!["ca_file DIR/x.pem has no certificate: it must be PEM"]);
    check("identity_file", "x.pem", expect!["identity_file DIR/x.pem is not what it should be, in PEM"]);
}

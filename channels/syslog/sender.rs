//! Hands batches of messages over, each by a connection of its own.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::config::Config;
use crate::{ChannelError, DeliveryError};

/// A receiver of syslog over TLS.
pub struct Sender {
    config: Config,
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Sender {
    /// One with these settings; nothing is connected yet. Reads `ca_file` and `identity_file`.
    ///
    /// # Errors
    ///
    /// [`ChannelError`] if a certificate or key cannot be read or is none.
    pub fn new(config: Config) -> Result<Self, ChannelError> {
        let wrong = |what: String| ChannelError { what, source: None };
        let mut roots = RootCertStore::empty();
        for certificate in certificates("ca_file", &config.ca_file)? {
            roots.add(certificate).map_err(|error| wrong(format!("ca_file {}: {error}", config.ca_file.display())))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(format!("cannot set up TLS: {error}")))?
            .with_root_certificates(roots);
        let tls = match &config.identity_file {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let chain = certificates("identity_file", path)?;
                let key = PrivateKeyDer::from_pem_file(path);
                let key =
                    key.map_err(|error| wrong(format!("identity_file {} has no key: {error}", path.display())))?;
                let tls = builder.with_client_auth_cert(chain, key);
                tls.map_err(|error| wrong(format!("identity_file {}: {error}", path.display())))?
            }
        };
        let host = config.address.as_str().rsplit_once(':').map_or("", |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone())
            .map_err(|_| wrong(format!("`{host}` is no name that a certificate can be of")))?;
        Ok(Self { connector: TlsConnector::from(Arc::new(tls)), config, name })
    }

    /// Hands `frames` over. All of them count as sent once the receiver has closed the connection after them; before that,
    /// it may have got some.
    ///
    /// # Errors
    ///
    /// [`DeliveryError::Unavailable`] where it cannot be reached, and none was sent; [`DeliveryError::Unknown`] where the
    /// connection was lost or silent after that.
    pub async fn send(&self, frames: &[Vec<u8>]) -> Result<(), DeliveryError> {
        let mut stream = self.connect().await?;
        let unknown = |reason: String| DeliveryError::Unknown { reason };
        let handed_over = timeout(self.config.answer_timeout.0, async {
            for frame in frames {
                stream.write_all(frame).await?;
            }
            stream.flush().await?;
            // Sends close_notify, then the end of the stream.
            stream.shutdown().await?;
            until_closed(&mut stream).await
        });
        match handed_over.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(unknown(reason(&error))),
            Err(_) => Err(unknown("it did not close the connection after ours was closed (RFC 5425 §4.4)".to_owned())),
        }
    }

    /// Connects, shakes hands and closes.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    pub async fn probe(&self) -> Result<String, DeliveryError> {
        let stream = self.connect().await?;
        let version = stream.get_ref().1.protocol_version();
        let version = version.and_then(|version| version.as_str()).unwrap_or("TLS").replace("TLSv1_", "TLS 1.");
        let mut stream = stream;
        // Nobody reads on.
        drop(stream.shutdown().await);
        Ok(format!("connected, {version}"))
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>, DeliveryError> {
        let unavailable = |reason: String| DeliveryError::Unavailable { reason, retry_after: None, down: true };
        let connecting = timeout(self.config.connect_timeout.0, async {
            let stream = TcpStream::connect(self.config.address.as_str()).await?;
            stream.set_nodelay(true)?;
            self.connector.connect(self.name.clone(), stream).await
        });
        match connecting.await {
            Ok(connected) => connected.map_err(|error| unavailable(reason(&error))),
            Err(_) => Err(unavailable("no connection in time".to_owned())),
        }
    }
}

/// Reads until the receiver has closed. It has nothing to say: what it says is passed over.
async fn until_closed(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    let mut passed_over = [0; 512];
    loop {
        match stream.read(&mut passed_over).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // It closed without a word, which receivers do: it had read to our end all the same, or this were a reset.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// What happened, in words of ours or of TLS.
fn reason(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => format!("TLS: {error}"),
        None => error.kind().to_string(),
    }
}

fn certificates(setting: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ChannelError> {
    let no_pem = |error: &dyn std::fmt::Display| ChannelError {
        what: format!("{setting} {} is not what it should be, in PEM: {error}", path.display()),
        source: None,
    };
    let read = CertificateDer::pem_file_iter(path).map_err(|error| no_pem(&error))?;
    let certificates = read.collect::<Result<Vec<_>, _>>().map_err(|error| no_pem(&error))?;
    if certificates.is_empty() { Err(no_pem(&"there is no certificate in it")) } else { Ok(certificates) }
}

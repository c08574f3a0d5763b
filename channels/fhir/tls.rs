//! Whom an `https` destination is believed to be, and who we say we are.

use std::error::Error as _;
use std::io;
use std::path::Path;

use reqwest::{Certificate, ClientBuilder, Identity};

use crate::ChannelError;

/// `builder` for a server that is reached by TLS or not, with the certificates in these files. Reads them.
pub(crate) fn configure(
    builder: ClientBuilder,
    secure: bool,
    ca_file: Option<&Path>,
    identity_file: Option<&Path>,
) -> Result<ClientBuilder, ChannelError> {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::trace!("the program has a crypto provider already");
    }
    if !secure {
        // No roots: loading the system's takes longer than all else, and redirects are not followed.
        return Ok(builder.tls_certs_only([]));
    }
    let builder = match ca_file {
        Some(path) => builder.tls_certs_only(authorities(path)?),
        None => builder,
    };
    match identity_file {
        Some(path) => Ok(builder.identity(identity(path)?)),
        None => Ok(builder),
    }
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, ChannelError> {
    let certificates =
        Certificate::from_pem_bundle(&read("ca_file", path)?).map_err(|error| no_pem("ca_file", path, &error))?;
    if certificates.is_empty() {
        let what = format!("ca_file {} has no certificate: it must be PEM", path.display());
        return Err(ChannelError { what, source: None });
    }
    Ok(certificates)
}

fn identity(path: &Path) -> Result<Identity, ChannelError> {
    Identity::from_pem(&read("identity_file", path)?).map_err(|error| no_pem("identity_file", path, &error))
}

fn read(setting: &str, path: &Path) -> Result<Vec<u8>, ChannelError> {
    std::fs::read(path).map_err(|source| ChannelError {
        what: format!("cannot read {setting} {}", path.display()),
        source: Some(source),
    })
}

fn no_pem(setting: &str, path: &Path, error: &reqwest::Error) -> ChannelError {
    let what = format!("{setting} {} is not what it should be, in PEM", path.display());
    ChannelError { what, source: error.source().map(|source| io::Error::other(source.to_string())) }
}

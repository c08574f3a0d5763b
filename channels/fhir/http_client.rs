//! The HTTP client of whatever is asked: a FHIR server, an Audit Record Repository, a decision service.

use std::error::Error as _;
use std::io;
use std::path::Path;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, ClientBuilder, redirect, retry};

use super::{BaseUrl, Headers, tls};
use crate::ChannelError;
use crate::credentials::Credentials;

/// A client of the server at `url`, with the certificates in these files. It goes where it is told and nowhere else, and
/// tries once: what is tried again is its user's to say.
///
/// # Errors
///
/// [`ChannelError`] if a certificate or key cannot be read or is none.
pub(crate) fn client(
    builder: ClientBuilder,
    url: &BaseUrl,
    ca_file: Option<&Path>,
    identity_file: Option<&Path>,
) -> Result<Client, ChannelError> {
    let builder = builder
        .user_agent(concat!("tributary/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy();
    tls::configure(builder, url.is_secure(), ca_file, identity_file)?.build().map_err(|error| ChannelError {
        what: format!("cannot set up TLS for {url:?}: look at `ca_file` and `identity_file`"),
        source: error.source().map(|source| io::Error::other(source.to_string())),
    })
}

/// The headers of every request: those of the settings, what is taken for an answer, and what we show the server.
pub(crate) fn headers(set: &Headers, accept: HeaderValue, auth: Option<&Credentials>) -> HeaderMap {
    let mut headers = set.map().clone();
    headers.insert(ACCEPT, accept);
    if let Some(auth) = auth {
        headers.insert(AUTHORIZATION, auth.authorization().clone());
    }
    headers
}

//! The command line's side of the operators' socket.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::operation::{Operation, OperationError};

/// A connection to a running engine.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    socket: PathBuf,
}

impl Client {
    /// A client of the engine behind `socket`; `None` if no engine answers there.
    ///
    /// # Errors
    ///
    /// Where an engine may be there but does not let us in: the socket belongs to another user.
    pub async fn connect(socket: &Path) -> Result<Option<Self>, OperationError> {
        let refused = |error: &dyn std::fmt::Display| {
            OperationError::failed(format!("the engine behind {} cannot be asked: {error}", socket.display()))
        };
        match tokio::net::UnixStream::connect(socket).await {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(refused(&format_args!("{error}; ask as the user that runs it: sudo -u USER tributary …")));
            }
            Err(error) => return Err(refused(&error)),
        }
        // Nothing here is encrypted, but the client is not built without a provider; where the program has one, it stays.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder().unix_socket(socket).build().map_err(|error| refused(&error))?;
        Ok(Some(Self { http, socket: socket.to_owned() }))
    }

    /// Has an operation carried out.
    ///
    /// # Errors
    ///
    /// What the engine answered, or that it no longer answers.
    pub async fn call<T: DeserializeOwned>(&self, operation: &Operation) -> Result<T, OperationError> {
        let gone = |error: reqwest::Error| {
            OperationError::failed(format!("the engine behind {} does not answer: {error}", self.socket.display()))
        };
        let response = self.http.post("http://engine/operation").json(operation).send().await.map_err(gone)?;
        if response.status().is_success() {
            return response.json().await.map_err(gone);
        }
        Err(response.json().await.unwrap_or_else(gone))
    }
}

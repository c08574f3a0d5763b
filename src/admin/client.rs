//! The command line's side of the operators' socket.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::operation::{Operation, OperationError};

/// A connection to a running engine.
pub struct Client {
    http: reqwest::Client,
    socket: PathBuf,
}

impl Client {
    /// A client of the engine behind `socket`; `None` if no engine answers there.
    pub async fn connect(socket: &Path) -> Option<Self> {
        tokio::net::UnixStream::connect(socket).await.ok()?;
        let http = reqwest::Client::builder().unix_socket(socket).build().ok()?;
        Some(Self { http, socket: socket.to_owned() })
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

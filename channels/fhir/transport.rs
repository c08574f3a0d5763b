//! When there is no answer: whether anything of the request can have reached the server.
//!
//! The rule: without a connection, on one that ended before a byte of the request was given to it (a
//! kept one that had gone stale), or on one whose TLS the server called off, nothing has reached
//! anyone: unavailable. In every other case the server may have read it all: unknown.

use std::error::Error;
use std::io;

use crate::DeliveryError;

/// What `error`, which `send` gave, means for the delivery.
pub(super) fn failure(error: &reqwest::Error) -> DeliveryError {
    let reason = reason(error);
    let called_off = matches!(find::<rustls::Error>(error), Some(rustls::Error::AlertReceived(_)));
    if error.is_connect() || error.is_builder() || called_off {
        return DeliveryError::Unavailable { reason, retry_after: None, down: true };
    }
    if find::<hyper::Error>(error).is_some_and(hyper::Error::is_canceled) {
        return DeliveryError::Unavailable { reason, retry_after: None, down: false };
    }
    DeliveryError::Unknown { reason }
}

/// What happened, in words that hold nothing of the message nor of the URL.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return if error.is_connect() { "no connection in time" } else { "no whole answer in time" }.to_owned();
    }
    if error.is_dns() {
        return "the server's name cannot be resolved".to_owned();
    }
    if let Some(error) = find::<rustls::Error>(error) {
        return format!("TLS: {error}");
    }
    if let Some(error) = find::<io::Error>(error) {
        return error.kind().to_string();
    }
    // Fixed texts, such as `connection closed before message completed`.
    find::<hyper::Error>(error).map_or_else(|| "the connection failed".to_owned(), ToString::to_string)
}

/// The innermost error of type `E` below `error`.
fn find<E: Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    std::iter::successors(error.source(), |error| below(*error)).filter_map(|error| error.downcast_ref()).last()
}

/// What is below `error`; below an I/O error that holds another, that one, which its source passes over.
fn below<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(held) => Some(held),
        None => error.source(),
    }
}

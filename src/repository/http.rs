//! One HTTP request and its answer (FHIR R4 §3.1.0).

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::behave::{Behaviour, DropAfter, Fate};
use super::entry::{Action, Asked, Entry, Get, Place};
use super::outcome::Refusal;
use super::transaction::{Done, Written, etag};
use super::{Repository, capability, discard};

/// An answer with its whole body.
pub(super) type Response = hyper::Response<Full<Bytes>>;

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped, as the repository was told to")]
pub(super) struct Dropped;

impl Repository {
    /// Answers one request.
    ///
    /// # Errors
    ///
    /// [`Dropped`], if it behaves so.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Result<Response, Dropped> {
        let (parts, body) = request.into_parts();
        let body = match self.read_body(body).await {
            Ok(body) => body,
            Err(refusal) => return Ok(refused(&refusal)),
        };
        if let Some(answer) = self.administer(&parts, &body) {
            return Ok(answer.unwrap_or_else(|refusal| refused(&refusal)));
        }
        let fate = self.0.switches.next();
        if let Some(latency) = fate.behaviour.latency {
            tokio::time::sleep(latency.0).await;
        }
        if fate.drops(DropAfter::Read) {
            return Err(Dropped);
        }
        let is_write = parts.method != Method::GET && !parts.uri.path().ends_with("/_search");
        let answer = fate.failure(is_write).map_or_else(|| self.route(&parts, body.clone(), &fate), Err);
        if is_write && answer.is_ok() {
            (self.0.seen)(&body);
        }
        if fate.drops(DropAfter::Stored) {
            return Err(Dropped);
        }
        Ok(answer.unwrap_or_else(|refusal| refused(&refusal)))
    }

    async fn read_body(&self, body: Incoming) -> Result<Bytes, Refusal> {
        let limit = self.0.config.max_body.as_usize();
        match Limited::new(body, limit).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                let text = format!("the body is longer than {limit} bytes");
                Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too-long", text))
            }
            Err(_) => Err(Refusal::invalid("the body ended too soon")),
        }
    }

    /// Its own switches and counters, which never misbehave.
    fn administer(&self, parts: &Parts, body: &Bytes) -> Option<Result<Response, Refusal>> {
        match (&parts.method, parts.uri.path()) {
            (&Method::GET, "/$behave") => Some(Ok(json_answer(StatusCode::OK, &json!(*self.0.switches.get())))),
            (&Method::POST, "/$behave") => Some(self.set_behaviour(body)),
            (&Method::GET, "/$counts") => Some(Ok(json_answer(StatusCode::OK, &json!(self.counts())))),
            _ => None,
        }
    }

    fn set_behaviour(&self, body: &Bytes) -> Result<Response, Refusal> {
        let behaviour: Behaviour =
            serde_json::from_slice(body).map_err(|error| Refusal::invalid(format!("not a behaviour: {error}")))?;
        self.behave(behaviour.clone());
        Ok(json_answer(StatusCode::OK, &json!(behaviour)))
    }

    fn route(&self, parts: &Parts, body: Bytes, fate: &Fate) -> Result<Response, Refusal> {
        let path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
        match (parts.method.as_str(), path.as_slice()) {
            ("GET", ["metadata"]) => Ok(json_answer(StatusCode::OK, &capability::statement((self.0.clock)()))),
            ("POST", [""]) => self.post_bundle(parts, &body, fate),
            ("POST", [name, "_search"]) => self.get(parts, &[name], std::str::from_utf8(&body).ok()),
            ("GET", path) => self.get(parts, path, parts.uri.query()),
            (_, path) => self.write(parts, path, &body, fate),
        }
    }

    fn post_bundle(&self, parts: &Parts, body: &Bytes, fate: &Fate) -> Result<Response, Refusal> {
        check_media_type(&parts.headers)?;
        if self.0.config.discard {
            return discard::answer(body).map(|answer| response(StatusCode::OK, answer.into()));
        }
        Ok(json_answer(StatusCode::OK, &self.process(parse(body)?, fate)?))
    }

    fn get(&self, parts: &Parts, path: &[&str], query: Option<&str>) -> Result<Response, Refusal> {
        let mut done = super::read::read(&self.store(), &Get::new(path, query)?)?;
        if let (Some(body), None) = (&mut done.body, &done.written) {
            super::read::make_absolute(body, &base(&parts.headers));
        }
        Ok(single(&done, done.body.as_ref()))
    }

    fn write(&self, parts: &Parts, path: &[&str], body: &Bytes, fate: &Fate) -> Result<Response, Refusal> {
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let asked = Asked {
            method: parts.method.as_str(),
            path,
            query: parts.uri.query(),
            if_none_exist: text("if-none-exist"),
            if_match: text("if-match"),
        };
        let resource = if body.is_empty() { None } else { Some(parse(body)?) };
        if resource.is_some() {
            check_media_type(&parts.headers)?;
        }
        let action = Action::new(&asked, resource, Place::Request)?;
        let done = self.transact(vec![Entry { place: Place::Request, full_url: None, action }], fate)?;
        let done = done.into_iter().next().ok_or_else(|| Refusal::invalid("nothing was asked for"))?;
        let minimal = text("prefer").is_some_and(|prefer| prefer.contains("return=minimal"));
        let body = done.written.as_ref().filter(|_| !minimal).map(|written| written.version.render());
        let mut response = single(&done, body.as_ref());
        if let Some(written) = &done.written {
            set(&mut response, header::LOCATION, &location(&base(&parts.headers), written));
        }
        Ok(response)
    }
}

fn parse(body: &Bytes) -> Result<Value, Refusal> {
    // The parser's own text may quote the body.
    serde_json::from_slice(body).map_err(|error| {
        Refusal::invalid(format!("the body is no JSON: line {}, column {}", error.line(), error.column()))
    })
}

/// Where the client sees us; relative URLs for one that does not say.
fn base(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.map_or_else(String::new, |host| format!("http://{host}/"))
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if ["application/fhir+json", "application/json"].contains(&media_type) {
        return Ok(());
    }
    let text = "the Content-Type must be application/fhir+json";
    Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported", text))
}

/// An answer about one resource, with its version in the head.
fn single(done: &Done, body: Option<&Value>) -> Response {
    let body = body.filter(|body| !body.is_null() && done.status != StatusCode::NO_CONTENT);
    let mut response = match body {
        Some(body) => json_answer(done.status, body),
        None => response(done.status, Bytes::new()),
    };
    if let Some(written) = &done.written {
        let modified = written.version.at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        set(&mut response, header::ETAG, &etag(written.version.number));
        set(&mut response, header::LAST_MODIFIED, &modified);
    }
    response
}

fn location(base: &str, written: &Written) -> String {
    format!("{base}{}/{}/_history/{}", written.kind, written.id, written.version.number)
}

fn refused(refusal: &Refusal) -> Response {
    let mut response = json_answer(refusal.status, &refusal.to_outcome());
    if let Some(seconds) = refusal.retry_after {
        set(&mut response, header::RETRY_AFTER, &seconds.to_string());
    }
    if refusal.status == StatusCode::UNAUTHORIZED {
        set(&mut response, header::WWW_AUTHENTICATE, "Bearer");
    }
    response
}

fn json_answer(status: StatusCode, body: &Value) -> Response {
    response(status, body.to_string().into())
}

fn response(status: StatusCode, body: Bytes) -> Response {
    let is_empty = body.is_empty();
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    if !is_empty {
        let json = HeaderValue::from_static("application/fhir+json; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
    }
    response
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

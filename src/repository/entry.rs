//! What a request, or one entry of a Bundle, asks for.

use hyper::StatusCode;
use serde_json::{Map, Value};

use super::content::Resource;
use super::kind::{Kind, is_id, kind};
use super::outcome::Refusal;
use super::search::Query;

/// One thing to do.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) place: Place,
    /// What the other entries call the resource.
    pub(super) full_url: Option<String>,
    pub(super) action: Action,
}

/// Where an entry stands, for messages about it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// It is the request itself.
    Request,
    /// `Bundle.entry[…]`.
    Bundle(usize),
}

/// An interaction (FHIR R4 §3.1).
#[derive(Debug)]
pub(super) enum Action {
    Create { resource: Resource, unless: Option<Query> },
    Update { resource: Resource, target: Target, if_match: Option<String> },
    Delete { kind: Kind, target: Target },
    Get(Get),
}

/// Which resource is meant.
#[derive(Debug)]
pub(super) enum Target {
    Id(String),
    /// The one that matches.
    Match(Query),
}

/// A reading interaction.
#[derive(Debug)]
pub(super) enum Get {
    Read(Kind, String),
    Version(Kind, String, String),
    History(Kind, String),
    Search(Query),
}

/// An interaction as it is asked for, by HTTP or in `Bundle.entry.request`.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    /// The parts of the path: `["Patient", "1"]`.
    pub(super) path: &'a [&'a str],
    pub(super) query: Option<&'a str>,
    pub(super) if_none_exist: Option<&'a str>,
    pub(super) if_match: Option<&'a str>,
}

impl Place {
    /// Where the entry's resource stands.
    pub(super) fn resource(self, kind: &str) -> String {
        match self {
            Self::Request => kind.to_owned(),
            Self::Bundle(index) => format!("Bundle.entry[{index}].resource"),
        }
    }

    /// Where the entry says what is to be done; nothing for a request as a whole.
    pub(super) fn mark(self, refusal: Refusal, part: &str) -> Refusal {
        match self {
            Self::Request => refusal,
            Self::Bundle(index) => refusal.at(|| format!("Bundle.entry[{index}]{part}")),
        }
    }
}

impl Action {
    /// Reads what is asked for; `body` is the resource, where there is one.
    ///
    /// # Errors
    ///
    /// 400, 404 or 405, with what is wrong.
    pub(super) fn new(asked: &Asked<'_>, body: Option<Value>, place: Place) -> Result<Self, Refusal> {
        match (asked.method, asked.path, asked.query) {
            ("POST", [name], None | Some("")) => {
                let resource = resource(known(name)?, body, place)?;
                let unless = asked.if_none_exist.map(|text| Query::condition(resource.kind, bare(resource.kind, text)));
                Ok(Self::Create { resource, unless: unless.transpose()? })
            }
            ("PUT", [name, id], None) => {
                let (kind, id) = (known(name)?, checked(id)?);
                let resource = resource(kind, body, place)?;
                if resource.id() != Some(&id) {
                    let refusal = Refusal::invalid(format!("the resource's id must be `{id}`, as the URL says"));
                    return Err(refusal.at(|| format!("{}.id", place.resource(kind))));
                }
                Ok(Self::Update { resource, target: Target::Id(id), if_match: asked.if_match.map(str::to_owned) })
            }
            ("PUT", [name], Some(query)) => {
                let kind = known(name)?;
                let target = Target::Match(Query::condition(kind, query)?);
                let resource = resource(kind, body, place)?;
                Ok(Self::Update { resource, target, if_match: asked.if_match.map(str::to_owned) })
            }
            ("DELETE", [name, id], None) => Ok(Self::Delete { kind: known(name)?, target: Target::Id(checked(id)?) }),
            ("DELETE", [name], Some(query)) => {
                let kind = known(name)?;
                Ok(Self::Delete { kind, target: Target::Match(Query::condition(kind, query)?) })
            }
            ("GET", path, query) => Get::new(path, query).map(Self::Get),
            (method, path, _) => Err(unsupported(method, path)),
        }
    }

    /// The type of what it writes or deletes.
    pub(super) fn written(&self) -> Option<Kind> {
        match self {
            Self::Create { resource, .. } | Self::Update { resource, .. } => Some(resource.kind),
            Self::Delete { kind, .. } => Some(kind),
            Self::Get(_) => None,
        }
    }

    pub(super) fn resource(&self) -> Option<&Resource> {
        match self {
            Self::Create { resource, .. } | Self::Update { resource, .. } => Some(resource),
            Self::Delete { .. } | Self::Get(_) => None,
        }
    }

    pub(super) fn resource_mut(&mut self) -> Option<&mut Resource> {
        match self {
            Self::Create { resource, .. } | Self::Update { resource, .. } => Some(resource),
            Self::Delete { .. } | Self::Get(_) => None,
        }
    }
}

impl Get {
    /// # Errors
    ///
    /// 400, 404 or 405, with what is wrong.
    pub(super) fn new(path: &[&str], query: Option<&str>) -> Result<Self, Refusal> {
        match path {
            [name] => Ok(Self::Search(Query::new(known(name)?, query.unwrap_or_default())?)),
            [name, id] => Ok(Self::Read(known(name)?, checked(id)?)),
            [name, id, "_history"] => Ok(Self::History(known(name)?, checked(id)?)),
            [name, id, "_history", version] => Ok(Self::Version(known(name)?, checked(id)?, checked(version)?)),
            path => Err(unsupported("GET", path)),
        }
    }
}

impl Entry {
    /// Reads entry `index` of a transaction or batch Bundle.
    ///
    /// # Errors
    ///
    /// 400, 404 or 405, with what is wrong and where.
    pub(super) fn of_bundle(index: usize, entry: Value) -> Result<Self, Refusal> {
        let place = Place::Bundle(index);
        let Value::Object(mut entry) = entry else {
            return Err(place.mark(Refusal::invalid("an entry is a JSON object"), ""));
        };
        let (body, request) = (entry.remove("resource"), entry.remove("request"));
        let Some(Value::Object(request)) = request else {
            return Err(
                place.mark(Refusal::invalid("an entry of a transaction or batch has a request (bdl-3)"), ".request")
            );
        };
        let full_url = full_url(&entry, body.as_ref()).map_err(|refusal| place.mark(refusal, ".fullUrl"))?;
        let action = requested(&request, body, place).map_err(|refusal| place.mark(refusal, ".request"))?;
        Ok(Self { place, full_url, action })
    }
}

fn requested(request: &Map<String, Value>, body: Option<Value>, place: Place) -> Result<Action, Refusal> {
    let text = |key| request.get(key).and_then(Value::as_str);
    let (Some(method), Some(url)) = (text("method"), text("url")) else {
        return Err(Refusal::invalid("a request has a method and a url"));
    };
    let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
    if path.contains("://") || path.starts_with('/') {
        return Err(Refusal::invalid("the url is relative to the base, such as `Patient/1`"));
    }
    let path: Vec<&str> = path.split('/').collect();
    let asked = Asked { method, path: &path, query, if_none_exist: text("ifNoneExist"), if_match: text("ifMatch") };
    Action::new(&asked, body, place)
}

/// FHIR R4 Bundle bdl-8, and that a RESTful one ends with the resource's id.
fn full_url(entry: &Map<String, Value>, body: Option<&Value>) -> Result<Option<String>, Refusal> {
    let Some(url) = entry.get("fullUrl") else { return Ok(None) };
    let url = url.as_str().filter(|url| url.contains(':') && !url.contains("/_history/"));
    let url = url.ok_or_else(|| Refusal::invalid("a fullUrl is an absolute URL without a version (bdl-8)"))?;
    let id = body.and_then(|body| body.get("id")?.as_str());
    let is_restful = url.starts_with("http://") || url.starts_with("https://");
    match id {
        Some(id) if is_restful && url.rsplit('/').next() != Some(id) => {
            Err(Refusal::invalid("the fullUrl does not end with the resource's id"))
        }
        _ => Ok(Some(url.to_owned())),
    }
}

fn resource(kind: Kind, body: Option<Value>, place: Place) -> Result<Resource, Refusal> {
    let at = || place.resource(kind);
    let resource = Resource::new(body.ok_or_else(|| Refusal::invalid("there is no resource").at(at))?, at)?;
    if resource.kind != kind {
        let text = format!("the resource is of type {}, and the URL says {kind}", resource.kind);
        return Err(Refusal::invalid(text).at(|| format!("{}.resourceType", at())));
    }
    Ok(resource)
}

/// If-None-Exist with or without `Patient?` before it.
fn bare(kind: Kind, text: &str) -> &str {
    text.strip_prefix(kind).and_then(|text| text.strip_prefix('?')).unwrap_or_else(|| text.trim_start_matches('?'))
}

fn known(name: &str) -> Result<Kind, Refusal> {
    kind(name).ok_or_else(|| Refusal::not_found(format!("`{name}` is no resource type of FHIR R4")))
}

fn checked(id: &str) -> Result<String, Refusal> {
    if is_id(id) { Ok(id.to_owned()) } else { Err(Refusal::invalid("the id is not 1 to 64 of A-Z a-z 0-9 - .")) }
}

fn unsupported(method: &str, path: &[&str]) -> Refusal {
    let text = format!("{method} of `{}` is not supported here", path.join("/"));
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "not-supported", text)
}

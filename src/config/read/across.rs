//! What must hold between the files of a site: names that are used are there, addresses are used
//! once, and each destination gets what it can take.
//!
//! It works on the files' trees, so that a mistake in one place of a file hides none in another.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use super::consent;
use super::document::Document;
use super::files::{Files, Part};
use super::nearest;
use super::services;
use super::tree::{Node, Value};
use crate::config::consent::FixedConsent;

/// Reports what is wrong between `files`. Relative drop folders are within `data_dir`.
pub(in crate::config) fn across(files: &Files, fixed: &[FixedConsent], data_dir: &Path) {
    let providers = files.providers.as_ref().map(|document| keys(document.root())).unwrap_or_default();
    let destinations: Vec<_> = files.destinations.iter().map(|part| part.name.as_str()).collect();
    let policies: Vec<_> = files.policies.iter().flat_map(consent::names).collect();
    let for_all: Vec<_> =
        fixed.iter().filter(|consent| consent.patients.is_empty()).map(|consent| consent.name.as_str()).collect();
    let services = files.services.as_ref().map(services::names).unwrap_or_default();
    if let Some(document) = &files.providers {
        for entry in document.root().entries() {
            refers(document, entry.node.at(&["part_of"]), &providers, "provider");
        }
    }
    for part in &files.channels {
        refers(&part.document, part.document.root().at(&["provider"]), &providers, "provider");
        for node in routes(part).iter().filter_map(|route| route.at(&["to"])).chain(expected(part)) {
            node.elements().iter().for_each(|node| refers(&part.document, Some(node), &destinations, "destination"));
        }
        let consents = part.document.root().at(&["consents"]).map(Node::elements).unwrap_or_default();
        for node in consents {
            refers(&part.document, Some(node), &for_all, "fixed Consent for all of a feed");
        }
        flow(part, &files.destinations);
    }
    for part in &files.destinations {
        refers(&part.document, part.document.root().at(&["recipient"]), &providers, "provider");
        refers(&part.document, part.document.root().at(&["policy"]), &policies, "policy");
        refers(&part.document, part.document.root().at(&["consent_service"]), &services, "consent service");
        unused(part, &files.channels);
    }
    addresses(files);
    folders(files, data_dir);
}

fn keys(table: &Node) -> Vec<&str> {
    table.entries().iter().map(|entry| entry.key.as_str()).collect()
}

fn routes(part: &Part) -> &[Node] {
    part.document.root().at(&["route"]).map(Node::elements).unwrap_or_default()
}

fn expected(part: &Part) -> impl Iterator<Item = &Node> {
    let tests = part.document.root().at(&["test"]).map(Node::elements).unwrap_or_default();
    tests.iter().filter_map(|test| test.at(&["expect", "to"])).flat_map(Node::elements)
}

fn refers(document: &Document, node: Option<&Node>, known: &[&str], what: &str) {
    let Some((node, name)) = node.and_then(|node| Some((node, node.text()?))) else { return };
    if !known.contains(&name) {
        let shown = if node.is_filled() { String::new() } else { format!(" `{name}`") };
        document.error(node.span.clone(), format!("there is no {what}{shown}"), Some(nearest::help(name, known)));
    }
}

fn unused(part: &Part, channels: &[Part]) {
    let leads_here = |node: &Node| node.elements().iter().any(|to| to.text() == Some(&part.name));
    if is_disabled(part) || channels.iter().any(|part| part.document.is_broken()) {
        return;
    }
    let mut all = channels.iter().flat_map(routes).filter_map(|route| route.at(&["to"]));
    if !all.any(leads_here) {
        let help = format!("add a [[route]] with to = \"{}\" to a channel", part.name);
        part.document.warning(part.document.root().span.clone(), "no route leads to this destination", Some(help));
    }
}

/// The two kinds of content that flow through a site.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Hl7v2,
    Fhir,
}

/// Checks that each step and each destination gets what it can read.
fn flow(part: &Part, destinations: &[Part]) {
    let document = &part.document;
    let Some(original) = taken_in(document) else { return };
    let mut converted = original;
    let transforms = document.root().at(&["transform"]).map(Node::elements).unwrap_or_default();
    for transform in transforms {
        // A script reads both, and leaves FHIR as FHIR.
        if transform.at(&["script"]).is_some() && converted == Content::Fhir {
            continue;
        }
        if let Some(label) = transform.at(&["label"]) {
            if converted == Content::Hl7v2 {
                let help = "put it behind the [[transform]] with hl7v2-to-fhir".to_owned();
                document.warning(label.span.clone(), "HL7 v2 is not labelled: only FHIR is", Some(help));
            }
            continue;
        }
        // A step that is not understood, or a script over HL7 v2, may do anything.
        let Some(step) = transform.at(&["hl7v2-to-fhir"]) else { return };
        if converted == Content::Fhir {
            let help = "leave this [[transform]] out".to_owned();
            document.error(step.span.clone(), "what comes here is FHIR already", Some(help));
        }
        converted = Content::Fhir;
    }
    for route in routes(part) {
        let as_it_came = route.at(&["content"]).and_then(Node::text) == Some("original");
        let content = if as_it_came { original } else { converted };
        for to in route.at(&["to"]).map(Node::elements).unwrap_or_default() {
            let destination = destinations.iter().find(|destination| to.text() == Some(&destination.name));
            let takes = destination.and_then(|destination| taken_by(&destination.document));
            match (content, takes) {
                (Content::Fhir, Some(Content::Hl7v2)) => {
                    let help = "write content = \"original\" in this route, or leave the transform out".to_owned();
                    document.error(to.span.clone(), "FHIR cannot go to an MLLP destination", Some(help));
                }
                (Content::Hl7v2, Some(Content::Fhir)) => {
                    let help =
                        "convert it: [[transform]] with hl7v2-to-fhir = {}, and no content = \"original\"".to_owned();
                    document.error(to.span.clone(), "HL7 v2 cannot go to a FHIR destination", Some(help));
                }
                _ => {}
            }
        }
    }
}

/// What a channel takes in, where its kind or its `format` decides it.
fn taken_in(document: &Document) -> Option<Content> {
    let inbound = document.root().at(&["inbound"])?;
    match keys(inbound).as_slice() {
        ["mllp"] => Some(Content::Hl7v2),
        ["http"] => Some(Content::Fhir),
        ["file"] => match inbound.at(&["file", "format"])?.text()? {
            "hl7v2" => Some(Content::Hl7v2),
            "fhir" => Some(Content::Fhir),
            _ => None,
        },
        _ => None,
    }
}

/// What a destination can take, where not everything.
fn taken_by(document: &Document) -> Option<Content> {
    match keys(document.root().at(&["outbound"])?).as_slice() {
        ["mllp"] => Some(Content::Hl7v2),
        ["fhir"] => Some(Content::Fhir),
        _ => None,
    }
}

/// Every address is listened on once. A disabled channel does not count.
fn addresses(files: &Files) {
    let admin = files.engine.iter().filter_map(|document| Some((document, document.root().at(&["admin", "listen"])?)));
    let listening = enabled(&files.channels).flat_map(|part| {
        let kinds = part.document.root().at(&["inbound"]).map(Node::entries).unwrap_or_default();
        kinds.iter().filter_map(|kind| Some((&part.document, kind.node.at(&["listen"])?)))
    });
    let mut taken: Vec<(SocketAddr, &Path)> = Vec::new();
    for (document, node) in admin.chain(listening) {
        let Some(address) = node.text().and_then(|text| text.parse::<SocketAddr>().ok()) else { continue };
        if let Some((_, other)) = taken.iter().find(|(other, _)| collide(*other, address)) {
            let help = format!("give one of them another port; the other is in {}", other.display());
            document.error(node.span.clone(), format!("port {} is used twice", address.port()), Some(help));
        }
        taken.push((address, document.path()));
    }
}

/// True if one machine cannot listen on both. Port 0 is any free port.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same
}

/// No two channels take files from one folder.
fn folders(files: &Files, data_dir: &Path) {
    let mut taken: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    for part in enabled(&files.channels) {
        let Some(node) = part.document.root().at(&["inbound", "file", "folder"]) else { continue };
        let Some(folder) = node.text().map(|folder| tidy(&data_dir.join(folder))) else { continue };
        if let Some(other) = taken.get(&folder) {
            let help = format!("give each its own; the other is in {}", other.display());
            part.document.error(node.span.clone(), "two channels take files from this folder", Some(help));
        }
        taken.insert(folder, part.document.path());
    }
}

fn enabled(parts: &[Part]) -> impl Iterator<Item = &Part> {
    parts.iter().filter(|part| !is_disabled(part))
}

fn is_disabled(part: &Part) -> bool {
    part.document.root().at(&["enabled"]).is_some_and(|node| matches!(node.value, Value::Boolean(false)))
}

/// `path` without `.` and `..`, without looking at the disk: the folder may not be there yet.
fn tidy(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut tidy, component| {
        match component {
            Component::CurDir => {}
            Component::ParentDir if tidy.file_name().is_some() => {
                tidy.pop();
            }
            _ => tidy.push(component),
        }
        tidy
    })
}

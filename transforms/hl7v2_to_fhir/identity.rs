//! What makes a resource the same one in the next message: its business identifier, or a natural
//! key within what it belongs to; and from that its URL and its UUID.

use std::collections::HashMap;

use message::Sha256;
use serde_json::Value;
use uuid::Uuid;

use crate::r4::types;

use super::run::{Run, encoded};
use super::tree::{Key, NodeId, Reference, ResourceId, Tree};

/// How a resource is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// UUIDv5 of its key: the same for the same thing in every message.
    pub(super) uuid: Uuid,
    /// `Patient?identifier=…` or `Patient/<uuid>`.
    pub(super) url: String,
    /// True if the URL is a search, so that the server gives the id.
    pub(super) conditional: bool,
}

/// The identities of all resources of a message.
pub(super) struct Identities {
    /// By resource; `None` for one that is empty or merged into another.
    pub(super) identities: Vec<Option<Identity>>,
    /// The resource that stands for each: itself, or the one it was merged into.
    pub(super) redirects: Vec<ResourceId>,
}

/// Types of which the same identifier or the same natural key means the same thing twice.
const MERGED: [&str; 6] = ["Practitioner", "PractitionerRole", "Organization", "Location", "Device", "RelatedPerson"];

/// Types of which the same identifier means the same thing twice.
const ONE_NUMBER: [&str; 4] = ["Patient", "Encounter", "Account", "Specimen"];

/// Types of which an identifier alone finds one resource.
const BY_IDENTIFIER: [&str; 17] = [
    "Patient",
    "Encounter",
    "Practitioner",
    "Organization",
    "Device",
    "Account",
    "Specimen",
    "ServiceRequest",
    "DiagnosticReport",
    "Condition",
    "Procedure",
    "Observation",
    "Immunization",
    "MedicationRequest",
    "Appointment",
    "DocumentReference",
    "EpisodeOfCare",
];

/// Types of which one number can be on several resources, told apart by their code.
const WITH_CODE: [&str; 2] = ["ServiceRequest", "DiagnosticReport"];

struct Reader<'r, 'a> {
    run: &'r mut Run<'a>,
    found: Vec<Option<Found>>,
    message_key: String,
    /// Of all UUIDs of the provider.
    namespace: Uuid,
}

/// What a resource is the same by.
#[derive(Clone)]
struct Found {
    uuid: Uuid,
    /// The search that finds it.
    search: Option<String>,
}

/// Finds the identities of all resources, and merges those that are the same.
pub(super) fn of(run: &mut Run<'_>) -> Identities {
    let count = run.tree.resources.len();
    for number in 0..count {
        complete_systems(run, resource_id(number));
    }
    let message_key = message_key(run);
    let site = Uuid::new_v5(&Uuid::NAMESPACE_URL, run.context.base_uri.as_bytes());
    let namespace = Uuid::new_v5(&site, run.context.provider.key.as_bytes());
    let mut reader = Reader { run, found: vec![None; count], message_key, namespace };
    let mut out = Identities { identities: vec![None; count], redirects: (0..count).map(resource_id).collect() };
    let mut seen: HashMap<Uuid, (ResourceId, usize)> = HashMap::with_capacity(count);
    for number in 0..count {
        let id = resource_id(number);
        let Some(root) = reader.root(id).filter(|root| !reader.run.tree.is_empty(*root)) else { continue };
        let found = reader.find(id, 0);
        let kind = reader.run.kind_name(id);
        let (first, times) = seen.entry(found.uuid).and_modify(|(_, times)| *times += 1).or_insert((id, 1));
        let is_one = MERGED.contains(&kind) || (found.search.is_some() && ONE_NUMBER.contains(&kind));
        if *times > 1 && is_one {
            reader.merge(*first, id, root, &mut out.redirects);
        } else if let Some(slot) = out.identities.get_mut(number) {
            *slot = Some(identity(kind, found, *times));
        }
    }
    out
}

/// The identity of the `times`th resource that is the same by `found`.
fn identity(kind: &str, found: Found, times: usize) -> Identity {
    match found.search.filter(|_| times == 1) {
        Some(url) => Identity { uuid: found.uuid, url, conditional: true },
        None => {
            let again = || Uuid::new_v5(&found.uuid, times.to_string().as_bytes());
            let uuid = if times == 1 { found.uuid } else { again() };
            Identity { uuid, url: format!("{kind}/{uuid}"), conditional: false }
        }
    }
}

fn resource_id(number: usize) -> ResourceId {
    ResourceId(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Sender, type and content: what makes this message this message. Sent again under another control id, it is the same.
fn message_key(run: &Run<'_>) -> String {
    let Some(header) = run.source.segments.first().copied() else { return String::new() };
    let [application, facility, kind] = [3, 4, 9].map(|number| run.source.field(header, number));
    let content = Sha256::of(run.source.body().as_bytes()).to_string();
    [application, facility, kind, &content].join("\u{1f}")
}

/// Numbers without an assigning authority are the sender's own: their system is made from the
/// provider and the kind of thing, so that they find it again and meet no other sender's.
fn complete_systems(run: &mut Run<'_>, id: ResourceId) {
    let kind = run.kind_name(id);
    if !BY_IDENTIFIER.contains(&kind) {
        return;
    }
    let Some(root) = run.tree.get(id).map(|r| r.root) else { return };
    let Some(identifier) = types().id("Identifier") else { return };
    for (_, node) in run.tree.all_named(root, "identifier") {
        if run.tree.text(node, "value").is_none() || run.tree.text(node, "system").is_some() {
            continue;
        }
        let name = match identifier_type(&run.tree, node) {
            Some(code) => format!("{}-{}", kind.to_ascii_lowercase(), code.to_ascii_lowercase()),
            None => kind.to_ascii_lowercase(),
        };
        let system = run.systems.own("ns", &name);
        run.tree.overwrite(node, identifier, "system", Value::String(system));
    }
}

fn identifier_type(tree: &Tree, identifier: NodeId) -> Option<&str> {
    let coding = tree.named(tree.named(identifier, "type")?, "coding")?;
    tree.text(coding, "code")
}

impl Reader<'_, '_> {
    fn root(&self, id: ResourceId) -> Option<NodeId> {
        self.run.tree.get(id).map(|r| r.root)
    }

    /// Puts the resource `id` with `root` into `first`, which is the same.
    fn merge(&mut self, first: ResourceId, id: ResourceId, root: NodeId, redirects: &mut [ResourceId]) {
        if let Some(slot) = redirects.get_mut(id.0 as usize) {
            *slot = first;
        }
        let Some(into) = self.root(first) else { return };
        self.run.tree.merge(into, root, redirects);
        if self.run.kind_name(first) == "Patient" {
            // Merged into itself: the message names one number twice.
            self.run.tree.clear(into, "link");
        }
    }

    /// The identifier that finds the resource: the best by its type, in the order of the message.
    fn identifier(&self, id: ResourceId) -> Option<(String, String)> {
        let kind = self.run.kind_name(id);
        let root = self.root(id)?;
        let tree = &self.run.tree;
        let mut all = tree.all_named(root, "identifier");
        if let Some(master) = tree.named(root, "masterIdentifier") {
            all.insert(0, (Key::default(), master));
        }
        let complete = all.into_iter().filter_map(|(key, node)| {
            let system = tree.text(node, "system")?.to_owned();
            let value = tree.text(node, "value").filter(|value| !value.trim().is_empty())?.to_owned();
            Some((rank(kind, identifier_type(tree, node), key.label), system, value))
        });
        complete.min_by_key(|(rank, ..)| *rank).map(|(_, system, value)| (system, value))
    }

    /// `system|code` of the first coding, or the text.
    fn code(&self, id: ResourceId) -> Option<String> {
        let tree = &self.run.tree;
        let code = tree.named(self.root(id)?, "code")?;
        tree.named(code, "coding").and_then(|coding| {
            let code = tree.text(coding, "code")?;
            Some(tree.text(coding, "system").map_or(code.to_owned(), |system| format!("{system}|{code}")))
        })
    }

    /// What a resource is the same by, within its provider.
    fn find(&mut self, id: ResourceId, depth: usize) -> Found {
        let number = id.0 as usize;
        if let Some(Some(found)) = self.found.get(number) {
            return found.clone();
        }
        let kind = self.run.kind_name(id);
        let number_of = self.identifier(id).filter(|_| BY_IDENTIFIER.contains(&kind));
        let (key, search) = match number_of {
            Some((system, value)) => {
                let code = self.code(id).filter(|_| WITH_CODE.contains(&kind)).unwrap_or_default();
                (joined(&[kind, &system, &value, &code]), Some(search(kind, (&system, &value), &code)))
            }
            // Deeper than any chain of our tables: a resource that hangs on itself.
            None if depth > 8 => (String::new(), None),
            None => (self.natural_key(id, depth), None),
        };
        let found = Found { uuid: Uuid::new_v5(&self.namespace, key.as_bytes()), search };
        if let Some(slot) = self.found.get_mut(number) {
            *slot = Some(found.clone());
        }
        found
    }

    /// The UUID of a resource that another hangs on, as text.
    fn uuid_of(&mut self, id: Option<ResourceId>, depth: usize) -> String {
        id.map_or_else(String::new, |id| self.find(id, depth + 1).uuid.simple().to_string())
    }

    fn natural_key(&mut self, id: ResourceId, depth: usize) -> String {
        let kind = self.run.kind_name(id);
        let code = self.code_or_text(id);
        let patient = self.of_patient(id, depth);
        let own = match kind {
            "Observation" => {
                let context = self.of_context(id, depth);
                let [sub_id, effective] = [self.sub_id(id), self.text(id, &["effectiveDateTime"])];
                return joined(&[kind, &patient, &context, &code, &sub_id, &effective]);
            }
            "Location" => return self.location_key(id, depth),
            "Organization" => self.text(id, &["name"]),
            "Practitioner" => self.name(id),
            "PractitionerRole" => {
                let members = ["practitioner", "organization"].map(|name| self.referred(id, name, depth));
                return joined(&[
                    kind,
                    &members.join("\u{1f}"),
                    &code,
                    &self.text(id, &["specialty", "coding", "code"]),
                ]);
            }
            "RelatedPerson" => {
                [self.any_identifier(id), self.name(id), self.text(id, &["relationship", "coding", "code"])]
                    .join("\u{1f}")
            }
            "Condition" | "Procedure" | "AllergyIntolerance" if !code.is_empty() => {
                let when = self.text(id, &["performedDateTime"]);
                let visit = if kind == "AllergyIntolerance" { String::new() } else { self.of_context(id, depth) };
                joined(&[&code, &visit, &when])
            }
            "Coverage" => {
                [self.any_identifier(id), self.text(id, &["subscriberId"]), self.text(id, &["order"])].join("\u{1f}")
            }
            "Encounter" => self.text(id, &["period", "start"]),
            "Specimen" => joined(&[&self.of_context(id, depth), "specimen"]),
            "CareTeam" | "Account" | "Medication" => code,
            _ => String::new(),
        };
        // With nothing of its own it is this message's, by its place among its kind.
        let scope = if own.trim_matches('\u{1f}').is_empty() { self.message_key.clone() } else { patient };
        joined(&[kind, &scope, &own])
    }

    fn location_key(&mut self, id: ResourceId, depth: usize) -> String {
        let outer = self.referred(id, "partOf", depth);
        let parts = [self.any_identifier(id), self.text(id, &["name"]), self.text(id, &["description"])];
        joined(&["Location", &parts.join("\u{1f}"), &outer])
    }

    fn any_identifier(&self, id: ResourceId) -> String {
        let Some(root) = self.root(id) else { return String::new() };
        let tree = &self.run.tree;
        let values = tree.all_named(root, "identifier").into_iter().filter_map(|(_, node)| tree.text(node, "value"));
        values.collect::<Vec<_>>().join("\u{1e}")
    }

    fn code_or_text(&self, id: ResourceId) -> String {
        let text = || {
            ["text", "display"].into_iter().find_map(|leaf| {
                let found = if leaf == "text" {
                    self.text(id, &["code", "text"])
                } else {
                    self.text(id, &["code", "coding", "display"])
                };
                Some(found).filter(|text| !text.is_empty())
            })
        };
        self.code(id).or_else(text).unwrap_or_default()
    }

    fn name(&self, id: ResourceId) -> String {
        ["family", "given", "text"].map(|part| self.text(id, &["name", part])).join("\u{1f}")
    }

    fn sub_id(&self, id: ResourceId) -> String {
        let Some(root) = self.root(id) else { return String::new() };
        let tree = &self.run.tree;
        let is_sub_id = |(_, node): &(Key, NodeId)| {
            tree.text(*node, "url").is_some_and(|url| url.ends_with("observation-v2-subid"))
        };
        let Some((_, node)) = tree.all_named(root, "extension").into_iter().find(is_sub_id) else {
            return String::new();
        };
        let parts = tree.all_named(node, "extension").into_iter().filter_map(|(_, part)| {
            let value =
                ["valueString", "valueDecimal"].into_iter().find_map(|name| tree.value(tree.named(part, name)?));
            value.map(ToString::to_string)
        });
        parts.collect::<Vec<_>>().join("\u{1e}")
    }

    /// The text at the end of `path`, first members of lists; empty where nothing stands.
    fn text(&self, id: ResourceId, path: &[&str]) -> String {
        let tree = &self.run.tree;
        let node = path.iter().try_fold(self.root(id), |node, name| Some(node.and_then(|node| tree.named(node, name))));
        let value = node.flatten().and_then(|node| tree.value(node));
        value.and_then(|value| value.as_str()).unwrap_or_default().to_owned()
    }

    fn referred(&mut self, id: ResourceId, name: &str, depth: usize) -> String {
        let tree = &self.run.tree;
        let to = self.root(id).and_then(|root| tree.named(root, name)).and_then(|node| tree.reference(node));
        self.uuid_of(to, depth)
    }

    fn of_patient(&mut self, id: ResourceId, depth: usize) -> String {
        let patient = self.run.tree.get(id).and_then(|r| r.patient).filter(|patient| *patient != id);
        self.uuid_of(patient, depth)
    }

    fn of_context(&mut self, id: ResourceId, depth: usize) -> String {
        let context = self.run.tree.get(id).and_then(|r| r.context).filter(|context| *context != id);
        self.uuid_of(context, depth)
    }
}

/// `Patient?identifier=system%7Cvalue`, with the code where the number alone does not do.
fn search(kind: &str, (system, value): (&str, &str), code: &str) -> String {
    let mut url = format!("{kind}?identifier={}%7C{}", encoded(system), encoded(value));
    if !code.is_empty() {
        url.push_str("&code=");
        url.push_str(&encoded(code));
    }
    url
}

/// Which of several identifiers finds the resource; lower is better.
fn rank(kind: &str, code: Option<&str>, label: u16) -> u16 {
    let code = code.unwrap_or_default();
    match kind {
        // `identifier[2]` is PID-3 (and MRG-1), which v2.3.1 and later put before PID-2 and PID-4.
        "Patient" => {
            let by_type = match code {
                "MR" => 0,
                "PI" => 1,
                "PT" | "EPI" | "AN" => 2,
                "SS" | "DL" | "SB" | "PPN" | "HC" | "MC" | "MA" => 8,
                _ => 4,
            };
            by_type * 2 + u16::from(label != 2)
        }
        "Encounter" => u16::from(code != "VN"),
        "DiagnosticReport" | "Specimen" => u16::from(!matches!(code, "FILL" | "FGN")),
        "ServiceRequest" | "MedicationRequest" => u16::from(code != "PLAC"),
        "Practitioner" => u16::from(code != "NPI"),
        _ => 0,
    }
}

fn joined(parts: &[&str]) -> String {
    parts.join("\u{1f}")
}

/// The reference to each resource: to the entry of what it was merged into, or none for an empty one.
pub(super) fn references(run: &Run<'_>, identities: &Identities) -> Vec<Option<Reference>> {
    let of = |number: usize| {
        let target = identities.redirects.get(number).copied().unwrap_or(resource_id(number));
        let identity = identities.identities.get(target.0 as usize).and_then(Option::as_ref);
        identity.map(|identity| Reference::Entry(format!("urn:uuid:{}", identity.uuid)))
    };
    (0..run.tree.resources.len()).map(of).collect()
}

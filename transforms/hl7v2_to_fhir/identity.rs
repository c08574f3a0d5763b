//! What makes a resource the same one in the next message: its business identifier, or a natural
//! key within what it belongs to; and from that its URL and its UUID.

use message::fhir::uuid_v5;
use message::json::Text;
use message::{Context, Sha256};
use uuid::Uuid;

use super::hashed::{Hashed, Hasher};
use super::known::{KnownKind, known};
use super::run::{Run, push_encoded};
use super::tree::{Grafted, Key, NodeId, Reference, ResourceId, Tree};

mod shared;

/// How a resource is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// UUIDv5 of its key: the same for the same thing in every message.
    pub(super) uuid: Uuid,
    /// `urn:uuid:<uuid>`.
    pub(super) full_url: Text,
    /// `Patient?identifier=…` or `Patient/<uuid>`.
    pub(super) url: Text,
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

struct Reader<'r, 'a> {
    run: &'r mut Run<'a>,
    found: Vec<Option<Found>>,
    /// The resource that stands for each.
    redirects: Vec<ResourceId>,
    message_key: String,
    /// Of all UUIDs of the provider.
    namespace: Uuid,
}

/// What a resource is the same by.
#[derive(Clone)]
pub(super) struct Found {
    uuid: Uuid,
    /// True if that is its number.
    has_number: bool,
    /// The search that finds it, where the server may have it under an id of its own.
    search: Option<Text>,
}

/// Finds the identities of all resources, and merges those that are the same.
pub(super) fn of(run: &mut Run<'_>) -> Identities {
    let count = run.tree.resources.len();
    for number in 0..count {
        let id = resource_id(number);
        let kept = run.tree.unchanged(id);
        complete_systems(run, id);
        // What is completed is made of what is kept, and so as good as that.
        kept.into_iter().for_each(|kept| run.tree.accept(kept));
    }
    let redirects = shared::merge(run);
    let message_key = message_key(run);
    let namespace = run.tree.kept.as_ref().map_or_else(|| namespace(run.context), |kept| kept.namespace);
    let mut reader = Reader { run, found: vec![None; count], redirects, message_key, namespace };
    let mut identities = vec![None; count];
    let mut seen: Hashed<Uuid, (ResourceId, usize)> = Hashed::with_capacity_and_hasher(count, Hasher::default());
    let mut url = String::with_capacity(64);
    for number in 0..count {
        let id = resource_id(number);
        if reader.redirects.get(number) != Some(&id) {
            continue;
        }
        let Some(root) = reader.root(id).filter(|root| !reader.run.tree.is_empty(*root)) else { continue };
        let found = reader.find(id, 0);
        let kind = reader.run.kind(id);
        let (first, times) = seen.entry(found.uuid).and_modify(|(_, times)| *times += 1).or_insert((id, 1));
        let is_one = kind.is_merged || (found.has_number && kind.is_one_number);
        if *times > 1 && is_one {
            reader.merge(*first, id, root);
        } else if let Some(slot) = identities.get_mut(number) {
            *slot = Some(identity(kind.name, found, *times, &mut url));
        }
    }
    let mut redirects = reader.redirects;
    follow(&mut redirects);
    Identities { identities, redirects }
}

/// The namespace of all UUIDs of a provider.
pub(super) fn namespace(context: &Context) -> Uuid {
    let site = uuid_v5(Uuid::NAMESPACE_URL, context.base_uri.as_bytes());
    uuid_v5(site, context.provider.key.as_bytes())
}

/// Makes every redirect lead to the last one of its chain: each leads to a resource before it.
fn follow(redirects: &mut [ResourceId]) {
    for number in 0..redirects.len() {
        let last = redirects.get(number).and_then(|to| redirects.get(to.0 as usize)).copied();
        if let (Some(slot), Some(last)) = (redirects.get_mut(number), last) {
            *slot = last;
        }
    }
}

/// The identity of the `times`th resource that is the same by `found`; its URL is written by way of `own`.
fn identity(kind: &str, found: Found, times: usize, own: &mut String) -> Identity {
    match found.search.filter(|_| times == 1) {
        Some(url) => Identity { uuid: found.uuid, full_url: urn(found.uuid), url, conditional: true },
        None => {
            let again = || uuid_v5(found.uuid, times.to_string().as_bytes());
            let uuid = if times == 1 { found.uuid } else { again() };
            own.clear();
            for part in [kind, "/", uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer())] {
                own.push_str(part);
            }
            Identity { uuid, full_url: urn(uuid), url: Text::new(own), conditional: false }
        }
    }
}

fn urn(uuid: Uuid) -> Text {
    Text::new(uuid.urn().encode_lower(&mut Uuid::encode_buffer()))
}

fn resource_id(number: usize) -> ResourceId {
    ResourceId(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Sender, type and content: what makes this message this message. Sent again under another control id, it is the same.
fn message_key(run: &Run<'_>) -> String {
    let Some(header) = run.source.segments.first().copied() else { return String::new() };
    let [application, facility, kind] = [3, 4, 9].map(|number| run.source.field(header, number));
    let content = Sha256::of(run.source.body().as_bytes()).to_string();
    joined(&[application, facility, kind, &content])
}

/// Numbers without an assigning authority are the sender's own: their system is made from the
/// provider and the kind of thing, so that they find it again and meet no other sender's.
fn complete_systems(run: &mut Run<'_>, id: ResourceId) {
    let kind = run.kind(id);
    if !kind.is_by_identifier {
        return;
    }
    let Some(root) = run.tree.get(id).map(|r| r.root) else { return };
    for (_, node) in run.tree.all_named(root, "identifier") {
        if run.tree.text(node, "value").is_none() || run.tree.text(node, "system").is_some() {
            continue;
        }
        let name = match identifier_type(&run.tree, node) {
            Some(code) => format!("{}-{}", kind.name.to_ascii_lowercase(), code.to_ascii_lowercase()),
            None => kind.name.to_ascii_lowercase(),
        };
        let system = run.systems.own("ns", &name);
        run.tree.overwrite(node, known().identifier_system, system);
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
    fn merge(&mut self, first: ResourceId, id: ResourceId, root: NodeId) {
        if let Some(slot) = self.redirects.get_mut(id.0 as usize) {
            *slot = first;
        }
        let Some(into) = self.root(first) else { return };
        self.run.tree.merge(into, root, &self.redirects);
        if self.run.kind_name(first) == "Patient" {
            // Merged into itself: the message names one number twice.
            self.run.tree.clear(into, "link");
        }
    }

    /// The identifier that finds the resource: the best by its type, in the order of the message.
    fn identifier(&self, id: ResourceId) -> Option<(&str, &str)> {
        let kind = self.run.kind_name(id);
        let root = self.root(id)?;
        let tree = &self.run.tree;
        let mut all = tree.all_named(root, "identifier");
        if let Some(master) = tree.named(root, "masterIdentifier") {
            all.insert(0, (Key::default(), master));
        }
        let complete = all.into_iter().filter_map(|(key, node)| {
            let system = tree.text(node, "system")?;
            let value = tree.text(node, "value").filter(|value| !value.trim().is_empty())?;
            Some((rank(kind, identifier_type(tree, node), key.label), system, value))
        });
        complete.min_by_key(|(rank, ..)| *rank).map(|(_, system, value)| (system, value))
    }

    /// System and code of the first coding.
    fn code(&self, id: ResourceId) -> Option<(Option<&str>, &str)> {
        let tree = &self.run.tree;
        let coding = tree.named(tree.named(self.root(id)?, "code")?, "coding")?;
        Some((tree.text(coding, "system"), tree.text(coding, "code")?))
    }

    /// What a resource is the same by, within its provider.
    fn find(&mut self, id: ResourceId, depth: usize) -> Found {
        let id = self.redirects.get(id.0 as usize).copied().unwrap_or(id);
        let number = id.0 as usize;
        if let Some(Some(found)) = self.found.get(number) {
            return found.clone();
        }
        let kept = self.run.tree.unchanged(id);
        if let Some(found) = kept.and_then(|kept| self.known(id, kept, depth)) {
            if let Some(slot) = self.found.get_mut(number) {
                *slot = Some(found.clone());
            }
            return found;
        }
        let kind = self.run.kind(id);
        let number_of = if kind.is_by_identifier { self.identifier(id) } else { None };
        let has_number = number_of.is_some();
        let (key, search) = match number_of {
            Some((system, value)) => {
                let search = kind.is_searched.then(|| search(kind.name, (system, value)));
                (self.number_key(kind, id, (system, value)), search)
            }
            // Deeper than any chain of our tables: a resource that hangs on itself.
            None if depth > 8 => (String::new(), None),
            None => (self.natural_key(id, depth), None),
        };
        let found = Found { uuid: uuid_v5(self.namespace, key.as_bytes()), has_number, search };
        if let Some(kept) = kept {
            self.keep(id, kept, &key, &found, depth);
        }
        if let Some(slot) = self.found.get_mut(number) {
            *slot = Some(found.clone());
        }
        found
    }

    /// What was found before of a resource that is made of `kept`, if it hangs on the same.
    fn known(&mut self, id: ResourceId, kept: Grafted, depth: usize) -> Option<Found> {
        let (hung, found) = self.run.tree.kept.as_ref()?.known(kept)?.found.clone()?;
        let hangs = if found.has_number { [None, None] } else { self.hangs_on(self.run.kind_name(id), id, depth) };
        (hangs == hung).then_some(found)
    }

    /// Keeps what was found, if it hangs on nothing else of the message.
    fn keep(&mut self, id: ResourceId, kept: Grafted, key: &str, found: &Found, depth: usize) {
        let is_of_patient = self.run.tree.get(id).is_none_or(|made| made.patient.is_some() || made.context.is_some());
        if is_of_patient || depth > 8 || key.contains(self.message_key.as_str()) {
            return;
        }
        let hangs = if found.has_number { [None, None] } else { self.hangs_on(self.run.kind_name(id), id, depth) };
        if let Some(known) = self.run.tree.kept.as_mut().and_then(|all| all.known_mut(kept)) {
            known.found = Some((hangs, found.clone()));
        }
    }

    /// The key of what has a number: with its code, and a result's sub-id, where one number can be on several.
    fn number_key(&self, kind: KnownKind, id: ResourceId, (system, value): (&str, &str)) -> String {
        let mut key = KeyText::default();
        key.add(kind.name).add(system).add(value).begin();
        push_code(&mut key.0, self.code(id).filter(|_| kind.is_with_code));
        if kind.name == "Observation" {
            key.add_sub_id(self, id);
        }
        key.0
    }

    /// The UUID of a resource that another hangs on.
    fn uuid_of(&mut self, id: Option<ResourceId>, depth: usize) -> Option<Uuid> {
        id.map(|id| self.find(id, depth + 1).uuid)
    }

    fn natural_key(&mut self, id: ResourceId, depth: usize) -> String {
        let kind = self.run.kind_name(id);
        // What it hangs on comes first: it is looked up and kept.
        let patient = self.of_patient(id, depth);
        let [first, second] = self.hangs_on(kind, id, depth);
        let mut own = KeyText::default();
        match kind {
            "Observation" => {
                let mut key = KeyText::default();
                key.add(kind).add_uuid(patient).add_uuid(first).add_code(self, id).add_sub_id(self, id);
                key.add(self.text(id, &["effectiveDateTime"]));
                return key.0;
            }
            "Location" => {
                let mut key = KeyText::default();
                key.add(kind).add_identifiers(self, id).add(self.text(id, &["name"]));
                key.add(self.text(id, &["description"])).add_uuid(first);
                return key.0;
            }
            "ServiceRequest" | "DiagnosticReport" if self.has_code_or_text(id) && self.has_time_or_visit(id) => {
                own.add_code(self, id).add_uuid(first);
                ["occurrenceDateTime", "effectiveDateTime", "authoredOn"]
                    .into_iter()
                    .fold(&mut own, |key, time| key.add(self.text(id, &[time])))
            }
            "Organization" => own.add(self.text(id, &["name"])),
            "ChargeItemDefinition" => own.add(self.text(id, &["url"])),
            "Practitioner" => own.add_name(self, id),
            // A role of nobody is this message's, and no other role: its code tells no two apart.
            "PractitionerRole" if first.is_none() && second.is_none() => {
                let mut key = KeyText::default();
                key.add(kind).add(&self.message_key).add(&id.0.to_string());
                return key.0;
            }
            "PractitionerRole" => {
                let mut key = KeyText::default();
                key.add(kind).add_uuid(first).add_uuid(second).add_code(self, id);
                key.add(self.text(id, &["specialty", "coding", "code"]));
                return key.0;
            }
            "RelatedPerson" => {
                own.add_identifiers(self, id).add_name(self, id).add(self.text(id, &["relationship", "coding", "code"]))
            }
            "Condition" | "Procedure" | "AllergyIntolerance" if self.has_code_or_text(id) => {
                own.add_code(self, id).add_uuid(first).add(self.text(id, &["performedDateTime"]))
            }
            "Coverage" => {
                own.add_identifiers(self, id).add(self.text(id, &["subscriberId"])).add(self.text(id, &["order"]))
            }
            "Encounter" => own.add(self.text(id, &["period", "start"])),
            "Specimen" => own.add_uuid(first).add("specimen"),
            "CareTeam" | "Account" => own.add_code(self, id),
            "Medication" => own.add_code(self, id).add_composition(self, id),
            _ => &mut own,
        };
        let mut key = KeyText::default();
        // With nothing of its own it is this message's, by its place among its kind.
        if own.0.trim_matches(SEPARATOR).is_empty() {
            key.add(kind).add(&self.message_key);
        } else {
            key.add(kind).add_uuid(patient);
        }
        key.add(&own.0);
        key.0
    }

    /// What a resource of type `kind` without a number hangs on, besides its patient.
    fn hangs_on(&mut self, kind: &str, id: ResourceId, depth: usize) -> [Option<Uuid>; 2] {
        match kind {
            "Observation" | "Condition" | "Procedure" | "Specimen" => [self.of_context(id, depth), None],
            "ServiceRequest" | "DiagnosticReport" => [self.referred(id, "encounter", depth), None],
            "Location" => [self.referred(id, "partOf", depth), None],
            "PractitionerRole" => ["practitioner", "organization"].map(|name| self.referred(id, name, depth)),
            _ => [None, None],
        }
    }

    /// True if an order or a report says when it is, or in which visit: its code alone tells no two apart.
    fn has_time_or_visit(&self, id: ResourceId) -> bool {
        let has = |name: &&str| self.root(id).is_some_and(|root| self.run.tree.named(root, name).is_some());
        ["occurrenceDateTime", "effectiveDateTime", "encounter"].iter().any(has)
    }

    fn has_code_or_text(&self, id: ResourceId) -> bool {
        self.code(id).is_some() || !self.code_text(id).is_empty()
    }

    /// The text of `code`, or the display of its first coding.
    fn code_text(&self, id: ResourceId) -> &str {
        let text = self.text(id, &["code", "text"]);
        if text.is_empty() { self.text(id, &["code", "coding", "display"]) } else { text }
    }

    /// The text at the end of `path`, first members of lists; empty where nothing stands.
    fn text(&self, id: ResourceId, path: &[&str]) -> &str {
        let tree = &self.run.tree;
        let node = self.root(id).and_then(|root| path.iter().try_fold(root, |node, name| tree.named(node, name)));
        node.and_then(|node| tree.value(node)).and_then(|value| value.as_str()).unwrap_or_default()
    }

    fn referred(&mut self, id: ResourceId, name: &str, depth: usize) -> Option<Uuid> {
        let tree = &self.run.tree;
        let to = self.root(id).and_then(|root| tree.named(root, name)).and_then(|node| tree.reference(node));
        self.uuid_of(to, depth)
    }

    fn of_patient(&mut self, id: ResourceId, depth: usize) -> Option<Uuid> {
        let patient = self.run.tree.get(id).and_then(|r| r.patient).filter(|patient| *patient != id);
        self.uuid_of(patient, depth)
    }

    fn of_context(&mut self, id: ResourceId, depth: usize) -> Option<Uuid> {
        let context = self.run.tree.get(id).and_then(|r| r.context).filter(|context| *context != id);
        self.uuid_of(context, depth)
    }
}

/// Between the parts of a key.
const SEPARATOR: char = '\u{1f}';

/// A key on its way: parts with a separator between each two.
#[derive(Default)]
struct KeyText(String, bool);

impl KeyText {
    fn begin(&mut self) {
        if std::mem::replace(&mut self.1, true) {
            self.0.push(SEPARATOR);
        } else {
            self.0.reserve(128);
        }
    }

    fn add(&mut self, part: &str) -> &mut Self {
        self.begin();
        self.0.push_str(part);
        self
    }

    fn add_uuid(&mut self, uuid: Option<Uuid>) -> &mut Self {
        self.begin();
        if let Some(uuid) = uuid {
            self.0.push_str(uuid.simple().encode_lower(&mut Uuid::encode_buffer()));
        }
        self
    }

    /// The first coding of `code`, or its text.
    fn add_code(&mut self, reader: &Reader<'_, '_>, id: ResourceId) -> &mut Self {
        self.begin();
        let code = reader.code(id);
        if code.is_none() {
            self.0.push_str(reader.code_text(id));
        }
        push_code(&mut self.0, code);
        self
    }

    fn add_name(&mut self, reader: &Reader<'_, '_>, id: ResourceId) -> &mut Self {
        ["family", "given", "text"].into_iter().fold(self, |key, part| key.add(reader.text(id, &["name", part])))
    }

    /// The values of all identifiers.
    fn add_identifiers(&mut self, reader: &Reader<'_, '_>, id: ResourceId) -> &mut Self {
        self.begin();
        let tree = &reader.run.tree;
        let all = reader.root(id).map(|root| tree.all_named(root, "identifier")).unwrap_or_default();
        let values = all.into_iter().filter_map(|(_, node)| tree.text(node, "value"));
        self.add_listed(values)
    }

    /// What tells one medication of a code from another: its lot and its ingredients.
    fn add_composition(&mut self, reader: &Reader<'_, '_>, id: ResourceId) -> &mut Self {
        let lot = reader.text(id, &["batch", "lotNumber"]);
        let tree = &reader.run.tree;
        let all = reader.root(id).map(|root| tree.all_named(root, "ingredient")).unwrap_or_default();
        let coding = |node| tree.named(tree.named(node, "itemCodeableConcept")?, "coding");
        let said = |(_, node)| {
            let coding = coding(node)?;
            tree.text(coding, "code").or_else(|| tree.text(coding, "display"))
        };
        let parts: Vec<&str> = all.into_iter().filter_map(said).collect();
        if !(lot.is_empty() && parts.is_empty()) {
            self.add(lot).begin();
            self.add_listed(parts.into_iter());
        }
        self
    }

    /// The parts of OBX-4.
    fn add_sub_id(&mut self, reader: &Reader<'_, '_>, id: ResourceId) -> &mut Self {
        self.begin();
        let tree = &reader.run.tree;
        let is_sub_id = |(_, node): &(Key, NodeId)| {
            tree.text(*node, "url").is_some_and(|url| url.ends_with("observation-v2-subid"))
        };
        let all = reader.root(id).map(|root| tree.all_named(root, "extension")).unwrap_or_default();
        let Some((_, node)) = all.into_iter().find(is_sub_id) else { return self };
        let parts = tree.all_named(node, "extension").into_iter().filter_map(|(_, part)| {
            let value =
                ["valueString", "valueDecimal"].into_iter().find_map(|name| tree.value(tree.named(part, name)?));
            value.map(ToString::to_string)
        });
        self.add_listed(parts)
    }

    fn add_listed<T: AsRef<str>>(&mut self, parts: impl Iterator<Item = T>) -> &mut Self {
        for (i, part) in parts.enumerate() {
            if i > 0 {
                self.0.push('\u{1e}');
            }
            self.0.push_str(part.as_ref());
        }
        self
    }
}

/// `system|code`.
fn push_code(out: &mut String, code: Option<(Option<&str>, &str)>) {
    let Some((system, code)) = code else { return };
    if let Some(system) = system {
        out.push_str(system);
        out.push('|');
    }
    out.push_str(code);
}

/// `Patient?identifier=system%7Cvalue`.
fn search(kind: &str, (system, value): (&str, &str)) -> Text {
    let mut url = String::with_capacity(64 + system.len() + value.len());
    url.push_str(kind);
    url.push_str("?identifier=");
    push_encoded(&mut url, system);
    url.push_str("%7C");
    push_encoded(&mut url, value);
    url.into()
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
    let mut key = KeyText::default();
    for part in parts {
        key.add(part);
    }
    key.0
}

/// The reference to each resource: to the entry of what it was merged into, or none for an empty one.
pub(super) fn references(run: &Run<'_>, identities: &Identities) -> Vec<Option<Reference>> {
    let of = |number: usize| {
        let target = identities.redirects.get(number).copied().unwrap_or(resource_id(number));
        let identity = identities.identities.get(target.0 as usize).and_then(Option::as_ref);
        identity.map(|identity| Reference::Entry(identity.full_url.clone()))
    };
    (0..run.tree.resources.len()).map(of).collect()
}

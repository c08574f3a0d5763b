//! Reads FHIR Consents, R4 and R5, strictly: what is not understood is a fault, never skipped.

use std::sync::Arc;

use crate::json::{Map, Text, Value};

use super::directive::{Actors, Base, Data, Directive, Meaning, Mode, Node, Scope, Status};
use super::entry::Coded;
use super::policy::Effect;
use super::reference::names;
use super::span::Span;
use super::terms::ACT_CODE;

const PCF_PROFILES: &str = "https://profiles.ihe.net/ITI/PCF/StructureDefinition/";
const CONSENT_SCOPE: &str = "http://terminology.hl7.org/CodeSystem/consentscope";

const R4: &[&str] = &[
    "resourceType",
    "id",
    "meta",
    "language",
    "text",
    "contained",
    "extension",
    "identifier",
    "status",
    "scope",
    "category",
    "patient",
    "dateTime",
    "performer",
    "organization",
    "sourceAttachment",
    "sourceReference",
    "policy",
    "policyRule",
    "verification",
    "provision",
];
const R5: &[&str] = &[
    "resourceType",
    "id",
    "meta",
    "language",
    "text",
    "contained",
    "extension",
    "identifier",
    "status",
    "category",
    "subject",
    "date",
    "period",
    "grantor",
    "grantee",
    "manager",
    "controller",
    "sourceAttachment",
    "sourceReference",
    "regulatoryBasis",
    "policyBasis",
    "policyText",
    "verification",
    "decision",
    "provision",
];
const PROVISION: &[&str] = &[
    "id",
    "extension",
    "type",
    "period",
    "actor",
    "action",
    "securityLabel",
    "purpose",
    "class",
    "documentType",
    "resourceType",
    "code",
    "dataPeriod",
    "data",
    "provision",
];
const ACTOR: &[&str] = &["id", "extension", "role", "reference"];
const DATA: &[&str] = &["id", "extension", "meaning", "reference"];

impl Directive {
    /// Compiles a Consent. What is wrong with it is among its faults: it is then never weighed, and
    /// what it might govern waits.
    #[must_use]
    pub fn read(value: &Value) -> Self {
        let empty = Map::new();
        let members = value.as_object().unwrap_or(&empty);
        let mut reader = Reader { faults: Vec::new(), nodes: Vec::new() };
        reader.holes(value, "Consent");
        if is_r5(members) { reader.r5(members) } else { reader.r4(members) }
    }
}

/// R5 has a subject, a decision, a list of provisions.
fn is_r5(members: &Map) -> bool {
    ["subject", "decision", "grantor", "controller", "policyBasis"].iter().any(|key| members.contains_key(key))
        || members.get("provision").is_some_and(Value::is_array)
}

struct Reader {
    faults: Vec<String>,
    nodes: Vec<Node>,
}

impl Reader {
    fn fault(&mut self, path: &str, reason: &str) {
        self.faults.push(format!("{path}: {reason}"));
    }

    /// Nothing in FHIR's JSON is empty or null, and nothing that modifies may be passed over.
    fn holes(&mut self, value: &Value, path: &str) {
        match value {
            Value::Null => self.fault(path, "is null"),
            Value::String(text) if text.trim().is_empty() => self.fault(path, "is empty"),
            Value::Array(items) if items.is_empty() => self.fault(path, "is an empty list"),
            Value::Object(members) if members.is_empty() => self.fault(path, "is an empty object"),
            Value::Array(items) => {
                let primitives = path.rsplit('.').next().is_some_and(|name| name.starts_with('_'));
                for (at, item) in items.iter().enumerate().filter(|(_, item)| !(primitives && item.is_null())) {
                    self.holes(item, &format!("{path}[{at}]"));
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    if matches!(name.as_str(), "modifierExtension" | "implicitRules") {
                        self.fault(
                            path,
                            "says something that modifies its meaning (modifierExtension or implicitRules)",
                        );
                    }
                    self.holes(member, &format!("{path}.{name}"));
                }
            }
            _ => {}
        }
    }

    fn only(&mut self, members: &Map, known: &[&str], path: &str) {
        for name in members.keys() {
            let bare = name.strip_prefix('_').unwrap_or(name);
            let modifies = matches!(name.as_str(), "modifierExtension" | "implicitRules");
            if !known.contains(&bare) && !modifies {
                self.fault(path, "has an element that is not known");
            } else if name != bare && !members.contains_key(bare) {
                self.fault(path, "has an element without a value");
            }
        }
    }

    fn r4(mut self, members: &Map) -> Directive {
        self.only(members, R4, "Consent");
        let root = members.get("provision");
        match root {
            None => self.nodes.push(Node { path: "provision".to_owned(), ..Node::default() }),
            Some(root) => {
                self.node(root, None, "provision".to_owned(), None);
            }
        }
        let base = self.base(members.get("policyRule"));
        let scope = scope(members.get("scope"));
        if scope == Scope::Unreadable {
            self.fault("scope", "is none of patient-privacy, research, treatment, adr");
        }
        let policies: Vec<Text> = self.policies(members.get("policy"), "uri");
        let mut organisations = self.references(members.get("organization"), "organization");
        organisations.sort_unstable();
        let dated = self.date(members, "dateTime");
        self.finish(members, "patient", scope, dated, base, policies, &organisations)
    }

    fn r5(mut self, members: &Map) -> Directive {
        self.only(members, R5, "Consent");
        let effect = self.effect(members.get("decision"), "decision");
        let period = self.period(members, "period", "Consent");
        self.nodes.push(Node { path: "decision".to_owned(), effect, period, ..Node::default() });
        if effect.is_none() {
            self.fault("decision", "is missing: provisions are exceptions to it");
        }
        let provisions = members.get("provision").map(|value| self.items(value, "provision")).unwrap_or_default();
        for (at, provision) in provisions.iter().enumerate() {
            let child = self.node(provision, Some(0), format!("provision[{at}]"), effect.map(opposite));
            if let Some(root) = self.nodes.first_mut() {
                root.children.push(child);
            }
        }
        let policies = self.policies(members.get("policyBasis"), "uri");
        let mut organisations = self.references(members.get("controller"), "controller");
        organisations.extend(self.references(members.get("manager"), "manager"));
        organisations.sort_unstable();
        let dated = self.date(members, "date");
        let scope = category_scope(members.get("category"));
        self.finish(members, "subject", scope, dated, Base::None, policies, &organisations)
    }

    #[expect(clippy::too_many_arguments, reason = "R4 and R5 meet here, with what they name differently")]
    fn finish(
        mut self,
        members: &Map,
        subject: &str,
        scope: Scope,
        dated: Option<Span>,
        base: Base,
        policies: Vec<Text>,
        organisations: &[Text],
    ) -> Directive {
        let mut notes = Vec::new();
        let mode = self.mode(members, &mut notes);
        if mode == Mode::Pcf {
            self.inherit();
        }
        let status = match members.get("status").and_then(Value::as_str) {
            Some("active") => Status::Active,
            Some("draft" | "proposed" | "rejected" | "inactive" | "entered-in-error" | "not-done") => Status::Inactive,
            _ => {
                self.fault("status", "is missing or not known");
                Status::Unreadable
            }
        };
        let computable = base != Base::None || self.nodes.first().is_some_and(|root| root.effect.is_some());
        if !computable {
            self.fault("provision", "has no type, and no base rule (policyRule) says what it would be");
        }
        let verified = match members.get("verification") {
            None => true,
            Some(value) => {
                let done = |item: &&Value| item.get("verified") == Some(&Value::Bool(true));
                self.items(value, "verification").iter().any(done)
            }
        };
        note_shapes(&self.nodes, mode, &mut notes);
        let mut cited: Vec<&str> = policies.iter().map(AsRef::as_ref).collect();
        cited.sort_unstable();
        Directive {
            id: members.get("id").and_then(Value::as_str).map_or_else(|| Arc::from("(no id)"), Arc::from),
            version: members.get("meta").and_then(|meta| meta.get("versionId")?.as_str()).map(Text::from),
            mode,
            patient: members
                .get(subject)
                .map(names)
                .unwrap_or_default()
                .into_iter()
                .filter(|n| !n.is_empty())
                .collect(),
            status,
            scope,
            dated,
            verified,
            series: format!("{}\n{scope:?}\n{}", organisations.join(" "), cited.join(" ")).into(),
            policies,
            base,
            nodes: self.nodes,
            faults: self.faults,
            notes,
        }
    }

    /// A child of an IHE PCF root takes over what it does not state itself: purpose, actor, action, period.
    fn inherit(&mut self) {
        let Some((root, children)) = self.nodes.split_first_mut() else { return };
        for child in children {
            child.period = child.period.or(root.period);
            for (own, above) in [(&mut child.purposes, &root.purposes), (&mut child.actions, &root.actions)] {
                if own.is_empty() {
                    own.clone_from(above);
                }
            }
            if child.actors.recipient.is_empty() {
                child.actors.recipient.clone_from(&root.actors.recipient);
            }
        }
    }

    /// IHE PCF by declared profile, if the Consent keeps to it; a tree otherwise.
    fn mode(&self, members: &Map, notes: &mut Vec<String>) -> Mode {
        let profiles = members.get("meta").and_then(|meta| meta.get("profile")).and_then(Value::as_array);
        let claims = profiles.into_iter().flatten().filter_map(Value::as_str).any(|url| url.starts_with(PCF_PROFILES));
        if !claims {
            return Mode::Tree;
        }
        let root = self.nodes.first();
        let plain_root =
            root.is_some_and(|root| root.actions.is_empty() && root.classes.is_empty() && root.codes.is_empty());
        let recipients_only =
            self.nodes.iter().all(|node| node.actors.custodian.is_empty() && node.actors.author.is_empty());
        let roles = members.get("provision").is_none_or(only_ircp);
        let flat = self.nodes.iter().all(|node| node.parent.is_none_or(|parent| parent == 0));
        if plain_root && recipients_only && roles && flat && !members.contains_key("verification") {
            return Mode::Pcf;
        }
        notes.push("it claims an IHE PCF profile and does not keep to it: read as a tree".to_owned());
        Mode::Tree
    }

    fn items<'a>(&mut self, value: &'a Value, path: &str) -> Vec<&'a Value> {
        match value {
            Value::Array(items) => items.iter().collect(),
            _ => {
                self.fault(path, "must be a list");
                Vec::new()
            }
        }
    }

    fn effect(&mut self, value: Option<&Value>, path: &str) -> Option<Effect> {
        match value?.as_str() {
            Some("permit") => Some(Effect::Permit),
            Some("deny") => Some(Effect::Deny),
            _ => {
                self.fault(path, "must be permit or deny");
                None
            }
        }
    }

    fn period(&mut self, members: &Map, name: &str, path: &str) -> Option<Span> {
        let value = members.get(name)?;
        let span = Span::of_period(value);
        if span.is_none() {
            self.fault(&format!("{path}.{name}"), "is no period");
        }
        span
    }

    fn date(&mut self, members: &Map, name: &str) -> Option<Span> {
        let value = members.get(name)?;
        let span = value.as_str().and_then(Span::parse);
        if span.is_none() {
            self.fault(name, "is no date");
        }
        span
    }

    /// The rule that provisions are exceptions to.
    fn base(&mut self, rule: Option<&Value>) -> Base {
        let Some(rule) = rule else { return Base::None };
        let codings = rule.get("coding").map(|codings| self.items(codings, "policyRule.coding")).unwrap_or_default();
        let known = codings
            .iter()
            .filter_map(|coding| Coded::of(coding))
            .filter(|coding| [ACT_CODE, ""].contains(&&*coding.system));
        let mut bases: Vec<Base> = known
            .filter_map(|coding| match &*coding.code {
                "OPTIN" | "OPTINR" | "IMPLIED" | "IMPLIEDD" => Some(Base::Permit),
                "OPTOUT" | "OPTOUTE" => Some(Base::Deny),
                "EMRGONLY" => Some(Base::EmergencyOnly),
                _ => None,
            })
            .collect();
        bases.dedup();
        match bases.as_slice() {
            [] => Base::None,
            [one] => *one,
            _ => {
                self.fault("policyRule", "says two things");
                Base::None
            }
        }
    }

    fn policies(&mut self, value: Option<&Value>, key: &str) -> Vec<Text> {
        let one_or_many: Vec<&Value> = match value {
            None => Vec::new(),
            Some(Value::Array(items)) => items.iter().collect(),
            Some(one) => vec![one],
        };
        one_or_many.into_iter().filter_map(|policy| policy.get(key)?.as_str()).map(Text::from).collect()
    }

    fn references(&mut self, value: Option<&Value>, path: &str) -> Vec<Text> {
        let items = value.map(|value| self.items(value, path)).unwrap_or_default();
        items.into_iter().flat_map(names).collect()
    }

    /// Reads one provision and those in it; returns where it stands in `nodes`.
    fn node(&mut self, value: &Value, parent: Option<usize>, path: String, effect: Option<Effect>) -> usize {
        let at = self.nodes.len();
        self.nodes.push(Node { parent, path: path.clone(), ..Node::default() });
        let Some(members) = value.as_object() else {
            self.fault(&path, "must be an object");
            return at;
        };
        self.only(members, PROVISION, &path);
        let period = self.period(members, "period", &path);
        let data_period = self.period(members, "dataPeriod", &path);
        let stated = self.effect(members.get("type"), &path);
        let node = Node {
            parent,
            children: Vec::new(),
            effect: if parent.is_none() { stated } else { stated.or(effect) },
            period,
            actors: self.actors(members.get("actor"), &path),
            actions: self.concepts(members.get("action"), &path),
            purposes: self.codings(members.get("purpose"), &path),
            labels: self.codings(members.get("securityLabel"), &path),
            classes: [members.get("class"), members.get("resourceType")]
                .into_iter()
                .flat_map(|value| self.codings(value, &path))
                .collect(),
            documents: self.codings(members.get("documentType"), &path),
            codes: self.concepts(members.get("code"), &path),
            data_period,
            data: self.data(members.get("data"), &path),
            path: path.clone(),
        };
        if let Some(slot) = self.nodes.get_mut(at) {
            *slot = node;
        }
        let children = members.get("provision").map(|value| self.items(value, &path)).unwrap_or_default();
        for (number, child) in children.iter().enumerate() {
            let below = format!("{path}.provision[{number}]");
            let child = self.node(child, Some(at), below, effect.map(opposite));
            if let Some(slot) = self.nodes.get_mut(at) {
                slot.children.push(child);
            }
        }
        at
    }

    fn codings(&mut self, value: Option<&Value>, path: &str) -> Vec<Coded> {
        let items = value.map(|value| self.items(value, path)).unwrap_or_default();
        items.into_iter().map(|coding| Coded::of(coding).unwrap_or_default()).collect()
    }

    /// The codings of CodeableConcepts; one without a code for a concept that is text alone.
    fn concepts(&mut self, value: Option<&Value>, path: &str) -> Vec<Coded> {
        let concepts = value.map(|value| self.items(value, path)).unwrap_or_default();
        let mut codings = Vec::new();
        for concept in concepts {
            let listed = concept.get("coding").map(|codings| self.items(codings, path)).unwrap_or_default();
            let before = codings.len();
            codings.extend(listed.into_iter().map(|coding| Coded::of(coding).unwrap_or_default()));
            if codings.len() == before {
                codings.push(Coded::default());
            }
        }
        codings
    }

    fn actors(&mut self, value: Option<&Value>, path: &str) -> Actors {
        let mut actors = Actors::default();
        let items = value.map(|value| self.items(value, path)).unwrap_or_default();
        for actor in items {
            let Some(members) = actor.as_object() else {
                self.fault(path, "has an actor that is no object");
                continue;
            };
            self.only(members, ACTOR, path);
            let names = members.get("reference").map(names).unwrap_or_default();
            let names = names.into_iter().filter(|name| !name.is_empty()).collect();
            let family = match family(members.get("role")) {
                Family::Recipient => &mut actors.recipient,
                Family::Custodian => &mut actors.custodian,
                Family::Author => &mut actors.author,
            };
            family.push(names);
        }
        actors
    }

    fn data(&mut self, value: Option<&Value>, path: &str) -> Vec<Data> {
        let items = value.map(|value| self.items(value, path)).unwrap_or_default();
        let mut data = Vec::new();
        for item in items {
            if let Some(members) = item.as_object() {
                self.only(members, DATA, path);
            }
            let meaning = match item.get("meaning").and_then(Value::as_str) {
                Some("instance") => Meaning::Instance,
                Some("related") => Meaning::Related,
                Some("dependents") => Meaning::Dependents,
                Some("authoredby") => Meaning::AuthoredBy,
                _ => {
                    self.fault(path, "has data without a meaning");
                    continue;
                }
            };
            let names: Vec<Text> = item.get("reference").map(names).unwrap_or_default();
            let names: Vec<Text> = names.into_iter().filter(|name| !name.is_empty()).collect();
            let kinds = ["Encounter/", "EpisodeOfCare/", "CarePlan/"];
            let container = names.iter().any(|name| kinds.iter().any(|kind| name.starts_with(kind)));
            data.push(Data { meaning, names, container });
        }
        data
    }
}

enum Family {
    Recipient,
    Custodian,
    Author,
}

/// The side that an actor's role is on.
fn family(role: Option<&Value>) -> Family {
    let codings = role.and_then(|role| role.get("coding")).and_then(Value::as_array);
    let codes: Vec<Coded> = codings.into_iter().flatten().filter_map(Coded::of).collect();
    let has = |wanted: &[&str]| codes.iter().any(|coding| wanted.contains(&&*coding.code));
    if has(&["AUT", "author"]) {
        Family::Author
    } else if has(&["CST", "performer", "custodian"]) {
        Family::Custodian
    } else {
        Family::Recipient
    }
}

/// True if every actor's role, at any depth, is IRCP.
fn only_ircp(provision: &Value) -> bool {
    let list = |key: &str| provision.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let is_ircp = |actor: &Value| {
        let codings = actor.get("role").and_then(|role| role.get("coding")).and_then(Value::as_array);
        codings.is_some_and(|codings| codings.iter().filter_map(Coded::of).any(|coding| &*coding.code == "IRCP"))
    };
    list("actor").iter().all(is_ircp) && list("provision").iter().all(only_ircp)
}

fn opposite(effect: Effect) -> Effect {
    if effect == Effect::Permit { Effect::Deny } else { Effect::Permit }
}

fn scope(value: Option<&Value>) -> Scope {
    let codings = value.and_then(|scope| scope.get("coding")).and_then(Value::as_array);
    let codes: Vec<Coded> = codings.into_iter().flatten().filter_map(Coded::of).collect();
    let has = |code: &str| codes.iter().any(|coding| &*coding.system == CONSENT_SCOPE && &*coding.code == code);
    if has("patient-privacy") {
        Scope::Privacy
    } else if has("research") {
        Scope::Research
    } else if has("treatment") || has("adr") {
        Scope::Other
    } else {
        Scope::Unreadable
    }
}

/// R5 has no scope: what a Consent is about is among its categories; privacy where none of them says.
fn category_scope(value: Option<&Value>) -> Scope {
    let concepts = value.and_then(Value::as_array).into_iter().flatten();
    let codings = concepts.filter_map(|concept| concept.get("coding")?.as_array()).flatten();
    let codes: Vec<Coded> = codings.filter_map(Coded::of).collect();
    let has = |wanted: &[&str]| codes.iter().any(|coding| wanted.contains(&&*coding.code));
    if has(&["research", "RESEARCH", "rsreid", "rsdid"]) {
        Scope::Research
    } else if has(&["treatment", "adr", "acd", "dnr", "hcd", "polst"]) && !has(&["patient-privacy", "IDSCL", "59284-0"])
    {
        Scope::Other
    } else {
        Scope::Privacy
    }
}

/// Shapes that a privacy officer should look at.
fn note_shapes(nodes: &[Node], mode: Mode, notes: &mut Vec<String>) {
    let children = nodes.iter().skip(1);
    for node in children.clone().filter(|node| node.effect.is_none()) {
        notes.push(format!("{}: has no type: a deny under a permit, skipped under a deny", node.path));
    }
    for node in children.clone() {
        let parent = node.parent.and_then(|at| nodes.get(at)).and_then(|parent| parent.effect);
        if mode == Mode::Tree && parent.is_some() && parent == node.effect {
            notes.push(format!("{}: has the same type as the provision it is an exception to", node.path));
        }
    }
    let has = |effect| children.clone().any(|node| node.effect == Some(effect));
    if mode == Mode::Pcf && has(Effect::Permit) && has(Effect::Deny) {
        notes.push("pcf-permit-and-deny-overlap: where both match, the deny holds".to_owned());
    }
}

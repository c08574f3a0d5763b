//! Whether a provision matches: yes, no, or unknown, attribute by attribute.

use super::directive::{Actors, Data, Meaning, Mode, Node};
use super::directory::Party;
use super::entry::{Coded, Entry};
use super::policy::Effect;
use super::request::Request;
use super::terms::{ACT_CODE, LabelKind, Terms};
use crate::consent::{ACT_REASON, CONFIDENTIALITY, Confidentiality};
use crate::json::Text;

const RESOURCE_TYPES: [&str; 2] = ["http://hl7.org/fhir/resource-types", "http://hl7.org/fhir/fhir-types"];
const ACTIONS: &str = "http://terminology.hl7.org/CodeSystem/consentaction";
const KNOWN_ACTIONS: [&str; 5] = ["collect", "access", "use", "disclose", "correct"];
/// Profiles by URL.
const PROFILES: &str = "urn:ietf:rfc:3986";
/// Media types.
const MEDIA_TYPES: &str = "urn:ietf:bcp:13";

/// What can be said of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tri {
    /// It does not match.
    No,
    /// It cannot be told.
    Unknown,
    /// It matches.
    Yes,
}

impl Tri {
    pub(super) fn of(is: bool) -> Self {
        if is { Self::Yes } else { Self::No }
    }

    /// Any is enough.
    fn any(all: impl IntoIterator<Item = Self>) -> Self {
        let mut best = Self::No;
        for one in all {
            if one == Self::Yes {
                return one;
            }
            best = best.max(one);
        }
        best
    }

    /// All must hold.
    fn and(self, other: impl FnOnce() -> Self) -> Self {
        if self == Self::No { self } else { self.min(other()) }
    }
}

/// One question to a Consent: this entry, for this purpose, with respect to this label.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) request: &'a Request,
    pub(super) terms: &'a Terms,
    pub(super) entry: &'a Entry,
    /// How confidential the entry is, the unlabelled counted in.
    pub(super) level: Confidentiality,
    /// The purpose, as the request has it.
    pub(super) purpose: &'a str,
    /// What the purpose lies within, itself first; empty where it is not known.
    pub(super) purposes: &'a [Text],
    /// The sensitivity label that is weighed; none where the entry has none.
    pub(super) label: Option<&'a str>,
    /// What that label lies within, itself first; empty where it is not known.
    pub(super) labels: &'a [Text],
}

impl Question<'_> {
    /// Who, what for, when, to do what.
    pub(super) fn context(&self, node: &Node) -> Tri {
        let now = Tri::of(node.period.is_none_or(|period| period.holds(self.request.now)));
        now.and(|| self.purpose(&node.purposes)).and(|| self.action(&node.actions)).and(|| self.actors(&node.actors))
    }

    /// Which data.
    pub(super) fn data(&self, node: &Node, mode: Mode, effect: Effect) -> Tri {
        self.classes(&node.classes, effect)
            .and(|| self.classes(&node.documents, effect))
            .and(|| self.security(&node.labels, effect))
            .and(|| self.codes(&node.codes))
            .and(|| self.dated(node, effect))
            .and(|| self.items(&node.data, mode, effect))
    }

    fn purpose(&self, listed: &[Coded]) -> Tri {
        if listed.is_empty() {
            return Tri::Yes;
        }
        Tri::any(listed.iter().map(|rule| {
            if rule.code.is_empty() || rule.system.is_empty() {
                return Tri::Unknown;
            }
            if &*rule.system == ACT_REASON {
                let within = self.purposes.contains(&rule.code) || *rule.code == *self.purpose;
                return Tri::of(within);
            }
            let asked = self.purpose.rsplit_once('|');
            Tri::of(asked.is_some_and(|(system, code)| Coded::new(system, code) == *rule))
        }))
    }

    fn action(&self, listed: &[Coded]) -> Tri {
        if listed.is_empty() {
            return Tri::Yes;
        }
        Tri::any(listed.iter().map(|rule| {
            let known = &*rule.system == ACTIONS && KNOWN_ACTIONS.contains(&&*rule.code);
            match self.request.actions.contains(&rule.code) {
                true if known => Tri::Yes,
                false if known => Tri::No,
                _ => Tri::Unknown,
            }
        }))
    }

    fn actors(&self, actors: &Actors) -> Tri {
        let side = |listed: &[Vec<Text>], party: Option<&Party>| {
            Tri::any(listed.iter().map(|names| self.is_one(names, party)))
        };
        let recipient = || side(&actors.recipient, Some(&self.request.recipient));
        let custodian = || side(&actors.custodian, Some(&self.request.custodian));
        let author = || side(&actors.author, self.entry.authors());
        let yes_or = |listed: &[Vec<Text>], ask: &dyn Fn() -> Tri| if listed.is_empty() { Tri::Yes } else { ask() };
        yes_or(&actors.recipient, &recipient)
            .and(|| yes_or(&actors.custodian, &custodian))
            .and(|| yes_or(&actors.author, &author))
    }

    /// Whether `party` goes by one of `names`.
    fn is_one(&self, names: &[Text], party: Option<&Party>) -> Tri {
        let Some(party) = party.filter(|party| !party.sure.is_empty() || !party.maybe.is_empty()) else {
            return Tri::Unknown;
        };
        let directory = &self.request.directory;
        let known_as = |name: &str| directory.by_identifier(name).map(str::to_owned);
        let all = names.iter().map(|name| (&**name, known_as(name)));
        if all.clone().any(|(name, known)| {
            party.sure.iter().any(|own| **own == *name || known.as_deref().is_some_and(|known| **own == *known))
        }) {
            return Tri::Yes;
        }
        if party.obscure || names.is_empty() {
            return Tri::Unknown;
        }
        Tri::any(all.map(|(name, known)| {
            let reference = known.as_deref().unwrap_or(name);
            if party.maybe.iter().any(|maybe| **maybe == *reference || **maybe == *name) {
                return Tri::Unknown;
            }
            Tri::of(false).max(self.unclear(name, known.is_some(), party))
        }))
    }

    /// Unknown where it cannot be told that `name` is someone else than `party`.
    fn unclear(&self, name: &str, known: bool, party: &Party) -> Tri {
        let groups = ["Group/", "CareTeam/", "PractitionerRole/"];
        if groups.iter().any(|kind| name.starts_with(kind)) {
            return if self.request.directory.knows_group(name) { Tri::No } else { Tri::Unknown };
        }
        if known {
            return Tri::No;
        }
        // Two ways to name someone can be compared only where both use the same.
        let Some((system, _)) = name.rsplit_once('|') else {
            let by_reference = party.sure.iter().any(|own| own.contains('/') && !own.contains('|'));
            return if by_reference { Tri::No } else { Tri::Unknown };
        };
        let same_system = party.sure.iter().any(|own| own.rsplit_once('|').is_some_and(|(own, _)| own == system));
        if same_system { Tri::No } else { Tri::Unknown }
    }

    fn security(&self, listed: &[Coded], effect: Effect) -> Tri {
        if listed.is_empty() {
            return Tri::Yes;
        }
        Tri::any(listed.iter().map(|rule| {
            if rule.code.is_empty() || rule.system.is_empty() {
                return Tri::Unknown;
            }
            if &*rule.system == CONFIDENTIALITY {
                return match (Confidentiality::from_code(&rule.code), effect) {
                    (None, _) => Tri::Unknown,
                    (Some(level), Effect::Permit) => Tri::of(self.level <= level),
                    (Some(level), _) => Tri::of(self.level >= level),
                };
            }
            if &*rule.system == ACT_CODE {
                return Tri::of(match self.terms.kind(&rule.code) {
                    Some(LabelKind::Sensitivity) => self.labels.contains(&rule.code),
                    // One that is not known may be a sensitivity.
                    None => self.label == Some(&*rule.code),
                    Some(_) => self.entry.labels.contains(&rule.code),
                });
            }
            if &*rule.system == ACT_REASON {
                return Tri::of(
                    self.entry.purposes().contains(&rule.code) || (self.entry.test && &*rule.code == "HTEST"),
                );
            }
            let own = self.label.and_then(|label| label.rsplit_once('|'));
            let weighed = own.is_some_and(|(system, code)| system == &*rule.system && code == &*rule.code);
            Tri::of(weighed || self.entry.marks().contains(rule))
        }))
    }

    fn classes(&self, listed: &[Coded], effect: Effect) -> Tri {
        if listed.is_empty() {
            return Tri::Yes;
        }
        Tri::any(listed.iter().map(|rule| {
            let (system, code) = (&*rule.system, &*rule.code);
            if code.is_empty() {
                return Tri::Unknown;
            }
            // What is contained goes with what contains it.
            let holds = || effect != Effect::Permit && self.entry.contained.iter().any(|kind| **kind == *code);
            let is_kind = *self.entry.kind == *code || matches!(code, "Resource" | "DomainResource") || holds();
            if RESOURCE_TYPES.contains(&system) {
                return Tri::of(is_kind);
            }
            if system.is_empty() && is_kind {
                return Tri::Unknown;
            }
            if system == PROFILES {
                let bare = code.split('|').next().unwrap_or_default();
                return Tri::of(self.entry.profiles.iter().any(|profile| **profile == *bare));
            }
            if system == MEDIA_TYPES {
                let bare = |media: &str| media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
                return Tri::of(self.entry.media.iter().any(|media| bare(media) == bare(code)));
            }
            coded(&self.entry.classes, rule)
        }))
    }

    fn codes(&self, listed: &[Coded]) -> Tri {
        if listed.is_empty() {
            return Tri::Yes;
        }
        Tri::any(listed.iter().map(|rule| {
            if rule.code.is_empty() {
                return Tri::Unknown;
            }
            if self.entry.has_code(rule) {
                return Tri::Yes;
            }
            coded(self.entry.codes(), rule)
        }))
    }

    fn dated(&self, node: &Node, effect: Effect) -> Tri {
        let Some(period) = node.data_period else { return Tri::Yes };
        match self.entry.dated() {
            None => Tri::Unknown,
            Some(data) if effect == Effect::Permit => Tri::of(period.encloses(data)),
            Some(data) => Tri::of(period.overlaps(data)),
        }
    }

    fn items(&self, listed: &[Data], mode: Mode, effect: Effect) -> Tri {
        if listed.is_empty() {
            return Tri::Yes;
        }
        Tri::any(listed.iter().map(|item| self.item(item, mode, effect)))
    }

    fn item(&self, item: &Data, mode: Mode, effect: Effect) -> Tri {
        if item.names.is_empty() {
            return Tri::Unknown;
        }
        if item.meaning == Meaning::AuthoredBy {
            return self.is_one(&item.names, self.entry.authors());
        }
        let itself = || item.names.iter().any(|name| self.entry.is_called(name));
        // It refers to the entry; the entry refers to it.
        let outwards = || item.names.iter().any(|name| self.entry.is_referred_to_by(name));
        let inwards = || item.names.iter().any(|name| self.entry.refers_to(name));
        let both =
            effect != Effect::Permit || (mode == Mode::Pcf && item.container && item.meaning == Meaning::Related);
        let matched = match item.meaning {
            Meaning::Instance | Meaning::AuthoredBy => itself(),
            _ if both => itself() || outwards() || inwards(),
            Meaning::Related => itself() || outwards(),
            Meaning::Dependents => itself() || inwards(),
        };
        // Whose it is was not said: it may be of those whom the consent names.
        let of_nobody = || item.meaning != Meaning::Instance && self.entry.authors().is_none();
        match matched {
            false if of_nobody() && item.names.iter().any(|name| is_party(name)) => Tri::Unknown,
            matched => Tri::of(matched),
        }
    }
}

/// True if a reference names someone who makes entries.
fn is_party(reference: &str) -> bool {
    const PARTIES: [&str; 6] =
        ["CareTeam", "Device", "Organization", "Practitioner", "PractitionerRole", "RelatedPerson"];
    reference.rsplit('/').nth(1).is_some_and(|kind| PARTIES.contains(&kind))
}

/// Whether one of `own` is the code of `rule`; unknown where it is the same code and a system is missing.
fn coded<'a>(own: impl IntoIterator<Item = &'a Coded>, rule: &Coded) -> Tri {
    Tri::any(own.into_iter().filter(|own| own.code == rule.code).map(|own| {
        if own.system == rule.system && !own.system.is_empty() {
            Tri::Yes
        } else if own.system.is_empty() || rule.system.is_empty() {
            Tri::Unknown
        } else {
            Tri::No
        }
    }))
}

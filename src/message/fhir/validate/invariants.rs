//! The invariants of R4 that are checked: each of a type, told by which elements are there, or by a function.

use std::sync::LazyLock;

use super::special;
use crate::fhir::Object;
use crate::fhir::definitions::{TypeId, types};

/// What must hold of the elements of a type.
enum Test {
    /// At least one of these is there.
    Any(&'static [&'static str]),
    /// Exactly one of these is there.
    One(&'static [&'static str]),
    /// Both are there, or neither.
    Together(&'static str, &'static str),
    /// Where the first is there, so is the second.
    Needs(&'static str, &'static str),
    /// Where the first is there, the second is not.
    Excludes(&'static str, &'static str),
    /// Where one of these is there, the function says whether it holds.
    Holds(&'static [&'static str], fn(&Object) -> bool),
}

/// An invariant.
struct Rule(&'static str, &'static str, Test, &'static str);

/// An invariant, with elements as bits of their places.
pub(super) struct Compiled {
    /// Its key, such as `obs-6`.
    pub(super) key: &'static str,
    /// What is wrong where it is broken.
    pub(super) text: &'static str,
    /// It is looked at only if one of these is there; always where it is 0.
    guard: u64,
    mask: u64,
    test: Bits,
}

enum Bits {
    Any,
    One,
    None,
    AllOrNone,
    Holds(fn(&Object) -> bool),
}

impl Compiled {
    fn new(of: TypeId, Rule(_, key, test, text): &'static Rule) -> Self {
        let bit = |name: &str| types().get(of).bit(name);
        let bits = |names: &[&str]| names.iter().fold(0, |all, name| all | bit(name));
        let (guard, mask, test) = match test {
            Test::Any(names) => (0, bits(names), Bits::Any),
            Test::One(names) => (0, bits(names), Bits::One),
            Test::Together(a, b) => (0, bit(a) | bit(b), Bits::AllOrNone),
            Test::Needs(a, b) => (bit(a), bit(b), Bits::Any),
            Test::Excludes(a, b) => (bit(a), bit(b), Bits::None),
            Test::Holds(names, holds) => (bits(names), 0, Bits::Holds(*holds)),
        };
        Self { key, text, guard, mask, test }
    }

    /// True if it is broken by an object that has the elements `present`.
    pub(super) fn is_broken(&self, present: u64, object: &Object) -> bool {
        if self.guard != 0 && present & self.guard == 0 {
            return false;
        }
        let found = present & self.mask;
        match self.test {
            Bits::Any => found == 0,
            Bits::One => found.count_ones() != 1,
            Bits::None => found != 0,
            Bits::AllOrNone => found != 0 && found != self.mask,
            Bits::Holds(holds) => !holds(object),
        }
    }
}

/// The invariants of each type, by its id.
pub(super) fn of(id: TypeId) -> &'static [Compiled] {
    static ALL: LazyLock<Vec<Vec<Compiled>>> = LazyLock::new(|| {
        let mut all: Vec<Vec<Compiled>> = Vec::new();
        all.resize_with(types().count(), Vec::new);
        for rule in RULES {
            let Some(id) = types().id(rule.0) else { continue };
            if let Some(own) = all.get_mut(usize::from(id.0)) {
                own.push(Compiled::new(id, rule));
            }
        }
        all
    });
    ALL.get(usize::from(id.0)).map_or(&[], Vec::as_slice)
}

/// The keys of all invariants that are checked, in no order; some stand in several types.
pub fn checked() -> impl Iterator<Item = &'static str> {
    /// Those that the walk, the Bundle and the references see to.
    const ELSEWHERE: [&str; 17] = [
        "ele-1", "ref-1", "dom-2", "dom-3", "dom-4", "dom-5", "bdl-1", "bdl-2", "bdl-3", "bdl-4", "bdl-5", "bdl-7",
        "bdl-8", "bdl-9", "bdl-10", "bdl-11", "bdl-12",
    ];
    RULES.iter().map(|rule| rule.1).chain(ELSEWHERE).chain(["txt-1", "txt-2"])
}

/// Types and elements that the table does not have.
#[cfg(test)]
pub(super) fn unknown() -> Vec<String> {
    let elements = |test: &Test| match test {
        Test::Any(names) | Test::One(names) | Test::Holds(names, _) => names.to_vec(),
        Test::Together(a, b) | Test::Needs(a, b) | Test::Excludes(a, b) => vec![*a, *b],
    };
    let mut unknown = Vec::new();
    for rule in RULES {
        match types().id(rule.0) {
            None => unknown.push(rule.0.to_owned()),
            Some(id) => {
                let missing = elements(&rule.2).into_iter().filter(|name| types().get(id).bit(name) == 0);
                unknown.extend(missing.map(|name| format!("{}.{name}", rule.0)));
            }
        }
    }
    unknown
}

use Test::{Any, Excludes, Holds, Needs, One, Together};

const UCUM: &str = "the system is that of UCUM, http://unitsofmeasure.org";

/// Of data types first, then of resources, by name.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    Rule("Age", "age-1", Needs("value", "code"), "an age with a value has a code"),
    Rule("Age", "age-1", Holds(&["system"], special::is_ucum), UCUM),
    Rule("Age", "age-1", Holds(&["value"], special::is_positive), "an age is more than 0"),
    Rule("Age", "qty-3", Needs("code", "system"), "a code of a unit has a system"),
    Rule("Attachment", "att-1", Needs("data", "contentType"), "data has a contentType"),
    Rule("ContactPoint", "cpt-2", Needs("value", "system"), "a value has a system"),
    Rule("Count", "cnt-3", Needs("value", "code"), "a count with a value has a code"),
    Rule("Count", "cnt-3", Holds(&["system"], special::is_ucum), UCUM),
    Rule("Count", "cnt-3", Holds(&["value"], special::is_whole), "a count is a whole number"),
    Rule("Count", "qty-3", Needs("code", "system"), "a code of a unit has a system"),
    Rule("DataRequirement.codeFilter", "drq-1", One(&["path", "searchParam"]), "either path or searchParam is there"),
    Rule("DataRequirement.dateFilter", "drq-2", One(&["path", "searchParam"]), "either path or searchParam is there"),
    Rule("Distance", "dis-1", Needs("value", "code"), "a distance with a value has a code"),
    Rule("Distance", "dis-1", Holds(&["system"], special::is_ucum), UCUM),
    Rule("Distance", "qty-3", Needs("code", "system"), "a code of a unit has a system"),
    Rule("Duration", "drt-1", Needs("code", "value"), "a duration with a code has a value"),
    Rule("Duration", "drt-1", Holds(&["code"], special::is_ucum), UCUM),
    Rule("Duration", "qty-3", Needs("code", "system"), "a code of a unit has a system"),
    Rule("ElementDefinition", "eld-8", Excludes("pattern", "fixed"), "pattern and fixed exclude each other"),
    Rule("ElementDefinition", "eld-15", Excludes("defaultValue", "meaningWhenMissing"), "defaultValue and meaningWhenMissing exclude each other"),
    Rule("ElementDefinition", "eld-22", Needs("sliceIsConstraining", "sliceName"), "sliceIsConstraining has a sliceName"),
    Rule("ElementDefinition.slicing", "eld-1", Any(&["discriminator", "description"]), "a slicing has a discriminator or a description"),
    Rule("Expression", "exp-1", Any(&["expression", "reference"]), "an expression or a reference is there"),
    Rule("Extension", "ext-1", One(&["extension", "value"]), "an extension has either a value or extensions"),
    Rule("Period", "per-1", Holds(&["start"], special::period), "the start is not after the end"),
    Rule("Quantity", "qty-3", Needs("code", "system"), "a code of a unit has a system"),
    Rule("Range", "rng-2", Holds(&["low"], special::range), "low is not above high"),
    Rule("Ratio", "rat-1", Together("numerator", "denominator"), "a ratio has both numerator and denominator, or neither"),
    Rule("Ratio", "rat-1", Any(&["numerator", "extension"]), "a ratio without numerator has an extension"),
    Rule("Timing.repeat", "tim-1", Needs("duration", "durationUnit"), "a duration has a durationUnit"),
    Rule("Timing.repeat", "tim-2", Needs("period", "periodUnit"), "a period has a periodUnit"),
    Rule("Timing.repeat", "tim-4", Holds(&["duration"], |own| special::is_not_negative(own, "duration")), "a duration is not negative"),
    Rule("Timing.repeat", "tim-5", Holds(&["period"], |own| special::is_not_negative(own, "period")), "a period is not negative"),
    Rule("Timing.repeat", "tim-6", Needs("periodMax", "period"), "a periodMax has a period"),
    Rule("Timing.repeat", "tim-7", Needs("durationMax", "duration"), "a durationMax has a duration"),
    Rule("Timing.repeat", "tim-8", Needs("countMax", "count"), "a countMax has a count"),
    Rule("Timing.repeat", "tim-9", Needs("offset", "when"), "an offset has a when"),
    Rule("Timing.repeat", "tim-9", Holds(&["offset"], special::offset_of_no_meal), "an offset is not from C, CM, CD or CV"),
    Rule("Timing.repeat", "tim-10", Excludes("timeOfDay", "when"), "timeOfDay and when exclude each other"),
    Rule("TriggerDefinition", "trd-1", Excludes("data", "timing"), "data and timing exclude each other"),
    Rule("TriggerDefinition", "trd-2", Needs("condition", "data"), "a condition has data"),

    Rule("AllergyIntolerance", "ait-1", Holds(&[], special::allergy_has_status), "an allergy has a clinicalStatus, unless it was entered in error"),
    Rule("AllergyIntolerance", "ait-2", Holds(&["clinicalStatus"], special::allergy_in_error_has_none), "an allergy that was entered in error has no clinicalStatus"),
    Rule("Appointment", "app-2", Together("start", "end"), "start and end are both there, or neither"),
    Rule("Appointment", "app-3", Holds(&["status"], special::appointment_times), "only a proposed, cancelled or waitlisted appointment has no start and end"),
    Rule("Appointment", "app-4", Holds(&["cancelationReason"], special::cancelled), "only an appointment that was cancelled or missed has a cancelationReason"),
    Rule("Appointment.participant", "app-1", Any(&["type", "actor"]), "a participant has a type or an actor"),
    Rule("AppointmentResponse", "apr-1", Any(&["participantType", "actor"]), "a participantType or an actor is there"),
    Rule("AuditEvent.entity", "sev-1", Excludes("name", "query"), "name and query exclude each other"),
    Rule("CapabilityStatement", "cpb-1", Any(&["rest", "messaging", "document"]), "one of rest, messaging and document is there"),
    Rule("CapabilityStatement", "cpb-2", Any(&["description", "software", "implementation"]), "one of description, software and implementation is there"),
    Rule("CarePlan.activity", "cpl-3", Excludes("detail", "reference"), "detail and reference exclude each other"),
    Rule("Composition.section", "cmp-1", Any(&["text", "entry", "section"]), "a section has text, entries or sections"),
    Rule("Composition.section", "cmp-2", Excludes("emptyReason", "entry"), "only a section without entries has an emptyReason"),
    Rule("ConceptMap.group.element.target", "cmd-1", Holds(&["equivalence"], special::equivalence), "an equivalence that is narrower or inexact has a comment"),
    Rule("ConceptMap.group.unmapped", "cmd-2", Holds(&["mode"], |own| special::implies(own, "mode", "fixed", "code")), "the mode fixed has a code"),
    Rule("ConceptMap.group.unmapped", "cmd-3", Holds(&["mode"], |own| special::implies(own, "mode", "other-map", "url")), "the mode other-map has a url"),
    Rule("Condition", "con-4", Holds(&["abatement"], special::abated), "a condition that abated is inactive, in remission or resolved"),
    Rule("Condition", "con-5", Holds(&["clinicalStatus"], special::condition_in_error_has_none), "a condition that was entered in error has no clinicalStatus"),
    Rule("Condition.evidence", "con-2", Any(&["code", "detail"]), "evidence has a code or a detail"),
    Rule("Condition.stage", "con-1", Any(&["summary", "assessment"]), "a stage has a summary or an assessment"),
    Rule("Consent", "ppc-1", Any(&["policy", "policyRule"]), "a consent has a policy or a policyRule"),
    Rule("CoverageEligibilityResponse.insurance.item", "ces-1", One(&["category", "productOrService"]), "either category or productOrService is there"),
    Rule("FamilyMemberHistory", "fhs-1", Excludes("age", "born"), "age and born exclude each other"),
    Rule("FamilyMemberHistory", "fhs-2", Needs("estimatedAge", "age"), "an estimatedAge has an age"),
    Rule("Goal.target", "gol-1", Needs("detail", "measure"), "a detail has a measure"),
    Rule("Group", "grp-1", Holds(&["member"], |own| own.get("actual").is_some_and(|actual| actual.as_bool() == Some(true))), "only an actual group has members"),
    Rule("Immunization.education", "imm-1", Any(&["documentType", "reference"]), "a documentType or a reference is there"),
    Rule("ImmunizationRecommendation.recommendation", "imr-1", Any(&["vaccineCode", "targetDisease"]), "a vaccineCode or a targetDisease is there"),
    Rule("InsurancePlan", "ipn-1", Any(&["identifier", "name"]), "an identifier or a name is there"),
    Rule("Linkage", "lnk-1", Holds(&["item"], |own| special::count(own, "item") > 1), "a linkage has at least two items"),
    Rule("List", "lst-1", Excludes("emptyReason", "entry"), "only a list without entries has an emptyReason"),
    Rule("List", "lst-2", Holds(&["entry"], |own| special::only_in_mode(own, "changes", "deleted")), "only a list of changes has deleted entries"),
    Rule("List", "lst-3", Holds(&["entry"], |own| special::only_in_mode(own, "working", "date")), "only a working list has dates of entries"),
    Rule("MeasureReport", "mrp-1", Holds(&["group"], |own| !special::is(own, "type", "data-collection")), "a report of the type data-collection has no group"),
    Rule("MedicationAdministration.dosage", "mad-1", Any(&["dose", "rate"]), "a dosage has a dose or a rate"),
    Rule("MedicationDispense", "mdd-1", Holds(&["whenHandedOver"], |own| special::in_order(own, "whenPrepared", "whenHandedOver")), "whenHandedOver is not before whenPrepared"),
    Rule("MolecularSequence", "msq-3", Holds(&["coordinateSystem"], special::coordinates), "the coordinateSystem is 0 or 1"),
    Rule("MolecularSequence.referenceSeq", "msq-5", Together("chromosome", "genomeBuild"), "chromosome and genomeBuild are both there, or neither"),
    Rule("MolecularSequence.referenceSeq", "msq-6", One(&["genomeBuild", "referenceSeqId", "referenceSeqPointer", "referenceSeqString"]), "exactly one of genomeBuild, referenceSeqId, referenceSeqPointer and referenceSeqString is there"),
    Rule("Observation", "obs-6", Excludes("dataAbsentReason", "value"), "only an observation without a value has a dataAbsentReason"),
    Rule("Observation", "obs-7", Holds(&["component"], special::components), "no component has the code of the observation where that has a value"),
    Rule("Observation.referenceRange", "obs-3", Any(&["low", "high", "text"]), "a referenceRange has low, high or text"),
    Rule("Organization", "org-1", Any(&["identifier", "name"]), "an organization has an identifier or a name"),
    Rule("Organization", "org-2", Holds(&["address"], |own| special::none_is(own, "address", "use", "home")), "an organization's address is no home"),
    Rule("Organization", "org-3", Holds(&["telecom"], |own| special::none_is(own, "telecom", "use", "home")), "an organization's telecom is none of a home"),
    Rule("Parameters.parameter", "inv-1", One(&["part", "value", "resource"]), "a parameter has either a value, a resource or parts"),
    Rule("Patient.contact", "pat-1", Any(&["name", "telecom", "address", "organization"]), "a contact has a name, telecom, address or organization"),
    Rule("Questionnaire.item", "que-3", Holds(&["code"], |own| !special::is(own, "type", "display")), "an item of the type display has no code"),
    Rule("Questionnaire.item", "que-4", Excludes("answerOption", "answerValueSet"), "answerOption and answerValueSet exclude each other"),
    Rule("Questionnaire.item", "que-6", Holds(&["required", "repeats"], |own| !special::is(own, "type", "display")), "an item of the type display has neither required nor repeats"),
    Rule("Questionnaire.item", "que-9", Holds(&["readOnly"], |own| !special::is(own, "type", "display")), "an item of the type display has no readOnly"),
    Rule("Questionnaire.item", "que-11", Excludes("answerOption", "initial"), "answerOption and initial exclude each other"),
    Rule("QuestionnaireResponse.item", "qrs-1", Excludes("answer", "item"), "answer and item exclude each other"),
    Rule("RequestGroup.action", "rqg-1", One(&["resource", "action"]), "either resource or action is there"),
    Rule("SearchParameter", "spd-1", Needs("xpath", "xpathUsage"), "an xpath has an xpathUsage"),
    Rule("ServiceRequest", "prr-1", Needs("orderDetail", "code"), "an orderDetail has a code"),
    Rule("StructureDefinition", "sdf-6", Any(&["snapshot", "differential"]), "a snapshot or a differential is there"),
    Rule("StructureDefinition.mapping", "sdf-2", Any(&["name", "uri"]), "a name or a uri is there"),
    Rule("StructureMap.group.rule.target", "smp-1", Needs("element", "context"), "an element has a context"),
    Rule("StructureMap.group.rule.target", "smp-2", Needs("context", "contextType"), "a context has a contextType"),
    Rule("Task", "inv-1", Holds(&["lastModified"], |own| special::in_order(own, "authoredOn", "lastModified")), "lastModified is not before authoredOn"),
    Rule("TestReport.test.action", "inv-2", One(&["operation", "assert"]), "either operation or assert is there"),
    Rule("TestScript.setup.action", "tst-1", One(&["operation", "assert"]), "either operation or assert is there"),
    Rule("TestScript.test.action", "tst-2", One(&["operation", "assert"]), "either operation or assert is there"),
    Rule("ValueSet.compose.include", "vsd-1", Any(&["valueSet", "system"]), "a valueSet or a system is there"),
    Rule("ValueSet.compose.include", "vsd-2", Needs("concept", "system"), "a concept has a system"),
    Rule("ValueSet.compose.include", "vsd-2", Needs("filter", "system"), "a filter has a system"),
    Rule("ValueSet.compose.include", "vsd-3", Excludes("concept", "filter"), "concept and filter exclude each other"),
    Rule("ValueSet.expansion.contains", "vsd-6", Any(&["code", "display"]), "a code or a display is there"),
    Rule("ValueSet.expansion.contains", "vsd-10", Needs("code", "system"), "a code has a system"),
];

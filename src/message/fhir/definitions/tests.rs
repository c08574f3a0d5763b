use super::*;
use crate::fhir::is_resource_type;

#[track_caller]
fn check(path: (&str, &str), list: bool, kind_name: &str) {
    let owner = types().get(types().id(path.0).expect("a type"));
    let element = owner.element(path.1).expect("an element");
    let kind = match element.kind {
        Kind::Primitive(primitive) => primitive.name(),
        Kind::Complex(id) => &types().get(id).name,
    };
    assert_eq!((element.list, kind), (list, kind_name));
}

#[test]
fn knows_lists_choices_backbones_and_references() {
    check(("Patient", "name"), true, "HumanName");
    check(("Patient", "deceasedDateTime"), false, "dateTime");
    check(("Observation", "valueQuantity"), false, "Quantity");
    check(("Encounter", "location"), true, "Encounter.location");
    check(("Encounter.location", "location"), false, "Reference");
    check(("Questionnaire.item", "item"), true, "Questionnaire.item");
    check(("Bundle.entry", "resource"), false, "Resource");
    assert_eq!(types().get(types().id("Encounter").expect("a type")).required(), ["status", "class"]);
}

#[test]
fn every_element_is_found_by_its_name_and_no_other_is() {
    for id in (0..types().count()).map(|id| TypeId(u16::try_from(id).expect("few types"))) {
        let kind = types().get(id);
        for element in kind.elements() {
            let found = kind.element(&element.name).expect("found");
            assert!(std::ptr::eq(found, element), "{}.{}", kind.name, element.name);
            assert_eq!(kind.element(&format!("{}_", element.name)).map(|e| &e.name), None);
        }
    }
}

#[test]
fn has_exactly_the_resources_of_r4() {
    let ours: Vec<_> = types().names().filter(|name| types().resource(name).is_some()).collect();
    assert_eq!(ours.len(), 146);
    assert!(ours.iter().all(|name| is_resource_type(name)));
    assert_eq!(types().resource("DomainResource"), None);
    assert_eq!(types().resource("HumanName"), None);
}

#[test]
fn places_follow_the_definition_and_a_choice_has_one() {
    let observation = types().get(types().id("Observation").expect("a type"));
    let place = |name: &str| observation.element(name).expect("an element").place;
    assert!(place("id") < place("status") && place("status") < place("code") && place("code") < place("component"));
    assert_eq!(place("valueQuantity"), place("valueString"));
    assert_eq!(observation.name_at(place("valueQuantity")), "value[x]");
    assert_eq!(observation.bit("value"), 1 << place("valueString"));
    assert_eq!(observation.required_places(), observation.bit("status") | observation.bit("code"));
}

#[test]
fn knows_value_sets_targets_and_attributes() {
    let element = |owner: &str, name: &str| types().get(types().id(owner).expect("a type")).element(name).expect("one");
    let set = |owner: &str, name: &str| types().value_set(element(owner, name).values.expect("bound")).expect("a set");
    assert_eq!(set("Patient", "gender").codes(), ["female", "male", "other", "unknown"]);
    assert!(
        set("Condition", "clinicalStatus")
            .has_coding("http://terminology.hl7.org/CodeSystem/condition-clinical", "active")
    );
    let targets = |owner: &str, name: &str| -> Vec<&str> {
        element(owner, name).targets.iter().map(|id| types().get(*id).name.as_str()).collect()
    };
    assert_eq!(targets("Observation", "encounter"), ["Encounter"]);
    assert_eq!(targets("Provenance", "target"), [] as [&str; 0]);
    assert!(element("Extension", "url").attribute && element("HumanName", "id").attribute);
    assert!(!element("Patient", "id").attribute && !element("Attachment", "url").attribute);
    assert!(element("Patient.contact", "id").attribute);
}

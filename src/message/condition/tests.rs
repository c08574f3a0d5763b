//! What the language says, of messages and resources, and what it says to people.

use std::sync::Arc;

use bytes::Bytes;
use expect_test::{Expect, expect};

use super::{Condition, ConditionError, Place};
use crate::hl7v2::{self, CharsetOptions};
use crate::json::{Value, json};
use crate::{Body, Format, Message, MessageId, Original, Sha256};

const ADT: &str = "MSH|^~\\&|REG|ST MARY|HUB|EHR|20240301063000||ADT^A08|MSG1|P|2.5.1\r\
PID|1||4711^^^MRN^MR~123-45-6789^^^SSN^SS||Doe^Jo\\T\\hn||19700101|F|\"\"|2106-3|1 Main St^^Town~2 Side St|||||M|||10.50\r\
PV1|1|I|W^389^1&Z\r\
OBX|1|NM|8480-6^Systolic||140|mm\r\
OBX|2|CE|1234^Other||Y\r";

fn adt() -> hl7v2::Message {
    hl7v2::Message::read(Bytes::from_static(ADT.as_bytes()), &CharsetOptions::default()).unwrap().0
}

fn bundle() -> Value {
    json!({
        "resourceType": "Bundle", "type": "transaction",
        "entry": [
            {"resource": {"resourceType": "Patient", "active": true, "gender": "female",
                "identifier": [{"system": "urn:oid:1.2.3", "value": "4711"}, {"system": "urn:oid:4.5", "value": "1"}],
                "name": [{"use": "official", "family": "Doe", "given": ["Jo", "Ann"]}, {"use": "usual", "given": ["J"]}],
                "multipleBirthInteger": 2,
                "extension": [{"url": "urn:x", "valueBoolean": false}]}},
            {"resource": {"resourceType": "Observation", "status": "final",
                "valueQuantity": {"value": 140.0, "unit": "mm"}}},
            {"resource": {"resourceType": "Observation", "status": "amended"}}
        ]
    })
}

#[track_caller]
fn holds(condition: &str) {
    assert!(Condition::parse(condition).unwrap().eval(&adt()), "{condition}");
}

#[track_caller]
fn fails(condition: &str) {
    assert!(!Condition::parse(condition).unwrap().eval(&adt()), "{condition}");
}

#[test]
fn compares_text_and_numbers() {
    holds("MSH-9.1 = 'ADT'");
    holds("MSH-9.1 = \"ADT\"");
    fails("MSH-9.1 = 'adt'");
    holds("PID-5.2 = 'Jo&hn'");
    holds("PID-19 = 10.5");
    fails("PID-19 = '10.5'");
    holds("PID-19 > 10 and PID-19 <= 10.5 and not PID-19 < 10.5 and PID-19 >= 10.5");
    fails("PID-5.1 > 0");
    holds("PV1-3.3.2 = 'Z'");
}

#[test]
fn one_value_that_passes_is_enough() {
    holds("OBX-3.1 = '1234'");
    fails("OBX[1]-3.1 = '1234'");
    holds("PID-3.5 = 'SS'");
    fails("PID-3[1].5 = 'SS'");
    holds("PID-3 = '4711^^^MRN^MR'");
}

#[test]
fn unequal_means_that_no_value_is_equal() {
    fails("PID-3.5 != 'SS'");
    holds("PID-3.5 != 'XX'");
    holds("ZZZ-1 != 'X'");
}

#[test]
fn finds_one_of_a_list() {
    holds("MSH-9.1 in ['ADT', 'ORU']");
    holds("OBX-5 in [1, 140]");
    fails("MSH-9.1 not in ['ADT', 'ORU',]");
    holds("MSH-9.1 not in ['ORU']");
}

#[test]
fn tells_nothing_from_deletion() {
    holds("PID-8 valued and not PID-9 valued and PID-9 is null and PID-8 is not null");
    holds("PID-6 not valued and PID-6 is not null");
    holds("OBX valued and not ZZZ valued and OBX[2] valued and OBX[3] not valued");
}

#[test]
fn counts_and_measures() {
    holds("count(PID-3) = 2 and count(PID-11) > 1 and count(OBX) >= 2 and count(PID-9) = 0 and count(ZZ1-1) < 1");
    holds("length(PID-7) = 8 and length(PID-7) in [8, 14] and length( PID-7 ) > 7");
    fails("length(PID-9) >= 0");
}

#[test]
fn matches_regular_expressions_anywhere() {
    holds("PID-3.1 matches '^\\d{3}-\\d{2}-\\d{4}$'");
    holds("PV1-3.1 matches '[vw]' or PV1-3.1 matches '(?i)^w$'");
    holds("PID-5.1 not matches '^D$'");
}

#[test]
fn joins_as_everyone_expects() {
    holds("PID-8 = 'M' and PID-8 = 'M' or PID-8 = 'F'");
    fails("PID-8 = 'M' and (PID-8 = 'M' or PID-8 = 'F')");
    holds("not PID-8 = 'M' and not (PID-8 = 'M' or PID-8 = 'X') and not not true");
    fails("false or not true");
    holds("PID-5.1 != 'it''s' and PID-5.1 != \"say \"\"no\"\"\"");
}

#[track_caller]
fn resource(condition: &str, expected: bool) {
    assert_eq!(Condition::parse(condition).unwrap().eval(&bundle()), expected, "{condition}");
}

#[test]
fn asks_resources() {
    resource("Patient.gender = 'female' and Patient.active", true);
    resource("Patient.deceased", false);
    resource("Bundle.type = 'transaction' and type = 'transaction' and entry.resource.status = 'final'", true);
    resource("entry[0].resource.gender = 'female' and entry[1].resource.gender valued", false);
    resource("Patient.name.where(use = 'official').given = 'Ann'", true);
    resource("Patient.name.where(use = 'usual' and given = 'Ann')", false);
    resource(
        "Patient.name.given[2] = 'J' and Patient.name.given.first() = 'Jo' and Patient.name.given.count() = 3",
        true,
    );
    resource("Patient.identifier.exists(system = 'urn:oid:1.2.3') and Patient.photo.empty()", true);
    resource("Patient.identifier.where(system = 'urn:x').exists()", false);
    resource("Patient.identifier.exists() = true and Patient.photo.exists() = false", true);
    resource("Observation.value.value = 140 and Observation.value.value >= 140 and Observation.value valued", true);
    resource("Patient.multipleBirth > 1 and Patient.multipleBirth = 2", true);
    resource("Patient.extension('urn:x').value = false and not Patient.extension('urn:x').value", true);
    resource(
        "Patient.name.given.where($this = 'Ann') and count(Patient.name) = 2 and length(Patient.gender) = 6",
        true,
    );
    resource("Encounter.status != 'finished'", true);
    resource("Encounter.status = 'finished' or PID-8 valued or CX.1 valued", false);
}

/// Routes ask HL7's words also after the message has become FHIR.
#[test]
fn asks_a_message_what_it_was_and_what_it_is() {
    let bytes = Bytes::from_static(ADT.as_bytes());
    let original = Original {
        id: MessageId(uuid::Uuid::nil()),
        channel: "adt".into(),
        received: jiff::Timestamp::UNIX_EPOCH,
        peer: "test".into(),
        format: Format::Hl7v2,
        sha256: Sha256::of(&bytes),
        bytes,
        beside: bytes::Bytes::new(),
        control_id: None,
    };
    let mut message = Message::new(Arc::new(original), Body::Hl7v2(adt()), crate::consent::Flags::default());
    let condition = Condition::parse("MSH-9.1 = 'ADT' and Patient.gender = 'female'").unwrap();
    assert!(!condition.eval(&message));
    message.body = Body::Fhir(bundle());
    assert!(condition.eval(&message));
}

/// What an analyst who knows FHIRPath types first.
#[test]
fn knows_the_functions_of_fhirpath_that_tests_need() {
    let bundle = json!({
        "resourceType": "Bundle", "type": "transaction",
        "entry": [
            {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient",
                "active": false,
                "name": [{"family": "O'Neil-Doe", "given": ["Jo", "Ann"]}, {"given": ["J."]}]}},
            {"fullUrl": "urn:uuid:2", "resource": {"resourceType": "Observation", "status": "final",
                "subject": {"reference": "urn:uuid:1"},
                "valueQuantity": {"value": 140.0, "unit": "mm"}}},
            {"resource": {"resourceType": "Observation", "id": "o2", "status": "amended", "valueString": "high"}},
            {"resource": {"resourceType": "DiagnosticReport", "status": "final",
                "result": [{"reference": "urn:uuid:2"}, {"reference": "Observation/o2"}, {"reference": "urn:uuid:9"}]}}
        ]
    });
    let check = |condition: &str, expected: bool| {
        assert_eq!(Condition::parse(condition).unwrap().eval(&bundle), expected, "{condition}");
    };
    check("Patient.name.given.last() = 'J.' and Patient.name.given.first() = 'Jo'", true);
    check("Patient.name.family.startsWith('O''N') and Patient.name.family.endsWith('-Doe')", true);
    check("Patient.name.family.contains('Neil') and not Patient.name.given.contains('Neil')", true);
    check("Patient.name.given.startsWith('.') or Patient.name.family.startsWith('O.')", false);
    check("Patient.name.given.matches('^A.n$')", true);
    check("Patient.name.family.length() = 10 and Patient.name.given.length() > 2", true);
    check("Patient.name.given.length() > 3", false);
    check("Bundle.entry.resource.ofType(Observation).count() = 2", true);
    check("Bundle.entry.resource.ofType(FHIR.Patient).exists()", true);
    check("Observation.value.ofType(Quantity).value = 140 and Observation.value.as(string) = 'high'", true);
    check("Observation.value.ofType(Range).exists()", false);
    check("Patient.active.not() and Patient.active.exists() and Patient.photo.exists().not()", true);
    check("Patient.deceased.not()", false);
    check("Observation.all(status in ('final' | 'amended')) and Observation.all(subject.exists()).not()", true);
    check("Observation.subject.resolve().name.family = 'O''Neil-Doe'", true);
    check("DiagnosticReport.result.resolve().count() = 2", true);
    check("DiagnosticReport.result.where(resolve().status = 'amended').count() = 1", true);
    check("DiagnosticReport.result.all(resolve().exists())", false);
    check("Observation.exists(value.contains('igh'))", true);
}

#[test]
fn can_be_compiled_to_other_places() {
    struct Table;
    impl super::Facts<usize> for Table {
        fn any(&self, place: &usize, test: &mut dyn FnMut(super::Fact<'_>) -> bool) -> bool {
            test(super::Fact::Text(&(place * 10).to_string()))
        }
    }
    let condition = Condition::parse("CWE.3 = 30 and not CWE.1 = 30").unwrap();
    let compiled = condition.expression().try_map(&mut |place| match place {
        Place::Component(path) => path.component.ok_or(()),
        _ => Err(()),
    });
    assert!(compiled.unwrap().eval(&Table));
    assert_eq!(condition.expression().places().len(), 2);
}

#[test]
fn reads_from_the_configuration() {
    #[derive(serde::Deserialize)]
    struct Row {
        when: Condition,
    }
    let row: Row = serde_json::from_value(serde_json::json!({"when": "PID-8 = 'F'"})).unwrap();
    assert!(row.when.eval(&adt()));
    assert_eq!(serde_json::to_value(&row.when).unwrap(), serde_json::json!("PID-8 = 'F'"));
    let wrong = serde_json::from_value::<Row>(serde_json::json!({"when": "PID-8 = F"})).err().unwrap().to_string();
    assert_eq!(wrong, "text stands in quotes: 'F' (at character 9)");
}

#[test]
fn says_what_to_write_instead() {
    let mut table = String::new();
    for text in [
        "",
        "PID-8",
        "PID-8 =",
        "PID-8 = F",
        "PID-8 == 'F'",
        "PID-8 equals 'F'",
        "PID-8 = 'F' && PID-7 valued",
        "PID-8 = 'F' AND PID-7 valued",
        "PID-8 IN ['F']",
        "PID-8 in 'F'",
        "PID-8 in []",
        "PID-8 in ['F'",
        "(PID-8 = 'F'",
        "PID-8 = 'F",
        "PID-8 = 'F')",
        "PID-8 is empty",
        "PID-8 exists",
        "PID-0 valued",
        "PID-8x valued",
        "PID8 valued",
        "pid-8 valued",
        "CX.0 valued",
        "CX-1 valued",
        "CX.1.2.3 valued",
        "PID-7 > '2000'",
        "PID-7 > 2x",
        "PID-5 matches '('",
        "PID-5 matches F",
        "PID-5 matches '(\\w{99}){99}'",
        "count(PID-3)",
        "count(PID-3) = '2'",
        "count(PID-3 > 1",
        "count PID-3 > 1",
        "Patient.name.given.tail() = 'x'",
        "Patient.name.family.startsWith(1)",
        "Patient.name.count().not()",
        "Patient. = 'x'",
        "Patient.name[x] = 'x'",
        "Patient.where(PID-3 = 'x')",
        "Patient.name.exists().x",
        "not",
        "!PID-8 valued",
        "PID-8 not",
        "'F' = PID-8",
        "PID-8 = 'F' PID-7 valued",
        "PID-8 contains 'F'",
        "ü = 'x'",
        "PID-8 = ü",
        "PID-8 = 99999999999999999999999999 or x.",
    ] {
        let error = Condition::parse(text).unwrap_err();
        table.push_str(&format!(
            "{text}\n{}^ {}\n",
            " ".repeat(text.get(..error.offset).unwrap().chars().count()),
            error.message
        ));
    }
    expect![[r#"

        ^ a path is expected here, such as PID-8, CX.4 or Patient.gender
        PID-8
             ^ a test is missing; to ask whether a value stands there, write `valued`
        PID-8 =
               ^ a value is expected here: text in quotes, or a number
        PID-8 = F
                ^ text stands in quotes: 'F'
        PID-8 == 'F'
              ^ `==` is not known here; did you mean `=`?
        PID-8 equals 'F'
              ^ `equals` is not known here; did you mean `=`?
        PID-8 = 'F' && PID-7 valued
                    ^ `&&` is not known here; did you mean `and`?
        PID-8 = 'F' AND PID-7 valued
                    ^ `AND` is not known here; did you mean `and`?
        PID-8 IN ['F']
              ^ `IN` is not known here; did you mean `in ['…', '…']`?
        PID-8 in 'F'
                 ^ a list is expected, such as ['A', 'B']
        PID-8 in []
                   ^ a value is expected here: text in quotes, or a number
        PID-8 in ['F'
                     ^ a `,` or `]` is missing in the list
        (PID-8 = 'F'
                    ^ a `)` is missing
        PID-8 = 'F
                ^ the closing ' is missing
        PID-8 = 'F')
                   ^ `and`, `or` or the end is expected here
        PID-8 is empty
                 ^ `null` is expected after `is`
        PID-8 exists
              ^ `exists` is not known here; did you mean `valued`?
        PID-0 valued
        ^ `PID-0` is no HL7 path; write it like PID-3[1].4.2
        PID-8x valued
        ^ `PID-8x` is no HL7 path; write it like PID-3[1].4.2
        PID8 valued
        ^ `PID8` is no HL7 path; write it like PID-3[1].4.2
        pid-8 valued
        ^ segments are written in capitals: PID
        CX.0 valued
        ^ `CX.0` is no component; write it like CX.1 or CX.1.2
        CX-1 valued
        ^ `CX-1` is no component; write it like CX.1 or CX.1.2
        CX.1.2.3 valued
        ^ `CX.1.2.3` is no component; write it like CX.1 or CX.1.2
        PID-7 > '2000'
                ^ `<`, `<=`, `>` and `>=` compare with a number, written without quotes
        PID-7 > 2x
                ^ `<`, `<=`, `>` and `>=` compare with a number, written without quotes
        PID-5 matches '('
                      ^ unclosed group
        PID-5 matches F
                      ^ text stands in quotes: 'F'
        PID-5 matches '(\w{99}){99}'
                      ^ the regular expression is too big
        count(PID-3)
                    ^ a test is missing; to ask whether a value stands there, write `valued`
        count(PID-3) = '2'
                     ^ a count or length is compared with numbers: `> 1`, `= 8`, `in [8, 14]`
        count(PID-3 > 1
                    ^ a `)` is missing
        count PID-3 > 1
              ^ one of =, !=, <, <=, >, >=, in, matches, valued, is null is expected here
        Patient.name.given.tail() = 'x'
                           ^ `tail()` is not known here; where(), exists(), empty(), count(), first(), last(), all(), not(), ofType(), resolve(), extension(), contains(), startsWith(), endsWith(), matches() and length() are known
        Patient.name.family.startsWith(1)
                                       ^ text stands in quotes here
        Patient.name.count().not()
                            ^ one of =, !=, <, <=, >, >=, in, matches, valued, is null is expected here
        Patient. = 'x'
                 ^ the name of an element is expected here
        Patient.name[x] = 'x'
                     ^ a number and `]` are expected here
        Patient.where(PID-3 = 'x')
                      ^ within where(), paths begin at each item: where(use = 'official')
        Patient.name.exists().x
                             ^ one of =, !=, <, <=, >, >=, in, matches, valued, is null is expected here
        not
           ^ a path is expected here, such as PID-8, CX.4 or Patient.gender
        !PID-8 valued
        ^ a path is expected here, such as PID-8, CX.4 or Patient.gender
        PID-8 not
              ^ one of =, !=, <, <=, >, >=, in, matches, valued, is null is expected here
        'F' = PID-8
        ^ a path is expected here, such as PID-8, CX.4 or Patient.gender
        PID-8 = 'F' PID-7 valued
                    ^ `and`, `or` or the end is expected here
        PID-8 contains 'F'
              ^ `contains` is not known here; did you mean `matches '…'`?
        ü = 'x'
        ^ a path is expected here, such as PID-8, CX.4 or Patient.gender
        PID-8 = ü
                ^ text stands in quotes: 'ü'
        PID-8 = 99999999999999999999999999 or x.
                                                ^ the name of an element is expected here
    "#]].assert_eq(&table);
}

#[track_caller]
fn refuses(text: &str, expected: Expect) {
    let ConditionError { offset, message } = Condition::parse(text).unwrap_err();
    expected.assert_eq(&format!("{offset}: {message}"));
}

#[test]
fn bounds_depth_and_length() {
    refuses(&"(".repeat(4000), expect!["32: at most 32 parentheses and `not`s stand within each other"]);
    refuses(&"not ".repeat(1000), expect!["128: at most 32 parentheses and `not`s stand within each other"]);
    refuses(&"x.where(".repeat(400), expect!["256: at most 32 parentheses and `not`s stand within each other"]);
    refuses(&"PID-8 valued or ".repeat(1000), expect!["4096: a condition has at most 4096 characters"]);
    let many = format!("{}PID-8 = 'F'", "PID-8 = 'X' or ".repeat(200));
    holds(&many);
}

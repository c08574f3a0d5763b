use bytes::Bytes;
use expect_test::{Expect, expect};

use super::*;
use crate::consent::by_entry::Directive;
use crate::hl7v2::CharsetOptions;

const HEAD: &str =
    "MSH|^~\\&|EMR|RIVERSIDE|ENGINE|EHR|20260301120000+0000||ADT^A31^ADT_A05|M8|P|2.6\rPID|1||P-1^^^RIVERSIDE^MR\r";

fn read(segments: &str, accept_verbal: bool) -> Vec<Arrival> {
    let bytes = Bytes::from(format!("{HEAD}{segments}\r"));
    let (message, _) = Message::read(bytes, &CharsetOptions::default()).unwrap();
    let reading = Reading { zone: &TimeZone::UTC, accept_verbal, system: &|namespace| namespace.to_owned() };
    arrivals(&message, &reading)
}

/// Tells each arrival in a line.
#[track_caller]
fn check(segments: &str, expected: Expect) {
    let told: Vec<String> = read(segments, false)
        .iter()
        .map(|arrival| match arrival {
            Arrival::Bypassed => "bypassed".to_owned(),
            Arrival::Treatment(consent) => format!("{} consent, not kept", consent["scope"]["coding"][0]["code"]),
            Arrival::Rescinded(consent) => format!("rescinded {}", consent["identifier"][0]["value"]),
            Arrival::Consent(consent) => {
                let readable = Directive::read(consent).is_readable();
                let rule = &consent["policyRule"]["coding"][0]["code"];
                format!("{} {rule} {} computable={readable}", consent["status"], consent["provision"])
            }
        })
        .collect();
    expected.assert_eq(&told.join("\n"));
}

#[test]
fn a_refusal_is_an_active_consent_that_denies() {
    check("CON|1|001|||||||||R||20260301", expect![[r#""active" "OPTOUT" {"type":"deny"} computable=true"#]]);
    check("CON|1|001|||||||||A||20260301", expect![[r#""active" "OPTIN" {"type":"permit"} computable=true"#]]);
}

#[test]
fn limits_in_words_wait_for_a_person() {
    check("CON|1|001|||||||Not to my employer||A||20260301", expect![[r#""active" null null computable=false"#]]);
    check("CON|1|001|||||||||L||20260301", expect![[r#""active" null null computable=false"#]]);
    check("CON|1|SITE-7|||||||||A||20260301", expect![[r#""active" null null computable=false"#]]);
}

/// A spoken refusal counts, a spoken permission waits, unless the site takes it.
#[test]
fn what_was_said_and_not_written_permits_nothing() {
    check("CON|1|001||||||||V|A||20260301", expect![[r#""active" null null computable=false"#]]);
    check("CON|1|001||||||||V|R||20260301", expect![[r#""active" "OPTOUT" {"type":"deny"} computable=true"#]]);
    let taken = read("CON|1|001||||||||V|A||20260301", true);
    assert!(matches!(taken.as_slice(), [Arrival::Consent(consent)] if Directive::read(consent).is_readable()));
}

/// A request to restrict without limits in words withholds all; with them it waits for a person.
#[test]
fn a_request_to_restrict_withholds() {
    check("CON|1|110|||||||||A||20260301", expect![[r#""active" "OPTOUT" {"type":"deny"} computable=true"#]]);
    check("CON|1|110|||||||Not my son||A||20260301", expect![[r#""active" null null computable=false"#]]);
    check("CON|1|110|||||||||R||20260301", expect![[r#""active" null null computable=false"#]]);
}

#[test]
fn a_privacy_notice_permits_nothing() {
    check("CON|1|003|||||||||A||20260301", expect![[r#""active" "NOPP" null computable=false"#]]);
}

#[test]
fn says_who_consented_on_which_form() {
    let arrived = read("CON|1|001|FORM-7|C1|||||||A||20260301|||||||||||Doe^Jane|2", false);
    let [Arrival::Consent(consent)] = arrived.as_slice() else { panic!("{arrived:?}") };
    assert_eq!(consent["performer"][0]["display"], "Jane Doe");
    assert_eq!(consent["sourceReference"]["identifier"]["value"], "FORM-7");
    let arrived = read("CON|1|001|||||||||A||20260301||||||||||||1", false);
    let [Arrival::Consent(consent)] = arrived.as_slice() else { panic!("{arrived:?}") };
    assert_eq!(consent["performer"][0], consent["patient"]);
}

#[test]
fn procedures_are_no_privacy_consents() {
    check("CON|1|002|||||||||R||20260301", expect![[r#""treatment" consent, not kept"#]]);
}

#[test]
fn evidence_of_a_bypass_is_no_consent() {
    check("CON|1|001|||||||||B", expect!["bypassed"]);
    check("CON|1|001||F77^RIVERSIDE|||||||X", expect![[r#"rescinded "F77""#]]);
}

#[test]
fn restrictions_are_denials_by_label() {
    check(
        "ARV|1|A|HIV~DRG|PAT",
        expect![[
            r#""active" "OPTIN" {"provision":[{"type":"deny","securityLabel":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"HIV"}]},{"type":"deny","securityLabel":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"SUD"}]}]} computable=true"#
        ]],
    );
    check("ARV|1|A|ALL", expect![[r#""active" "OPTIN" {"provision":[{"type":"deny"}]} computable=true"#]]);
    check("ARV|1|A|OO", expect![[r#""active" "OPTOUT" null computable=true"#]]);
}

#[test]
fn of_two_base_rules_the_narrower_holds_and_one_taken_back_is_none() {
    for codes in ["OO~OI", "OI~OO"] {
        check(&format!("ARV|1|A|{codes}"), expect![[r#""active" "OPTOUT" null computable=true"#]]);
    }
    check("ARV|1|D|OI", expect![[r#""inactive" "OPTIN" null computable=true"#]]);
}

#[test]
fn restrictions_that_say_nothing_are_none() {
    check("ARV|1|X|HIV", expect![""]);
    check("ARV|1|A|NO", expect![""]);
    check("ARV|1|A|42CFRPart2", expect![""]);
}

#[test]
fn restrictions_in_words_wait_for_a_person() {
    check("ARV|1|A||PAT|not my neighbour", expect![[r#""active" null null computable=false"#]]);
    check("ARV|1|A|SITE-X", expect![[r#""active" null null computable=false"#]]);
}

#[test]
fn a_restriction_after_the_visit_is_of_the_visit() {
    check(
        "PV1|1|I|||||||||||||||||V1^^^RIVERSIDE\rARV|1|A|ALL",
        expect![[
            r#""active" "OPTIN" {"provision":[{"type":"deny","data":[{"meaning":"related","reference":{"type":"Encounter","identifier":{"system":"RIVERSIDE","value":"V1"}}}]}]} computable=true"#
        ]],
    );
    check("PV1|1|I\rARV|1|A|ALL", expect![[r#""active" null null computable=false"#]]);
}

use crate::json::json;
use expect_test::{Expect, expect};

use super::*;
use crate::fhir::{Limits, Value, parse};

/// What an XML document becomes, or where and why it is refused.
#[track_caller]
fn check(xml: &str, expected: Expect) {
    let told = match read(xml.as_bytes(), &Limits::default()) {
        Ok(Read { resource, comments: 0 }) => resource.to_string(),
        Ok(Read { resource, comments }) => format!("{resource} and {comments} comments"),
        Err(fault) => fault.to_string(),
    };
    expected.assert_eq(&told);
}

/// Reads a Patient with `body`.
#[track_caller]
fn check_body(body: &str, expected: Expect) {
    check(&format!("<Patient xmlns=\"http://hl7.org/fhir\">{body}</Patient>"), expected);
}

/// There and back again.
#[track_caller]
fn returns(resource: &Value) -> String {
    let xml = write(resource).expect("it has an XML form");
    let back = read(xml.as_bytes(), &Limits::default()).unwrap_or_else(|fault| panic!("{fault}\n{xml}"));
    assert_eq!(back.resource, *resource, "{xml}");
    xml
}

#[test]
fn writes_elements_in_the_order_of_r4_with_all_that_json_has() {
    let resource = r##"{ "resourceType": "Observation", "status": "final", "id": "o1",
        "text": { "status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>a &amp; b<br/></p></div>" },
        "contained": [{ "resourceType": "Patient", "id": "p", "active": false }],
        "subject": { "reference": "#p" }, "code": { "id": "c", "text": "a \"<&>\"\n\tb" },
        "valueQuantity": { "value": 0.010, "_value": { "extension": [{ "url": "http://e.org/x", "valueDecimal": 1.50 }] } },
        "_issued": { "id": "i", "extension": [{ "url": "http://e.org/y", "valueCode": "unknown" }] } }"##;
    let xml = returns(&parse(resource.as_bytes(), &Limits::default()).unwrap());
    expect![[r##"
        <?xml version="1.0" encoding="UTF-8"?>
        <Observation xmlns="http://hl7.org/fhir">
          <id value="o1"/>
          <text>
            <status value="generated"/>
        <div xmlns="http://www.w3.org/1999/xhtml"><p>a &amp; b<br/></p></div>
          </text>
          <contained>
            <Patient>
              <id value="p"/>
              <active value="false"/>
            </Patient>
          </contained>
          <status value="final"/>
          <code id="c">
            <text value="a &quot;&lt;&amp;&gt;&quot;&#10;&#9;b"/>
          </code>
          <subject>
            <reference value="#p"/>
          </subject>
          <issued id="i">
            <extension url="http://e.org/y">
              <valueCode value="unknown"/>
            </extension>
          </issued>
          <valueQuantity>
            <value value="0.010">
              <extension url="http://e.org/x">
                <valueDecimal value="1.50"/>
              </extension>
            </value>
          </valueQuantity>
        </Observation>
    "##]]
    .assert_eq(&xml);
}

#[test]
fn lists_of_primitives_keep_pace_with_their_extensions() {
    returns(&json!({ "resourceType": "Patient", "name": [{ "given": ["A", null, "C"],
        "_given": [null, { "extension": [{ "url": "http://e.org/x", "valueCode": "masked" }] }, { "id": "c" }] }] }));
    returns(&json!({ "resourceType": "Patient", "name": [{
        "_given": [{ "extension": [{ "url": "http://e.org/x", "valueCode": "masked" }] }] }] }));
}

#[test]
fn entries_and_parameters_hold_whole_resources() {
    returns(&json!({ "resourceType": "Bundle", "type": "transaction", "entry": [
        { "fullUrl": "urn:uuid:0190a1c2-0000-7000-8000-000000000001",
          "resource": { "resourceType": "Bundle", "type": "collection", "entry": [{ "resource": { "resourceType": "Patient" } }] },
          "request": { "method": "POST", "url": "Bundle" } }] }));
    returns(&json!({ "resourceType": "Parameters", "parameter": [
        { "name": "a", "resource": { "resourceType": "Patient", "id": "x" } }, { "name": "b", "valueInteger": -5 }] }));
}

#[test]
fn reads_prefixes_other_quotes_and_comments() {
    check(
        "<?xml version='1.0'?><!-- a --><f:Patient xmlns:f='http://hl7.org/fhir' xmlns:h='http://www.w3.org/1999/xhtml' \
         xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xsi:schemaLocation='http://hl7.org/fhir x.xsd'>\
         <f:text><f:status value='empty'/><h:div class='a'>&#233;<h:b>x</h:b><!-- c --></h:div></f:text>\
         <f:active value='true'/><!-- b --></f:Patient>",
        expect![[
            r#"{"resourceType":"Patient","text":{"status":"empty","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\" class=\"a\">&#233;<b>x</b><!-- c --></div>"},"active":true} and 2 comments"#
        ]],
    );
}

#[test]
fn reads_what_is_declared_to_be_in_latin_1_or_utf_16() {
    let text = |encoding: &str| {
        format!(
            "<?xml version=\"1.0\" encoding=\"{encoding}\"?><Patient xmlns=\"http://hl7.org/fhir\"><language value=\"\u{e9}\"/></Patient>"
        )
    };
    let latin: Vec<u8> = text("ISO-8859-1").chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let utf_16: Vec<u8> =
        "\u{feff}".encode_utf16().chain(text("UTF-16").encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for bytes in [latin, utf_16] {
        assert_eq!(read(&bytes, &Limits::default()).unwrap().resource["language"], "\u{e9}");
    }
    assert!(
        read(b"<Patient xmlns=\"http://hl7.org/fhir\"><language value=\"\xe9\"/></Patient>", &Limits::default())
            .is_err()
    );
}

#[test]
fn refuses_what_r4_does_not_know_with_its_place() {
    check("", expect![["there is no element (line 1, column 1)"]]);
    check("<Patient/>", expect![["the element is not in FHIR's namespace, http://hl7.org/fhir (line 1, column 11)"]]);
    check("<Pat xmlns='http://hl7.org/fhir'/>", expect![["this is no resource type of FHIR R4 (line 1, column 35)"]]);
    check_body(
        "<active value='true'/><active value='true'/>",
        expect!["Patient.active: the element does not repeat (line 1, column 82)"],
    );
    check_body(
        "<name><given/></name>",
        expect!["Patient.name[0].given[0]: there is neither a value nor an extension (line 1, column 52)"],
    );
    check_body(
        "<name/><name><nick value='a'/></name>",
        expect!["Patient.name[1]: R4 has no such element here (line 1, column 68)"],
    );
    check_body(
        "<name value='a'/>",
        expect!["Patient.name[0]: there is an attribute that R4 does not know (line 1, column 55)"],
    );
    check_body("<active value='yes'/>", expect!["Patient.active: a boolean is true or false (line 1, column 59)"]);
    check_body(
        "<name>Ann</name>",
        expect!["Patient.name[0]: text stands between elements; FHIR has values in attributes (line 1, column 47)"],
    );
    check_body("<active value='true'>", expect!["Patient.active: this is no well-formed XML (line 1, column 69)"]);
}

#[test]
fn there_are_no_entities_and_no_dtd() {
    check(
        "<!DOCTYPE Patient [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;\">]><Patient xmlns='http://hl7.org/fhir'/>",
        expect![["a document of FHIR has no DTD (line 1, column 75)"]],
    );
    check_body(
        "<language value='&b;'/>",
        expect!["Patient.language: there is an entity that XML does not know (line 1, column 61)"],
    );
    check_body(
        "<text><status value='empty'/><div xmlns='http://www.w3.org/1999/xhtml'>&nbsp;</div></text>",
        expect![
            "Patient.text.div: the narrative has an entity that XML does not know; write the character itself (line 1, column 121)"
        ],
    );
}

#[test]
fn depth_is_bounded() {
    let deep = "<extension url='x'>".repeat(1000) + &"</extension>".repeat(1000);
    let fault = read(format!("<Patient xmlns='http://hl7.org/fhir'>{deep}</Patient>").as_bytes(), &Limits::default());
    assert!(fault.unwrap_err().text.starts_with("elements are nested too deep"));
    let mut value = json!({ "url": "x" });
    for _ in 0..200 {
        value = json!({ "url": "x", "extension": [value] });
    }
    let fault = write(&json!({ "resourceType": "Patient", "extension": [value] })).unwrap_err();
    assert_eq!(fault.text, "elements are nested too deep");
}

/// Where XML has no place for a Patient's element, and why.
#[track_caller]
fn refused(patient: Value, expected: Expect) {
    expected.assert_eq(&write(&patient).unwrap_err().to_string());
}

#[test]
fn refuses_what_xml_has_no_place_for() {
    refused(json!({ "resourceType": "Patient", "nick": 1 }), expect![["Patient.nick: R4 has no such element"]]);
    refused(
        json!({ "resourceType": "Patient", "active": "true" }),
        expect![["Patient.active: a boolean is true or false, without quotation marks"]],
    );
    refused(
        json!({ "resourceType": "Patient", "name": [{ "given": ["a", null] }] }),
        expect![["Patient.name[0].given[1]: there is neither a value nor an extension"]],
    );
    refused(
        json!({ "resourceType": "Patient", "name": [] }),
        expect![["Patient.name: the element repeats, so it is a list, and not an empty one"]],
    );
    refused(
        json!({ "resourceType": "Patient", "id": "\u{1}" }),
        expect![["Patient.id: the value has a control character, which XML cannot hold"]],
    );
    refused(
        json!({ "resourceType": "Patient", "text": { "status": "empty", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p></div>" } }),
        expect![["Patient.text.div: the narrative is no well-formed XML"]],
    );
}

proptest::proptest! {
    #[test]
    fn no_bytes_break_the_reader(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        drop(read(&bytes, &Limits::default()));
    }

    #[test]
    fn any_text_returns(text in "\\PC{1,40}", decimal in "-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,12})?([eE][+-]?[0-9]{1,3})?") {
        let quantity = format!("{{\"value\":{decimal}}}");
        let quantity: Value = serde_json::from_str::<serde_json::Value>(&quantity).unwrap().into();
        let text = format!(" {text}\t\r\n\u{85}");
        returns(&json!({ "resourceType": "Observation", "valueQuantity": quantity, "code": { "text": text } }));
    }
}

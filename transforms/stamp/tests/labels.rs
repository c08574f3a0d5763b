//! What HL7 v2 fields say of how to handle data (the consent vectors' CV-097 to CV-103 among them).

use expect_test::{Expect, expect};

use super::{received_hl7v2, stamper};

/// The flags and findings of a message with `segments` after its MSH.
#[track_caller]
fn check(segments: &str, expected: Expect) {
    check_header("|", segments, expected);
}

/// The same with `security` as MSH-8 and the separator after it.
#[track_caller]
fn check_header(security: &str, segments: &str, expected: Expect) {
    let text =
        format!("MSH|^~\\&|EMR|RIVERSIDE|||20260301120000+0000|{security}ADT^A08^ADT_A01|M6|P|2.9\r{segments}\r");
    let message = stamper().stamp(received_hl7v2(&text), super::now()).unwrap();
    let flags = &message.flags;
    let mut line = flags.confidentiality.code().to_owned();
    flags.refrain.iter().for_each(|code| line += &format!(" {code}"));
    if let Some(purposes) = &flags.purposes {
        line += &format!(" only {purposes:?}");
    }
    message.findings.iter().for_each(|finding| line += &format!(", see {}", finding.location));
    expected.assert_eq(&line);
}

fn orc(code: &str) -> String {
    format!("ORC|RE|PL1|FL1{}{code}", "|".repeat(25))
}

#[test]
fn of_a_plain_message_say_nothing() {
    check("PID|1||P-1001", expect!["N"]);
}

#[test]
fn of_the_header_hold_for_all() {
    check_header("R|", "PID|1", expect!["R"]);
    check_header("SECURITY|", "PID|1", expect!["N, see MSH-8"]);
}

#[test]
fn of_an_order_raise_it() {
    check(&orc("R^Restricted^HL70177"), expect!["R"]);
    check(&orc("V"), expect!["V"]);
    check(&orc("HIV"), expect!["R"]);
    check(&orc("EMP"), expect!["N"]);
    check(&orc("odd"), expect!["R, see ORC-28"]);
}

/// Table 0177's U is "usual control", v3's is "unrestricted".
#[test]
fn of_usual_control_are_normal() {
    check(&orc("U"), expect!["N"]);
}

#[test]
fn of_protection_raise() {
    check("PD1||||||||||||Y", expect!["R"]);
    check("PD1||||||||||||N", expect!["N"]);
    check(&format!("PV2{}Y", "|".repeat(22)), expect!["R"]);
    check(&format!("DG1|1||E11{}Y", "|".repeat(15)), expect!["R"]);
    check(&format!("NK1|1{}Y", "|".repeat(22)), expect!["R"]);
}

#[test]
fn of_a_vip_raise_unless_they_say_no() {
    check("PV1|1|I||||||||||||||VIP^Celebrity^LOCAL", expect!["R"]);
    check("PV1|1|I||||||||||||||N", expect!["N"]);
}

#[test]
fn of_a_document_raise_it() {
    check(&format!("TXA|1{}UC", "|".repeat(17)), expect!["N"]);
    check(&format!("TXA|1{}VR", "|".repeat(17)), expect!["V"]);
    check(&format!("TXA|1{}2", "|".repeat(17)), expect!["R, see TXA-18"]);
}

#[test]
fn of_access_restrictions_restrict_all() {
    check("PID|1\rARV|1|A^Add^HL70206|HIV^HIV status and results^HL70717|PAT", expect!["R"]);
    check("PID|1\rARV|1|A|ALL", expect!["R NOAUTH"]);
    check("PID|1\rARV|1|A|OPTOUTE", expect![[r#"R only {Purpose("ETREAT")}"#]]);
    check("PID|1\rARV|1|A|42CFRPart2", expect!["R NORDSCLCD"]);
    check("PID|1\rARV|1|A|HIPAASelfPay", expect!["R"]);
    check("PID|1\rARV|1|A|NO", expect!["N"]);
    check("PID|1\rARV|1|A|odd", expect!["R, see ARV-3"]);
    check("PID|1\rARV|1|A|||only my doctor", expect!["R NOAUTH, see ARV-5"]);
}

#[test]
fn of_access_restrictions_end_with_their_deletion() {
    check("PID|1\rARV|1|D|ALL", expect!["N"]);
}

#[test]
fn of_refused_consents_hold() {
    check("CON|1|001|||||||||R", expect!["N NOAUTH"]);
    check("CON|1|001|||||||||A", expect!["N"]);
    check("CON|1|001|||||||not to my employer||A", expect!["N NOAUTH, see CON-9"]);
    check("CON|1|057|||||||||R", expect!["R"]);
}

/// A consent to a procedure says nothing of privacy.
#[test]
fn of_refused_procedures_say_nothing() {
    check("CON|1|002|||||||||R", expect!["N"]);
}

#[test]
fn of_handling_instructions_are_taken_over() {
    let text = |code: &str| {
        format!("MSH|^~\\&|EMR|RIVERSIDE|||20260301120000+0000||ADT^A08|M6|P|2.9{}R|{code}\r", "|".repeat(14))
    };
    let flags = stamper().flags_of(&received_hl7v2(&text("NORDSCLCD~CPLYCD")));
    assert_eq!(flags.confidentiality.code(), "R");
    assert_eq!(flags.refrain.iter().collect::<Vec<_>>(), ["NORDSCLCD"]);
}

//! What we answer, by mode, version, delimiters and character set.

use expect_test::{Expect, expect};
use jiff::tz::TimeZone;

use super::{Acknowledgment, Phase, Stamp, acknowledge};
use crate::hl7v2::Header;
use crate::hl7v2::charset::Form;
use crate::{Answer, Fault, MessageId};

fn stamp() -> Stamp {
    let now = "2024-03-01T12:30:05Z".parse().unwrap();
    Stamp {
        now,
        zone: TimeZone::fixed(jiff::tz::offset(-6)),
        control_id: "018df4b2-7c3a-7000-8000-0000000000ab".into(),
    }
}

fn id() -> MessageId {
    "018df4b2-7c3a-7000-8000-000000000001".parse().unwrap()
}

fn invalid() -> Answer {
    Fault::new(101, "PID[1]-3[2].4".to_owned(), "an identifier without an authority | see the manual").into()
}

fn unavailable() -> Answer {
    Answer::Unavailable { reason: "the disk is nearly full".into(), retry_after: None }
}

fn shown(bytes: Option<bytes::Bytes>) -> String {
    bytes.map_or_else(|| "nothing\n".to_owned(), |bytes| String::from_utf8_lossy(&bytes).replace('\r', "\n"))
}

#[track_caller]
fn check(frame: &str, answer: &Answer, phase: Phase, expected: Expect) {
    expected.assert_eq(&shown(acknowledge(frame.as_bytes(), answer, phase, &stamp())));
}

const ADT: &str = "MSH|^~\\&|REG^1.2.3^ISO|ST MARY|HUB|EHR|20240301063000||ADT^A01^ADT_A01|MSG1|P|2.5.1||||||UNICODE UTF-8||\
|PROFILE^HL7\rPID|1\r";

#[test]
fn accepts_in_original_mode() {
    check(
        ADT,
        &Answer::Stored(id()),
        Phase::Original,
        expect![[r#"
        MSH|^~\&|HUB|EHR|REG^1.2.3^ISO|ST MARY|20240301063005-0600||ACK^A01^ACK|00-8000-0000000000ab|P|2.5.1||||||UNICODE UTF-8|||PROFILE^HL7
        MSA|AA|MSG1
    "#]],
    );
}

#[test]
fn says_where_an_error_is_since_version_2_5() {
    check(
        ADT,
        &invalid(),
        Phase::Original,
        expect![[r#"
        MSH|^~\&|HUB|EHR|REG^1.2.3^ISO|ST MARY|20240301063005-0600||ACK^A01^ACK|00-8000-0000000000ab|P|2.5.1||||||UNICODE UTF-8|||PROFILE^HL7
        MSA|AE|MSG1
        ERR||PID^1^3^2^4|101^Required field missing^HL70357|E||||an identifier without an authority \F\ see the manual
    "#]],
    );
}

#[test]
fn says_where_an_error_is_in_the_form_of_version_2_3() {
    check(
        "MSH|^~\\&|A|B|C|D|||ADT^A01|7|P|2.3\r",
        &invalid(),
        Phase::Original,
        expect![[r#"
        MSH|^~\&|C|D|A|B|20240301063005-0600||ACK^A01|00-8000-0000000000ab|P|2.3
        MSA|AE|7|an identifier without an authority \F\ see the manual
        ERR|PID^1^3^101&Required field missing&HL70357
    "#]],
    );
}

#[test]
fn names_no_event_before_version_2_3() {
    check(
        "MSH|^~\\&|A|B|C|D|||ADT^A01|7|P|2.2\r",
        &Answer::Stored(id()),
        Phase::Original,
        expect![[r#"
        MSH|^~\&|C|D|A|B|20240301063005-0600||ACK|00-8000-0000000000ab|P|2.2
        MSA|AA|7
    "#]],
    );
}

/// Versions since 2.7 allow a longer MSH-10, and have no MSA-3.
#[test]
fn keeps_a_long_control_id_since_version_2_7() {
    let answer = Answer::Done(id(), Some("done".into()));
    check(
        "MSH|^~\\&#|A|B|C|D|||ADT^A01|7|P|2.7\r",
        &answer,
        Phase::Original,
        expect![[r#"
        MSH|^~\&#|C|D|A|B|20240301063005-0600||ACK^A01^ACK|018df4b2-7c3a-7000-8000-0000000000ab|P|2.7
        MSA|AA|7
    "#]],
    );
}

#[test]
fn passes_on_what_the_destination_said() {
    let answer = Answer::Done(id(), Some("created^ok".into()));
    check(
        "MSH|^~\\&|A|B|C|D|||ADT^A01|7|P|2.5.1\r",
        &answer,
        Phase::Original,
        expect![[r#"
        MSH|^~\&|C|D|A|B|20240301063005-0600||ACK^A01^ACK|00-8000-0000000000ab|P|2.5.1
        MSA|AA|7|created\S\ok
    "#]],
    );
}

/// Their delimiters, and MSA-2 byte for byte.
#[test]
fn answers_in_the_delimiters_of_the_sender() {
    let fault = Fault::new(102, "byte 812".to_owned(), "a|b!c$d").into();
    check(
        "MSH!$*@%!A$1!B!C!D!!!ADT$A01!4@F@2 !T!2.5\r",
        &fault,
        Phase::Original,
        expect![[r#"
        MSH!$*@%!C!D!A$1!B!20240301063005-0600!!ACK$A01$ACK!00-8000-0000000000ab!T!2.5
        MSA!AE!4@F@2 
        ERR!!!102$Data type error$HL70357!E!!!byte 812!a|b@F@c@S@d
    "#]],
    );
}

#[test]
fn answers_bytes_without_any_header() {
    let fault = crate::hl7v2::check(&Header::read(b"hello\xFF")).unwrap_err().into();
    check(
        "hello",
        &fault,
        Phase::Original,
        expect![[r#"
        MSH|^~\&|||||20240301063005-0600||ACK^^ACK|00-8000-0000000000ab|P|2.5.1
        MSA|AE
        ERR||MSH^1|100^Segment sequence error^HL70357|E||||there is no MSH segment; a message begins with one
    "#]],
    );
}

#[test]
fn rejects_what_it_does_not_speak() {
    let frame = "MSH|^~\\&|||||||ADT^A01|42|P|9.9\r";
    let answer = crate::hl7v2::check(&Header::read(frame.as_bytes())).unwrap_err().into();
    check(
        frame,
        &answer,
        Phase::Original,
        expect![[r#"
        MSH|^~\&|||||20240301063005-0600||ACK^A01^ACK|00-8000-0000000000ab|P|2.5.1
        MSA|AR|42
        ERR||MSH^1^12|203^Unsupported version id^HL70357|E||||this version of HL7 is not supported; versions 2.1 to 2.9.1 are
    "#]],
    );
}

/// HL7 v2.5.1 §2.9.3: MSH-15 and MSH-16 say which acknowledgments are wanted, and when.
#[test]
fn answers_in_enhanced_mode_as_asked() {
    let mut table = String::new();
    for (fifteen, sixteen) in
        [("AL", "NE"), ("AL", "AL"), ("NE", "NE"), ("ER", "SU"), ("SU", "ER"), ("", "AL"), ("AL", "")]
    {
        let frame = format!("MSH|^~\\&|A|B|C|D|||ADT^A01|7|P|2.5|||{fifteen}|{sixteen}\rEVN\r");
        let code = |answer: &Answer, phase| {
            let bytes = acknowledge(frame.as_bytes(), answer, phase, &stamp());
            bytes.map_or("--", |bytes| Acknowledgment::read(&bytes).unwrap().code.code())
        };
        table.push_str(&format!("{fifteen:2} {sixteen:2}:"));
        for answer in [&Answer::Stored(id()), &invalid(), &unavailable()] {
            table.push_str(&format!(" {} {},", code(answer, Phase::Accept), code(answer, Phase::Application)));
        }
        table.push('\n');
    }
    expect![[r#"
        AL NE: CA --, CE --, CE --,
        AL AL: CA AA, CE AE, CE AR,
        NE NE: -- --, -- --, -- --,
        ER SU: -- AA, CE --, CE --,
        SU ER: CA --, -- AE, -- AR,
           AL: -- AA, -- AE, -- AR,
        AL   : CA --, CE --, CE --,
    "#]]
    .assert_eq(&table);
}

#[test]
fn asks_for_no_acknowledgment_of_its_own_in_enhanced_mode() {
    check(
        "MSH|^~\\&|A|B|C|D|||ADT^A01|7|P|2.5|||AL|NE\r",
        &unavailable(),
        Phase::Accept,
        expect![[r#"
        MSH|^~\&|C|D|A|B|20240301063005-0600||ACK^A01^ACK|00-8000-0000000000ab|P|2.5|||NE|NE
        MSA|CE|7
        ERR|||207^Application internal error^HL70357|E||||the message cannot be taken now, send it again later: the disk is nearly full
    "#]],
    );
}

#[test]
fn never_acknowledges_an_acknowledgment() {
    for frame in [
        "MSH|^~\\&|A|B|C|D|||ACK^A01|7|P|2.5\rMSA|AA|1\r",
        "MSH|^~\\&|A|B|C|D|||ACK|7|P|2.5|||AL|AL\rMSA|AA|1\r",
        "MSH|^~\\&|A|B|C|D|||MCF|7|P|2.3\rMSA|AA|1\r",
    ] {
        for phase in [Phase::Original, Phase::Accept, Phase::Application] {
            assert_eq!(acknowledge(frame.as_bytes(), &Answer::Stored(id()), phase, &stamp()), None, "{frame}");
        }
    }
}

/// Its sender waits to hear that it was taken, as of any other message.
#[test]
fn acknowledges_a_response_that_is_more_than_an_acknowledgment() {
    let frame = b"MSH|^~\\&|A|B|C|D|||ORR^O02|7|P|2.5\rMSA|AA|1\r";
    let ack = acknowledge(frame, &Answer::Stored(id()), Phase::Original, &stamp()).unwrap();
    assert!(ack.ends_with(b"\rMSA|AA|7\r"));
}

#[test]
fn answers_utf_16_in_utf_16() {
    for form in [Form::Utf16Le, Form::Utf16Be, Form::Utf32Le, Form::Utf32Be] {
        for mark in ["", "\u{FEFF}"] {
            let frame = form.encode(&format!("{mark}MSH|^~\\&|Zürich|B|C|D|||ADT^A01|Ж7|P|2.5\rPID|1\r"));
            let ack = acknowledge(&frame, &Answer::Stored(id()), Phase::Original, &stamp()).unwrap();
            let (text, wrong) = form.decode(&ack);
            assert_eq!(wrong, None);
            assert!(text.starts_with(&format!("{mark}MSH|^~\\&|C|D|Zürich|B|")), "{form:?} {text}");
            assert!(text.ends_with("\rMSA|AA|Ж7\r"), "{form:?} {text}");
            assert!(Acknowledgment::read(&ack).unwrap().answers(&Header::read(&frame)));
        }
    }
}

#[test]
fn returns_the_bytes_of_an_unknown_character_set() {
    let frame = b"MSH|^~\\&|M\xFCnster|B|C|D|||ADT^A01|\xE97|P|2.4||||||8859/1\r";
    let ack = acknowledge(frame, &Answer::Stored(id()), Phase::Original, &stamp()).unwrap();
    assert!(ack.windows(9).any(|w| w == b"|M\xFCnster|"));
    assert!(ack.ends_with(b"\rMSA|AA|\xE97\r"));
}

#[track_caller]
fn reads(answer: &str, expected: Expect) {
    let shown = match Acknowledgment::read(answer.as_bytes()) {
        Ok(ack) => format!("{} | id {} | text {:?}", ack.summary(), ack.control_id, ack.text.unwrap_or_default()),
        Err(fault) => fault.to_string(),
    };
    expected.assert_eq(&shown);
}

#[test]
fn reads_what_receivers_answer() {
    reads("MSH|^~\\&|||||||ACK|1|P|2.3\rMSA|AA|42\r", expect![[r#"AA | id 42 | text """#]]);
    reads(
        "\x0BMSH|^~\\&|||||||ACK|1|P|2.3\nMSA| AE |42|no \\T\\ such\n\x1C\r",
        expect![[r#"AE | id 42 | text "no & such""#]],
    );
    reads(
        "MSH|^~\\&|||||||ACK|1|P|2.5\rMSA|CR|42\rERR||PID^1^3^2^4|101^Missing^HL70357|E||||who is Doe?\r",
        expect![[r#"CR 101 at PID[1]-3[2].4 | id 42 | text "who is Doe?""#]],
    );
    reads(
        "MSH|^~\\&|||||||ACK|1|P|2.3\rMSA|AE|42\rERR|PID^1^5^103&Doe&HL70357\r",
        expect![[r#"AE 103 at PID[1]-5 | id 42 | text """#]],
    );
    reads("MSA|AR|42|without a header", expect![[r#"AR | id 42 | text "without a header""#]]);
}

#[test]
fn says_what_is_wrong_with_an_answer() {
    reads("", expect!["MSA: the answer has no MSA segment"]);
    reads(
        "MSH|^~\\&|\rMSA|OK|42\r",
        expect!["MSA-1: the answer's code is none of AA, AE, AR, CA, CE and CR (table 0008)"],
    );
}

#[test]
fn matches_an_answer_to_its_message_alone() {
    let sent = Header::read(b"MSH|^~\\&|||||||ADT^A01|a\\S\\b|P|2.5\r");
    let matches = |answer: &str| Acknowledgment::read(answer.as_bytes()).unwrap().answers(&sent);
    assert!(matches("MSH|^~\\&|||||||ACK|1|P|2.5\rMSA|AA|a\\S\\b\r"));
    assert!(matches("MSH|!~\\&|||||||ACK|1|P|2.5\rMSA|AA|a^b\r"));
    assert!(!matches("MSH|^~\\&|||||||ACK|1|P|2.5\rMSA|AA|a\r"));
    assert!(!matches("MSH|^~\\&|||||||ACK|1|P|2.5\rMSA|AA|\r"));
}

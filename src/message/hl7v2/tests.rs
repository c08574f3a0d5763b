//! Reading: delimiters, segments, fields, paths, escape sequences.

use bytes::Bytes;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::escape::{escape, unescape};
use super::{CharsetOptions, Delimiters, Header, Message, Path, check, place_of};

fn read(text: &str) -> Message {
    Message::read(Bytes::copy_from_slice(text.as_bytes()), &CharsetOptions::default()).unwrap().0
}

#[track_caller]
fn names(text: &str, expected: Expect) {
    let message = read(text);
    let shown: Vec<_> = message.segments().map(|segment| format!("{}:{:?}", segment.name(), segment.text())).collect();
    expected.assert_eq(&shown.join("\n"));
}

#[test]
fn segments_end_with_cr_lf_or_both() {
    for end in ["\r", "\n", "\r\n", "\r\r", " \r\n\n"] {
        let message = read(&["MSH|^~\\&|A", "PV1", "ZX1|x", "zx|y", "OBX|1|é"].join(end));
        let found: Vec<_> = message.segments().map(|segment| segment.name().to_owned()).collect();
        assert_eq!(found, ["MSH", "PV1", "ZX1", "zx", "OBX"], "{end:?}");
    }
}

#[test]
fn passes_over_framing_and_blanks() {
    names(
        "\u{B}\u{FEFF}\r\n \r\nMSH|^~\\&|A\r\n\r\n  PID|1 \r\u{1C}\r",
        expect![[r#"
        MSH:"MSH|^~\\&|A"
        PID:"PID|1 ""#]],
    );
}

#[test]
fn keeps_line_breaks_in_values_and_says_so() {
    let bytes = Bytes::from_static(b"MSH|^~\\&|A\rOBX|1\rOBX|2|TX|||one\n\n two: 3|4\n\rOBX|3\r");
    let (message, findings) = Message::read(bytes, &CharsetOptions::default()).unwrap();
    assert_eq!(message.get(&"OBX[2]-5".parse().unwrap()), Some("one\n\n two: 3"));
    assert_eq!(message.segments().len(), 4);
    let shown: Vec<_> = findings.iter().map(|finding| format!("{}: {}", finding.location, finding.text)).collect();
    assert_eq!(shown, ["OBX[2]: a line break stands in a value; it was kept"]);
}

#[track_caller]
fn delimiters(header: &str, expected: Expect) {
    expected.assert_eq(&match Delimiters::read(header.as_bytes()) {
        Ok(delimiters) => format!("{} {}", char::from(delimiters.field), delimiters.encoding_characters()),
        Err(fault) => fault.to_string(),
    });
}

#[test]
fn reads_any_delimiters() {
    delimiters("MSH|^~\\&|A", expect![[r#"| ^~\&"#]]);
    delimiters("MSH|^~\\&#|A", expect![[r#"| ^~\&#"#]]);
    delimiters("MSH!@$%*!A", expect!["! @$%*"]);
    delimiters("MSH|^|A", expect!["| ^~"]);
    delimiters("MSH|^~ &|A", expect!["| ^~ &"]);
    delimiters("MSH|^~\\\\&|A", expect![[r#"| ^~\&"#]]);
    delimiters("MSH|^~\\\\&#|A", expect![[r#"| ^~\&#"#]]);
}

#[test]
fn refuses_delimiters_that_cannot_be_told_apart() {
    for header in ["MSH", "MSHA^~\\&", "MSH ^~\\& ", "MSH||A", "MSH|&&&&|", "MSH|^~\\&#!|", "MSH|^~\\A|", "MSH|^~^&|"] {
        let fault = Delimiters::read(header.as_bytes()).unwrap_err();
        assert!(matches!(fault.location.as_deref(), Some("MSH-1" | "MSH-2")), "{header}");
        assert!(Message::read(Bytes::from(header), &CharsetOptions::default()).is_err(), "{header}");
    }
}

#[test]
fn counts_fields_as_hl7_does() {
    let message = read("MSH|^~\\&|A^B|C\rPID|1||a~b^c&d^\\T\\~|\"\"||\r");
    let msh = message.segment("MSH").unwrap();
    assert_eq!([1, 2, 3, 4, 5].map(|n| msh.field(n).text()), ["|", "^~\\&", "A^B", "C", ""]);
    assert_eq!(
        msh.fields().map(|(n, field)| format!("{n}={}", field.text())).collect::<Vec<_>>().join(" "),
        "1=| 2=^~\\& 3=A^B 4=C"
    );
    assert_eq!(msh.field(2).component(1).value(), "^~\\&");
    let pid = message.segment("PID").unwrap();
    assert_eq!([0, 1, 2, 3, 9].map(|n| pid.field(n).text()), ["", "1", "", "a~b^c&d^\\T\\~", ""]);
    let field = pid.field(3);
    assert_eq!(field.repetitions().map(|r| r.text()).collect::<Vec<_>>(), ["a", "b^c&d^\\T\\", ""]);
    assert_eq!(field.repetition(2).component(2).subcomponent(2).text(), "d");
    assert_eq!(field.repetition(2).component(3).value(), "&");
    assert_eq!(field.component(1).text(), "a");
    assert_eq!((pid.field(4).is_null(), pid.field(4).is_valued(), pid.field(4).is_empty()), (true, false, false));
    assert!(!read("MSH|^~\\&|^&~^").segment("MSH").unwrap().field(3).is_valued());
}

#[test]
fn finds_values_by_path() {
    let message = read("MSH|^~\\&|A\rOBX|1||x^y&z~w\rOBX|2||v\r");
    for (path, expected) in [
        ("OBX-3", Some("x^y&z~w")),
        ("OBX-3[2]", Some("w")),
        ("OBX-3.2", Some("y&z")),
        ("OBX.3.2.2", Some("z")),
        ("OBX[2]-3", Some("v")),
        ("OBX[3]-3", None),
        ("OBX-3[3]", None),
        ("OBX-9", None),
        ("ZZZ-1", None),
        ("OBX", Some("OBX|1||x^y&z~w")),
        ("MSH-1", Some("|")),
        ("MSH-2", Some("^~\\&")),
        ("MSH-2.1", Some("^~\\&")),
    ] {
        assert_eq!(message.get(&path.parse().unwrap()), expected, "{path}");
    }
    for path in [
        "",
        "PI-3",
        "PID-",
        "PID-0",
        "PID[0]-3",
        "PID-3[]",
        "PID-3.4.5.6",
        "pid-3",
        "PID-3[1",
        "PID-99999999999999999999",
    ] {
        assert!(path.parse::<Path>().is_err(), "{path}");
    }
    assert_eq!("PID[2].3[1].4.5".parse::<Path>().unwrap().to_string(), "PID[2]-3[1].4.5");
}

#[track_caller]
fn unescapes(text: &str, expected: &str) {
    assert_eq!(unescape(text, Delimiters::default()), expected);
}

#[test]
fn undoes_escape_sequences_once() {
    unescapes("a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f\\P\\g", "a|b^c&d~e\\f#g");
    unescapes("\\E\\T\\E\\", "\\T\\");
    unescapes("\\X41C3A9\\ \\X0D0A\\", "Aé \r\n");
    unescapes("one\\.br\\two", "one\ntwo");
    unescapes("日本\\T\\語", "日本&語");
}

#[test]
fn keeps_what_is_no_sequence_of_text() {
    for text in [
        "50% \\ off",
        "C:\\dir",
        "\\H\\bold\\N\\",
        "\\.in+4\\",
        "\\Zx\\F\\",
        "\\XZZ\\",
        "\\X4\\",
        "\\XFF\\",
        "\\",
        "\\\\",
        "\\C2842\\",
    ] {
        unescapes(text, text);
    }
    unescapes("50% \\ off \\T\\ more", "50% \\ off & more");
    let none = Delimiters { escape: None, ..Delimiters::default() };
    assert_eq!(unescape("\\T\\", none), "\\T\\");
}

#[test]
fn tells_the_place_of_a_byte() {
    let message = b"MSH|^~\\&|A|B\rPID|1|x\rOBX|1\rOBX|2||text\nmore|last";
    let at =
        |needle: &str| place_of(message, message.windows(needle.len()).position(|w| w == needle.as_bytes()).unwrap());
    assert_eq!(
        ["A|B", "B\r", "x\r", "text", "more", "last"].map(at),
        ["MSH[1]-3", "MSH[1]-4", "PID[1]-2", "OBX[2]-3", "OBX[2]-3", "OBX[2]-4"]
    );
    assert_eq!(place_of(b"nothing", 3), "byte 3");
    assert_eq!(place_of(b"", 3), "byte 3");
}

#[track_caller]
fn checked(frame: &str, expected: Expect) {
    let header = Header::read(frame.as_bytes());
    expected.assert_eq(&check(&header).map_or_else(
        |fault| format!("{} {} {}", if fault.is_unsupported() { "unsupported" } else { "invalid" }, fault.code, fault),
        |()| format!("{} {} {}", header.kind(), header.control_id(), header.sender()),
    ));
}

#[test]
fn checks_headers_before_anything_else() {
    checked("MSH|^~\\&|APP^1|FAC|||2024||ADT^A01^ADT_A01|42|P^T|2.5.1^USA", expect!["ADT^A01 42 APP^1|FAC"]);
    checked("\u{B}\r\nMSH|^~\\&|||||||ORU|42||", expect!["ORU 42 |"]);
    checked(
        "MSH|^~\\&|||||||ADT^A01|42|P|2.9.2",
        expect!["unsupported 203 MSH-12: this version of HL7 is not supported; versions 2.1 to 2.9.1 are"],
    );
    checked(
        "MSH|^~\\&|||||||ADT^A01|42|X|2.5",
        expect!["unsupported 202 MSH-11: this processing id is not supported; P, T and D are (table 0103)"],
    );
    checked(
        "MSH|^~\\&|||||||^A01|42|P|2.5",
        expect!["unsupported 200 MSH-9.1: the message type is missing; write it like ADT^A01"],
    );
    checked(
        "MSH|^~\\&|||||||adt^A01|42|P|2.5",
        expect!["unsupported 200 MSH-9.1: this is no message type of table 0076, such as ADT or ORU"],
    );
    checked(
        "MSH|^~\\&|||||||ADT^A01||P|2.5",
        expect!["invalid 101 MSH-10: the message control id is missing; without it no acknowledgment can be matched"],
    );
    checked(
        "MSH|^~\\&|||||||ADT^A01|\"\"|P|2.5",
        expect!["invalid 101 MSH-10: the message control id is missing; without it no acknowledgment can be matched"],
    );
    checked("MSH|^~\\&|||||||ADT^A01||P|2.5|||NE|NE", expect!["ADT^A01  |"]);
    checked("MSH||||", expect![[r#"invalid 102 MSH-2: one to five encoding characters are expected, such as ^~\&"#]]);
    checked(
        "PID|1\rMSH|^~\\&|||||||ADT^A01|42|P|2.5",
        expect!["invalid 100 MSH: something stands before the MSH segment; a message begins with it"],
    );
    checked(
        "BHS|^~\\&\rMSH|^~\\&|||||||ADT^A01|42|P|2.5",
        expect!["invalid 100 MSH: a batch (FHS, BHS) stands where a single message is expected"],
    );
    checked("MSHX|", expect!["invalid 100 MSH: there is no MSH segment; a message begins with one"]);
    checked("", expect!["invalid 100 MSH: there is no MSH segment; a message begins with one"]);
}

/// All versions of table 0104 that HL7 has published.
#[test]
fn speaks_all_versions() {
    for version in [
        "2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2", "2.9",
        "2.9.1",
    ] {
        let header = Header::read(format!("MSH|^~\\&|||||||ADT^A01|42|P|{version}").as_bytes());
        assert_eq!(check(&header), Ok(()));
        assert_eq!(header.version().unwrap().to_string(), version);
    }
}

fn any_delimiters() -> impl Strategy<Value = Delimiters> {
    Just(b"|^~\\&#!$%*+:;=?@".to_vec()).prop_shuffle().prop_map(|marks| Delimiters {
        field: marks[0],
        component: marks[1],
        repetition: marks[2],
        escape: Some(marks[3]),
        subcomponent: Some(marks[4]),
        truncation: Some(marks[5]).filter(|b| b.is_ascii_punctuation() && *b > b'%'),
    })
}

proptest! {
    #[test]
    fn undoes_what_it_escaped(text in "([|^~\\\\&#!$é\r\n\t]|\\PC){0,20}", delimiters in any_delimiters()) {
        let escaped = escape(&text, delimiters);
        let special = [Some(delimiters.field), Some(delimiters.component), Some(delimiters.repetition), delimiters.subcomponent];
        let outside: String = escaped.split(char::from(delimiters.escape.unwrap())).step_by(2).collect();
        prop_assert!(!special.into_iter().flatten().any(|b| outside.contains(char::from(b))));
        prop_assert_eq!(unescape(&escaped, delimiters), text.as_str());
    }

    /// A message is its segments joined, a segment its fields, a field its repetitions, and so on down.
    #[test]
    fn parts_join_to_the_whole(segments in prop::collection::vec("([FB]HS|[A-Z][A-Z0-9]{2})(\\|([a-z^~&\\\\é]{0,6})){0,5}", 0..6)) {
        let text = format!("MSH|^~\\&|A\r{}", segments.join("\r"));
        let message = read(&text);
        let joined: Vec<_> = message.segments().map(|segment| {
            // Their first field is the separator, their second the other delimiters.
            let is_header = ["MSH", "FHS", "BHS"].contains(&segment.name());
            let fields = segment.fields().filter(|(n, _)| !is_header || *n > 1).map(|(n, field)| {
                prop_assert_eq!(segment.field(n).text(), field.text());
                if is_header && n == 2 {
                    return Ok(field.text().to_owned());
                }
                let repetitions: Vec<String> = field.repetitions().map(|repetition| {
                    let components = repetition.components().map(|component| {
                        component.subcomponents().map(|sub| sub.text()).collect::<Vec<_>>().join("&")
                    });
                    components.collect::<Vec<_>>().join("^")
                }).collect();
                Ok(repetitions.join("~"))
            });
            let fields = fields.collect::<Result<Vec<_>, TestCaseError>>()?;
            Ok(std::iter::once(segment.name().to_owned()).chain(fields).collect::<Vec<_>>().join("|"))
        }).collect::<Result<_, TestCaseError>>()?;
        prop_assert_eq!(joined.join("\r"), text.trim_end_matches('\r'));
    }
}

//! Names, bytes and policies.

use bytes::Bytes;
use expect_test::{Expect, expect};

use super::{Charset, CharsetOptions, Form, Undecodable};
use crate::hl7v2::{Header, Message};

#[test]
fn knows_the_names_of_table_0211_and_what_people_write() {
    let mut table = String::new();
    for name in [
        "ASCII",
        "8859/1",
        "8859/2",
        "8859/9",
        "8859/15",
        "8859/12",
        "ISO IR6",
        "ISO IR14",
        "ISO IR87",
        "ISO IR159",
        "GB 18030-2000",
        "KS X 1001",
        "CNS 11643-1992",
        "BIG-5",
        "UNICODE",
        "UNICODE UTF-8",
        "UNICODE UTF-16",
        "UNICODE UTF-32",
        "UTF8",
        "utf-8",
        "UTF-8",
        "8859-1",
        "ISO8859-1",
        "iso-8859-15",
        "ISO_8859-1",
        "LATIN1",
        "Latin-1",
        "windows-1252",
        "CP1252",
        "win1251",
        "ISO_IR 100",
        "ISO_IR 192",
        "Shift_JIS",
        "koi8-r",
        "",
        "UTF-9",
        "utf-7",
        "replacement",
    ] {
        let shown = name.parse::<Charset>().map_or_else(|_| "?".to_owned(), |charset| charset.to_string());
        table.push_str(&format!("{name}: {shown}\n"));
    }
    expect![[r#"
        ASCII: ASCII
        8859/1: 8859/1
        8859/2: 8859/2
        8859/9: 8859/9
        8859/15: 8859/15
        8859/12: ?
        ISO IR6: ASCII
        ISO IR14: ISO IR87
        ISO IR87: ISO IR87
        ISO IR159: ISO IR87
        GB 18030-2000: GB 18030-2000
        KS X 1001: KS X 1001
        CNS 11643-1992: ?
        BIG-5: BIG-5
        UNICODE: UNICODE UTF-16
        UNICODE UTF-8: UNICODE UTF-8
        UNICODE UTF-16: UNICODE UTF-16
        UNICODE UTF-32: UNICODE UTF-16
        UTF8: UNICODE UTF-8
        utf-8: UNICODE UTF-8
        UTF-8: UNICODE UTF-8
        8859-1: 8859/1
        ISO8859-1: 8859/1
        iso-8859-15: 8859/15
        ISO_8859-1: 8859/1
        LATIN1: 8859/1
        Latin-1: 8859/1
        windows-1252: windows-1252
        CP1252: windows-1252
        win1251: windows-1251
        ISO_IR 100: 8859/1
        ISO_IR 192: UNICODE UTF-8
        Shift_JIS: Shift_JIS
        koi8-r: KOI8-R
        : ?
        UTF-9: ?
        utf-7: ?
        replacement: ?
    "#]]
    .assert_eq(&table);
}

#[test]
fn names_read_back_as_the_same_character_set() {
    for name in
        ["ASCII", "8859/1", "8859/5", "8859/9", "UTF8", "UTF-16", "ISO IR14", "GBK", "KSX1001", "BIG5", "cp1250"]
    {
        let charset: Charset = name.parse().unwrap();
        assert_eq!(charset.to_string().parse(), Ok(charset), "{name}");
    }
}

fn message(msh_18: &str, name: &[u8]) -> Bytes {
    let header = format!("MSH|^~\\&|A|B|C|D|||ADT^A01|7|P|2.5||||||{msh_18}\rEVN|A01\rPID|1||4711||");
    Bytes::from([header.as_bytes(), name, b"^X\r"].concat())
}

fn read(bytes: Bytes, options: CharsetOptions) -> String {
    match Message::read(bytes, &options) {
        Ok((message, findings)) => {
            let name = message.get(&"PID-5.1".parse().unwrap()).unwrap_or_default().to_owned();
            let findings: String = findings.iter().map(|f| format!(" [{}: {}]", f.location, f.text)).collect();
            format!("{} {name}{findings}", message.charset())
        }
        Err(fault) => format!("{} {fault}", fault.code),
    }
}

#[track_caller]
fn check(msh_18: &str, name: &[u8], expected: Expect) {
    expected.assert_eq(&read(message(msh_18, name), CharsetOptions::default()));
}

#[test]
fn reads_what_msh_18_declares() {
    check("", b"MULLER", expect!["ASCII MULLER"]);
    check("UNICODE UTF-8", "Müller".as_bytes(), expect!["UNICODE UTF-8 Müller"]);
    check("8859/1", b"M\xFCller \x80", expect!["8859/1 Müller "]);
    check("8859/2", b"Dvo\xF8\xE1k", expect!["8859/2 Dvořák"]);
    check("8859/5", b"\xB8\xD2\xD0\xDD", expect!["8859/5 Иван"]);
    check("8859/9", b"Ay\xFEe", expect!["8859/9 Ayşe"]);
    check("8859/15", b"\xA4uro", expect!["8859/15 €uro"]);
    check("GB 18030-2000", b"\xCD\xF5\x81\x30\x81\x30", expect!["GB 18030-2000 王"]);
    check("KS X 1001", b"\xB1\xE8", expect!["KS X 1001 김"]);
    check("ISO IR14~ISO IR87", b"\xD4\xCF\xC0\xDE", expect!["ISO IR87 ﾔﾏﾀﾞ"]);
    check("~ISO IR87", b"\x1B$B;3ED\x1B(B", expect!["ISO IR87 山田"]);
}

/// In BIG-5 the second byte of a character can be `|`, `^` or `\`.
#[test]
fn cuts_fields_after_reading_the_characters() {
    check("BIG-5", b"\xA8|\xA5\\\xA5|", expect!["BIG-5 育功四"]);
}

#[test]
fn answers_a_header_whose_characters_hide_delimiters() {
    let frame = Bytes::from_static(b"MSH|^~\\&|A|\xA8|\xA5\\|C|D|||ADT^A01|7|P|2.5||||||BIG-5\rPID|1\r");
    let header = Header::read(&frame);
    assert_eq!(header.sending_facility(), "育功");
    assert_eq!(header.control_id(), "7");
    let unnamed = Header::read_in(b"MSH|^~\\&|A|\xA8|\xA5\\|C|D|||ADT^A01|7|P|2.5\r", "BIG-5".parse().unwrap());
    assert_eq!(unnamed.control_id(), "7");
    let stamp = crate::hl7v2::ack::Stamp {
        now: jiff::Timestamp::UNIX_EPOCH,
        zone: jiff::tz::TimeZone::UTC,
        control_id: "1".into(),
    };
    let answer = crate::Answer::Stored(crate::MessageId(uuid::Uuid::nil()));
    let ack = crate::hl7v2::acknowledge(&frame, &answer, crate::hl7v2::ack::Phase::Original, &stamp).unwrap();
    assert!(ack.starts_with(b"MSH|^~\\&|C|D|A|\xA8|\xA5\\|19700101000000+0000||ACK^A01^ACK|1|P|2.5||||||BIG-5\r"));
    assert!(ack.ends_with(b"MSA|AA|7\r"));
}

#[test]
fn tries_the_default_and_then_utf_8_where_msh_18_does_not_help() {
    check("", "Müller".as_bytes(), expect!["UNICODE UTF-8 Müller"]);
    check(
        "ASCII",
        "Müller".as_bytes(),
        expect!["UNICODE UTF-8 Müller [MSH-18: MSH-18 says ASCII, but there are other bytes; read as UNICODE UTF-8]"],
    );
    let latin = CharsetOptions { default: Charset::Latin1, ..CharsetOptions::default() };
    expect!["8859/1 Müller"].assert_eq(&read(message("", b"M\xFCller"), latin));
    let gb = CharsetOptions { default: "GB18030".parse().unwrap(), ..CharsetOptions::default() };
    expect!["UNICODE UTF-8 Müller ✓ é"].assert_eq(&read(message("", "Müller ✓ é|".as_bytes()), gb));
}

#[test]
fn refuses_what_is_no_text_and_says_where() {
    check(
        "",
        b"M\xFCller",
        expect![
            "102 PID[1]-5: byte 63 is no text in UNICODE UTF-8; check MSH-18 and the channel's default character set"
        ],
    );
    check(
        "UNICODE UTF-8",
        b"M\xFCller",
        expect![
            "102 PID[1]-5: byte 76 is no text in UNICODE UTF-8; check MSH-18 and the channel's default character set"
        ],
    );
    check("CNS 11643-1992", b"M\xFCller", expect!["103 MSH-18: MSH-18 names a character set that is not read here"]);
    check("CNS 11643-1992", b"Muller", expect!["ASCII Muller"]);
    check(
        "~ISO IR87",
        b"\x1B$B;3\xFF\x1B(B",
        expect!["102 PID[1]-5: byte 76 is no text in ISO IR87; check MSH-18 and the channel's default character set"],
    );
}

#[test]
fn flags_what_is_no_text_by_policy() {
    let flag = CharsetOptions { undecodable: Undecodable::Flag, ..CharsetOptions::default() };
    expect!["UNICODE UTF-8 Müller é [PID[1]-5: byte 76 is no text in UNICODE UTF-8; check MSH-18 and the channel's default character set]"].assert_eq(&read(message("UNICODE UTF-8", b"M\xFCller \xC3\xA9"), flag));
    expect!["KS X 1001 김� [PID[1]-5: byte 73 is no text in KS X 1001; check MSH-18 and the channel's default character set]"].assert_eq(&read(message("KS X 1001", b"\xB1\xE8\xFF"), flag));
    expect!["UNICODE UTF-8 Müller [MSH-18: MSH-18 names a character set that is not read here; read as UNICODE UTF-8]"]
        .assert_eq(&read(message("CNS 11643-1992", "Müller".as_bytes()), flag));
}

#[test]
fn reads_utf_16_and_utf_32_by_their_bytes() {
    for form in [Form::Utf16Le, Form::Utf16Be, Form::Utf32Le, Form::Utf32Be] {
        for mark in ["", "\u{FEFF}"] {
            for frame in ["", "\r\n"] {
                let text = format!("{mark}{frame}MSH|^~\\&|A|B\rPID|1||||Ωmega 𝄞^X\r");
                let read = read(Bytes::from(form.encode(&text)), CharsetOptions::default());
                assert_eq!(read, "UNICODE UTF-16 Ωmega 𝄞", "{form:?}");
            }
        }
    }
}

#[test]
fn keeps_utf_8_where_it_lies() {
    let bytes = Bytes::from_static("\u{B}\u{FEFF}MSH|^~\\&|A|B\rPID|1||||Ω\r\u{1C}\r".as_bytes());
    let (message, findings) = Message::read(bytes.clone(), &CharsetOptions::default()).unwrap();
    assert!(bytes.as_ptr_range().contains(&message.text().as_ptr()));
    assert_eq!((message.bytes(), findings.len(), message.segments().len()), (&bytes, 0, 2));
}

#[test]
fn encodes_what_it_can_and_marks_the_rest() {
    for (name, expected) in [
        ("ASCII", &b"?a?"[..]),
        ("8859/1", b"\xE9a?"),
        ("8859/9", b"\xE9a?"),
        ("8859/15", b"\xE9a?"),
        ("UTF8", "éaŁ".as_bytes()),
        ("8859/2", b"\xE9a\xA3"),
    ] {
        assert_eq!(name.parse::<Charset>().unwrap().encode("éaŁ"), expected, "{name}");
    }
}

//! Frames as the RFC has them.

use expect_test::expect;

use super::{Header, Severity};

fn header() -> Header {
    Header {
        severity: Severity::Notice,
        at: "2026-03-01T12:00:02.310000999Z".parse().unwrap(),
        host: "ehr.example.org".into(),
        app: "tributary".into(),
        process: "42".into(),
        message_id: "IHE+RFC-3881".into(),
    }
}

fn printed(header: &Header, text: &str) -> String {
    String::from_utf8(header.frame(text)).unwrap().replace('\u{FEFF}', "<BOM>")
}

/// RFC 5424 §6, RFC 5425 §4.3: the length counts bytes, the three of the mark included.
#[test]
fn a_frame_counts_the_bytes_of_its_message() {
    expect!["85 <85>1 2026-03-01T12:00:02.310000Z ehr.example.org tributary 42 IHE+RFC-3881 - <BOM><é>\n"]
        .assert_eq(&(printed(&header(), "<é>") + "\n"));
    let frame = header().frame("<é>");
    let space = frame.iter().position(|byte| *byte == b' ').unwrap();
    assert_eq!(frame.len() - space - 1, std::str::from_utf8(&frame[..space]).unwrap().parse::<usize>().unwrap());
}

#[test]
fn what_a_field_cannot_hold_is_left_out_of_it() {
    let odd = Header { host: "a b\n\u{e9}".into(), app: "x".repeat(60), process: " ".into(), ..header() };
    let frame = printed(&odd, "");
    assert!(frame.contains(&format!(" ab {} - IHE+RFC-3881 - <BOM>", "x".repeat(48))), "{frame}");
}

//! Frames as the RFC has them.

use expect_test::expect;
use proptest::prelude::*;

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

proptest! {
    /// Whatever is in it: as long as it says, one line of header, and a text that is as it was.
    #[test]
    fn every_frame_is_as_long_as_it_says(text in "\\PC*", host in "\\PC{0,300}", app in ".{0,60}") {
        let frame = Header { host, app, ..header() }.frame(&text);
        let space = frame.iter().position(|byte| *byte == b' ').unwrap();
        let (length, message) = frame.split_at(space);
        prop_assert_eq!(std::str::from_utf8(length).unwrap().parse::<usize>().unwrap(), message.len() - 1);
        let message = std::str::from_utf8(&message[1..]).unwrap();
        let (header, told) = message.split_once(" - \u{FEFF}").unwrap();
        prop_assert_eq!(header.split(' ').count(), 6);
        prop_assert!(header.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
        prop_assert_eq!(told, text);
    }
}

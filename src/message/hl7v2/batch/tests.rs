//! Files as they come, whole and broken.

use bytes::Bytes;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::Batch;
use crate::hl7v2::charset::Form;
use crate::hl7v2::{CharsetOptions, Header, Message};

fn shown(batch: &Batch) -> String {
    let mut out = String::new();
    for message in &batch.messages {
        out.push_str(&format!("{:?}\n", String::from_utf8_lossy(message)));
    }
    let envelopes = batch.file.iter().map(|file| ("file", file)).chain(batch.batches.iter().map(|b| ("batch", b)));
    for (what, envelope) in envelopes {
        out.push_str(&format!("{what} {} {} {:?}\n", envelope.control_id, envelope.sender, envelope.messages));
    }
    for problem in &batch.problems {
        out.push_str(&format!("{} {problem}\n", problem.code));
    }
    out
}

#[track_caller]
fn check(file: &str, expected: Expect) {
    expected.assert_eq(&shown(&Batch::split(&Bytes::copy_from_slice(file.as_bytes()))));
}

#[test]
fn cuts_files_and_batches() {
    check(
        "FHS|^~\\&|LAB|A|||2024||f.hl7||F1\r\nBHS|^~\\&|LAB|A|||||day||B1\r\nMSH|1\r\nPID|1\r\nMSH|2\r\nBTS|2\r\n\
         BHS|^~\\&|LAB|B|||||day||B2\r\nSFT|x\r\nMSH|3\r\nBTS|1\r\nFTS|2\r\n",
        expect![[r#"
            "MSH|1\r\nPID|1\r\n"
            "MSH|2\r\n"
            "MSH|3\r\n"
            file F1 LAB|A 0..3
            batch B1 LAB|A 0..2
            batch B2 LAB|B 2..3
        "#]],
    );
}

#[test]
fn cuts_messages_in_a_run() {
    check(
        "MSH|1\rPID|1\r\rMSH|2\rPID|2",
        expect![[r#"
        "MSH|1\rPID|1\r"
        "MSH|2\rPID|2"
    "#]],
    );
    check(
        "\u{FEFF}MSH|1\nPID|1\n\n\n  MSH|2\n",
        expect![[r#"
        "MSH|1\nPID|1\n"
        "MSH|2\n"
    "#]],
    );
    check(
        "\u{B}MSH|1\rPID|1\r\u{1C}\r\u{B}MSH|2\r\u{1C}\r",
        expect![[r#"
        "MSH|1\rPID|1\r"
        "MSH|2\r"
    "#]],
    );
    check(
        "MSH|1\rNTE|the\nMSH ward\nof FTS\r",
        expect![[r#"
        "MSH|1\rNTE|the\nMSH ward\nof FTS\r"
    "#]],
    );
}

#[test]
fn needs_no_batch_header() {
    check(
        "MSH|1\rMSH|2\rBTS|2\rMSH|3\rBTS|1\rFTS|2\r",
        expect![[r#"
        "MSH|1\r"
        "MSH|2\r"
        "MSH|3\r"
    "#]],
    );
}

#[test]
fn says_which_count_does_not_agree() {
    check(
        "BHS|^~\\&\rMSH|1\rBTS|2\r",
        expect![[r#"
            "MSH|1\r"
            batch  | 0..1
            102 BTS-1: BTS-1 says 2, but messages counted: 1 (line 3)
        "#]],
    );
    check(
        "FHS|^~\\&\rMSH|1\rFTS|3\r",
        expect![[r#"
            "MSH|1\r"
            file  | 0..1
            102 FTS-1: FTS-1 says 3, but batches counted: 1 (line 3)
        "#]],
    );
    check(
        "BHS|^~\\&\rMSH|1\rBTS|one\r",
        expect![[r#"
        "MSH|1\r"
        batch  | 0..1
        102 BTS-1: BTS-1 is no number of messages (line 3)
    "#]],
    );
    check(
        "BHS|^~\\&\rMSH|1\rBTS\r",
        expect![[r#"
        "MSH|1\r"
        batch  | 0..1
    "#]],
    );
}

#[test]
fn says_what_belongs_to_no_message() {
    check(
        "junk\rjunk\rMSH|1\rBTS|1\rNTE|late\rMSH|2\r",
        expect![[r#"
            "MSH|1\r"
            "MSH|2\r"
            100 line 1: what stands here belongs to no message; a message begins with MSH
            100 line 5: what stands here belongs to no message; a message begins with MSH
        "#]],
    );
    check(
        "BHS|^~\\&\r\nEVN|A04\r\nPID|1\r\nBTS|1\r\n",
        expect![[r#"
            batch  | 0..0
            100 line 2: what stands here belongs to no message; a message begins with MSH
            102 BTS-1: BTS-1 says 1, but messages counted: 0 (line 4)
            100 MSH: there is no message; a message begins with MSH
        "#]],
    );
    check(
        "[SOM]MSH|^~\\&|\r",
        expect![[r#"
            100 line 1: what stands here belongs to no message; a message begins with MSH
            100 MSH: there is no message; a message begins with MSH
        "#]],
    );
    check(
        "",
        expect![[r#"
        100 MSH: there is no message; a message begins with MSH
    "#]],
    );
    check(
        "\r\n\r\n",
        expect![[r#"
        100 MSH: there is no message; a message begins with MSH
    "#]],
    );
}

#[test]
fn says_what_has_no_end() {
    check(
        "FHS|^~\\&\rBHS|^~\\&\rMSH|1\rBHS|^~\\&\rMSH|2\r",
        expect![[r#"
        "MSH|1\r"
        "MSH|2\r"
        file  | 0..2
        batch  | 0..1
        batch  | 1..2
        100 BHS[1]: a batch begins with BHS and has no BTS before line 4; it may be cut short
        100 BHS[2]: a batch begins with BHS and has no BTS before line 6; it may be cut short
        100 FHS: the file begins with FHS and has no FTS; it may be cut short
    "#]],
    );
}

#[test]
fn cuts_utf_16_where_its_characters_end() {
    for form in [Form::Utf16Le, Form::Utf16Be, Form::Utf32Le, Form::Utf32Be] {
        for mark in ["", "\u{FEFF}"] {
            let text = format!("{mark}MSH|^~\\&|Ā|1\r\nPID|\u{0D0A}|Ж\r\nMSH|^~\\&|Ā|2\r\n");
            let batch = Batch::split(&Bytes::from(form.encode(&text)));
            assert_eq!((batch.messages.len(), batch.problems.len()), (2, 0), "{form:?}");
            for message in batch.messages {
                assert_eq!(Header::read(&message).sending_application(), "Ā");
                assert!(Message::read(message, &CharsetOptions::default()).is_ok());
            }
        }
    }
}

proptest! {
    /// Each message is a slice of the file, in order; all else is white space, framing, or reported.
    #[test]
    fn drops_nothing_in_silence(file in "(MSH\\|[a-z]{0,3}|PID\\|x|BHS\\|\\^~|BTS\\|[0-9]|FHS\\|\\^~|FTS\\|1|junk|[ \u{B}\u{1C}]|\r|\n|\r\n){0,30}") {
        let bytes = Bytes::from(file.clone().into_bytes());
        let batch = Batch::split(&bytes);
        let mut at = 0;
        let mut outside = String::new();
        for message in &batch.messages {
            let start = message.as_ptr() as usize - bytes.as_ptr() as usize;
            prop_assert!(start >= at && message.starts_with(b"MSH"));
            outside.push_str(&file[at..start]);
            at = start + message.len();
        }
        outside.push_str(&file[at..]);
        let stray = outside.split(['\r', '\n']).map(|line| line.trim_matches([' ', '\u{B}', '\u{1C}']));
        let stray = stray.filter(|line| !line.is_empty() && !["FHS|", "BHS|", "BTS|", "FTS|"].iter().any(|name| line.starts_with(name)));
        prop_assert!(stray.count() == 0 || !batch.problems.is_empty());
    }
}

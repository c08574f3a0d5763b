//! What came is what leaves: long messages, character sets, segment ends.

use crate::kit::hl7::{code, update};
use crate::kit::mllp::Sender;
use crate::kit::{Fhir, MLLP_IN, QUICK, Sink, Site, TO_OUT};

/// A message of about this many bytes.
fn long(control_id: &str, bytes: usize) -> Vec<u8> {
    let mut message = update("P1", control_id, "Ada");
    let line = "x".repeat(72);
    while message.len() < bytes {
        message.extend_from_slice(format!("NTE|1||{line}\r").as_bytes());
    }
    message
}

#[test]
fn a_message_of_twenty_megabytes_passes_unaltered_beside_small_ones() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    let running = site.start();
    let address = running.address("in");
    let big = long("BIG", 20 << 20);
    std::thread::scope(|scope| {
        scope.spawn(|| Sender::connect(address).accepted(&big));
        let mut small = Sender::connect(address);
        for n in 0..20 {
            small.accepted(&update("P2", &format!("C{n}"), "Ben"));
        }
    });
    running.wait_messages(&[("delivered", 21)]);
    let taken = sink.taken();
    assert_eq!(taken.len(), 21);
    assert!(taken.contains(&big));
    running.kill();
    let running = site.start();
    assert!(
        site.run(&["messages", "show", site.message("BIG")["message"]["id"].as_str().unwrap(), "--original"]).stdout
            == big
    );
    running.terminate();
    site.verify();
}

#[test]
fn a_message_longer_than_all_that_may_wait_passes_alone() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    site.set_channel("in", &format!("{MLLP_IN}max_message_bytes = \"128MiB\"\n{TO_OUT}"));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    sender.accepted(&update("P1", "C1", "Ada"));
    let big = long("BIG", 66 << 20);
    sender.accepted(&big);
    sender.accepted(&update("P1", "C2", "Ada"));
    running.wait_messages(&[("delivered", 3)]);
    assert_eq!(sink.control_ids(), ["C1", "BIG", "C2"]);
    assert!(sink.taken()[1] == big);
}

#[test]
fn a_message_over_the_limit_is_refused_and_the_next_one_taken() {
    let sink = Sink::good();
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    site.set_channel("in", &format!("{MLLP_IN}max_message_bytes = \"1MiB\"\n{TO_OUT}"));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    assert_eq!(code(&sender.send(&long("BIG", 2 << 20))), "AE");
    sender.accepted(&update("P1", "C1", "Ada"));
    running.wait_messages(&[("delivered", 1)]);
}

#[test]
fn latin_1_stays_latin_1_and_becomes_unicode_in_fhir() {
    let (sink, fhir) = (Sink::good(), Fhir::start());
    let site = Site::relay(&format!("{}{QUICK}", sink.outbound("")));
    site.set_destination("fhir", &format!("{}{QUICK}", fhir.outbound("")));
    let routes = "[[route]]\nto = \"out\"\npurpose = \"TREAT\"\ncontent = \"original\"\n\
                  [[route]]\nto = \"fhir\"\npurpose = \"TREAT\"\n";
    site.set_channel("in", &format!("{MLLP_IN}{}{routes}", crate::kit::TO_FHIR));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    // MSH-18 is six fields behind MSH-12.
    let text = String::from_utf8(update("P1", "C1", "Andr\u{e9}")).unwrap();
    let message: Vec<u8> =
        text.replace("|P|2.5.1", "|P|2.5.1||||||8859/1").chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    sender.accepted(&message);
    running.wait_messages(&[("delivered", 1)]);
    assert_eq!(sink.taken(), std::slice::from_ref(&message));
    assert_eq!(fhir.given_name("P1").as_deref(), Some("Andr\u{e9}"));
    let mut broken = update("P2", "C2", "Andr@");
    let at = broken.iter().position(|byte| *byte == b'@').unwrap();
    broken[at] = 0xe9;
    assert_eq!(code(&sender.send(&broken)), "AE", "MSH-18 is empty, and 0xE9 is no UTF-8");
    assert_eq!(site.messages().len(), 1);
}

#[test]
fn undecodable_bytes_may_be_flagged_and_leave_as_they_came() {
    let sink = Sink::good();
    let site = Site::relay(&sink.outbound(""));
    site.set_channel("in", &format!("{MLLP_IN}undecodable = \"flag\"\n{TO_OUT}"));
    let running = site.start();
    let mut message = update("P1", "C1", "Andr@");
    let at = message.iter().position(|byte| *byte == b'@').unwrap();
    message[at] = 0xe9;
    Sender::connect(running.address("in")).accepted(&message);
    running.wait_messages(&[("delivered", 1)]);
    assert_eq!(sink.taken(), [message]);
}

#[test]
fn odd_line_ends_and_delimiters_leave_as_they_came() {
    let sink = Sink::good();
    let site = Site::relay(&sink.outbound(""));
    let running = site.start();
    let mut sender = Sender::connect(running.address("in"));
    let plain = String::from_utf8(update("P1", "C1", "Ada")).unwrap();
    let variants = [
        plain.replace('\r', "\n").replace("C1", "C2"),
        plain.replace('\r', "\r\n").replace("C1", "C3"),
        plain.replace('|', "#").replace("C1", "C4"),
        format!("\u{feff}{}", plain.replace("C1", "C5")),
        format!("{}ZZZ|1|own\r  \r", plain.replace("C1", "C6")),
    ];
    for variant in &variants {
        let ack = sender.send(variant.as_bytes());
        assert!(String::from_utf8_lossy(&ack).contains("AA"), "{variant:?}");
    }
    running.wait_messages(&[("delivered", variants.len() as u64)]);
    let mut taken: Vec<String> = sink.taken().into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect();
    let mut sent = variants.to_vec();
    taken.sort();
    sent.sort();
    assert_eq!(taken, sent);
}
